//! ResourceQuota and LimitRange.

use serde_json::Value;

use super::simple::Simple;
use crate::read;
use crate::table::{age, age_column, name, name_column, text};

/// The behaviour of ResourceQuotas.
pub static RESOURCE_QUOTA: Simple = Simple {
    columns: &[
        name_column(),
        text("Request", "What is used and allowed of requests."),
        text("Limit", "What is used and allowed of limits."),
        age_column(),
    ],
    cells: |object, now| vec![name(object), usage(object, false), usage(object, true), age(object, now)],
    ..Simple::PLAIN
};

fn usage(object: &Value, limits: bool) -> Value {
    let used = read::at(object, "status.used");
    let shown: Vec<String> = read::map(object, "status.hard")
        .iter()
        .filter(|(resource, _)| resource.starts_with("limits") == limits)
        .map(|(resource, hard)| {
            let used = used.get(resource).map(read::scalar).unwrap_or_else(|| "0".to_string());
            format!("{resource}: {used}/{}", read::scalar(hard))
        })
        .collect();
    shown.join(", ").into()
}

/// The behaviour of LimitRanges.
pub static LIMIT_RANGE: Simple = Simple::CREATED_AT;
