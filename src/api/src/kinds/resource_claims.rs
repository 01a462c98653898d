//! The kinds of resource.k8s.io: stored and served.

use machinery::meta;
use serde_json::Value;

use super::simple::Simple;
use crate::read;
use crate::table::{age, age_column, name, name_column, text};

/// The behaviour of DeviceClasses.
pub static DEVICE_CLASS: Simple = Simple { has_generation: true, ..Simple::PLAIN };

/// The behaviour of ResourceClaimTemplates.
pub static RESOURCE_CLAIM_TEMPLATE: Simple = Simple::PLAIN;

/// The behaviour of DeviceTaintRules.
pub static DEVICE_TAINT_RULE: Simple = Simple { has_generation: true, ..Simple::PLAIN };

/// The behaviour of ResourceClaims.
pub static RESOURCE_CLAIM: Simple = Simple {
    columns: &[name_column(), text("State", "Whether devices are given to it and to whom."), age_column()],
    cells: |object, now| vec![name(object), state(object).into(), age(object, now)],
    ..Simple::PLAIN
};

fn state(object: &Value) -> String {
    let mut states = Vec::new();
    if meta::is_terminating(object) {
        states.push("deleted");
    }
    if read::is_set(object, "status.allocation") {
        states.push("allocated");
    } else if states.is_empty() {
        states.push("pending");
    }
    if !read::list(object, "status.reservedFor").is_empty() {
        states.push("reserved");
    }
    states.join(",")
}

/// The behaviour of ResourceSlices.
pub static RESOURCE_SLICE: Simple = Simple {
    columns: &[
        name_column(),
        text("Node", "The node that has the devices."),
        text("Driver", "The driver of the devices."),
        text("Pool", "The pool they belong to."),
        age_column(),
    ],
    cells: |object, now| {
        vec![
            name(object),
            read::text(object, "spec.nodeName").into(),
            read::text(object, "spec.driver").into(),
            read::text(object, "spec.pool.name").into(),
            age(object, now),
        ]
    },
    fields: &["spec.nodeName", "spec.driver"],
    has_generation: true,
    ..Simple::PLAIN
};
