//! Ingress.

use serde_json::Value;

use super::service::load_balancer;
use super::simple::Simple;
use crate::read;
use crate::table::{NONE, age, age_column, name, name_column, text, text_or};

/// Hosts that a row shows before it counts the rest.
const SHOWN_MAX: usize = 3;

/// The behaviour of Ingresses.
pub static INGRESS: Simple = Simple {
    columns: &[
        name_column(),
        text("Class", "The class of controllers that serve it."),
        text("Hosts", "The hosts it has rules for."),
        text("Address", "Where it is reached."),
        text("Ports", "The ports it is reached at."),
        age_column(),
    ],
    cells: |object, now| {
        let ports = if read::list(object, "spec.tls").is_empty() { "80" } else { "80, 443" };
        vec![
            name(object),
            text_or(object, "spec.ingressClassName", NONE).into(),
            hosts(object).into(),
            load_balancer(object).join(",").into(),
            ports.into(),
            age(object, now),
        ]
    },
    has_generation: true,
    ..Simple::PLAIN
};

fn hosts(object: &Value) -> String {
    let rules = read::list(object, "spec.rules");
    let named = rules.iter().map(|rule| read::text(rule, "host")).filter(|host| !host.is_empty());
    let shown: Vec<&str> = named.take(SHOWN_MAX).collect();
    match (shown.is_empty(), rules.len().saturating_sub(SHOWN_MAX)) {
        (true, _) => "*".to_string(),
        (false, 0) => shown.join(","),
        (false, more) => format!("{} + {more} more...", shown.join(",")),
    }
}
