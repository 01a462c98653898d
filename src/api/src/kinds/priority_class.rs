//! PriorityClass.

use super::simple::Simple;
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
    ..Simple::PLAIN
};
