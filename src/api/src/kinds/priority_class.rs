//! PriorityClass.

use machinery::field::FieldErrors;
use machinery::meta;
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::read;
use crate::table::{age, age_column, column, name, name_column, text};

/// The behaviour of PriorityClasses.
pub static PRIORITY_CLASS: Simple = Simple {
    columns: &[
        name_column(),
        column("Value", "integer", "The priority of its pods."),
        column("Global-Default", "boolean", "Whether pods without a class get it."),
        age_column(),
        text("PreemptionPolicy", "Whether its pods push out others."),
    ],
    cells: |object, now| {
        vec![
            name(object),
            read::int(object, "value").into(),
            read::flag(object, "globalDefault").into(),
            age(object, now),
            read::text(object, "preemptionPolicy").into(),
        ]
    },
    has_generation: true,
    validate,
    validate_update,
    ..Simple::PLAIN
};

/// The highest priority that is not the system's own.
const USER_PRIORITY_MAX: i64 = 1_000_000_000;
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let (name, value) = (meta::name(object), At::root(object).at("value"));
    let number = value.int().unwrap_or_default();
    if name.starts_with("system-") {
        if !SYSTEM_CLASSES.contains(&(name, number)) {
            let wrong = "priority class names with 'system-' prefix are reserved for system use only";
            At::root(object).at("metadata.name").forbidden(&mut errors, wrong);
        }
    } else if number > USER_PRIORITY_MAX {
        let wrong = format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
        value.forbidden(&mut errors, &wrong);
    }
    errors
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for field in ["value", "preemptionPolicy"] {
        let at = At::root(object).at(field);
        if !read::same(at.value, read::at(old, field)) {
            at.forbidden(&mut errors, "may not be changed in an update.");
        }
    }
    errors
}
