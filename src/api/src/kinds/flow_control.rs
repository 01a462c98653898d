//! FlowSchema and PriorityLevelConfiguration.

mod validate;

use machinery::apply::Reset;
use serde_json::Value;

use super::simple::Simple;
use crate::read;
use crate::table::{NONE, age, age_column, column, name, name_column, text, text_or};

/// The behaviour of FlowSchemas.
pub static FLOW_SCHEMA: Simple = Simple {
    columns: &[
        name_column(),
        text("PriorityLevel", "The level its requests go to."),
        column("MatchingPrecedence", "integer", "Lower goes first."),
        text("DistinguisherMethod", "How its requests are told apart."),
        age_column(),
        text("MissingPL", "Whether its level does not exist."),
    ],
    cells: |object, now| {
        let dangling = read::list(object, "status.conditions").iter().find(|found| found["type"] == "Dangling");
        vec![
            name(object),
            read::text(object, "spec.priorityLevelConfiguration.name").into(),
            read::int(object, "spec.matchingPrecedence").into(),
            text_or(object, "spec.distinguisherMethod.type", NONE).into(),
            age(object, now),
            dangling.map_or("?", |condition| read::text(condition, "status")).into(),
        ]
    },
    has_generation: true,
    reset_in_status: Reset::Fields(&[&["metadata"], &["spec"]]),
    validate: validate::validate_schema,
    validate_status: validate::validate_status,
    ..Simple::PLAIN
};

/// The behaviour of PriorityLevelConfigurations.
pub static PRIORITY_LEVEL: Simple = Simple {
    columns: &[
        name_column(),
        text("Type", "Whether its requests are limited."),
        text("NominalConcurrencyShares", "Its share of the server."),
        text("Queues", "How many queues it has."),
        text("HandSize", "How many queues one flow may use."),
        text("QueueLengthLimit", "How long a queue may be."),
        age_column(),
    ],
    cells: |object, now| {
        let number = |path: &str| -> Value {
            if read::is_set(object, path) { read::shown(object, path).into() } else { NONE.into() }
        };
        vec![
            name(object),
            read::text(object, "spec.type").into(),
            number("spec.limited.nominalConcurrencyShares"),
            number("spec.limited.limitResponse.queuing.queues"),
            number("spec.limited.limitResponse.queuing.handSize"),
            number("spec.limited.limitResponse.queuing.queueLengthLimit"),
            age(object, now),
        ]
    },
    has_generation: true,
    reset_in_status: Reset::Fields(&[&["metadata"], &["spec"]]),
    validate: validate::validate_level,
    validate_status: validate::validate_status,
    ..Simple::PLAIN
};
