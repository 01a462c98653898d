//! ReplicaSet.

use machinery::field::FieldErrors;
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::edit::value_at;
use crate::podspec::{defaults, template};
use crate::table::{CONTAINER_COLUMNS, age, age_column, column, container_cells, name, name_column, selector, wide};
use crate::{read, status};

/// What the replicas are counted by.
pub(super) const PARTS: [&str; 3] = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];

/// The behaviour of ReplicaSets.
pub static REPLICA_SET: Simple = Simple {
    columns: &[
        name_column(),
        column("Desired", "integer", "How many pods are wanted."),
        column("Current", "integer", "How many pods there are."),
        column("Ready", "integer", "How many pods are ready."),
        age_column(),
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        wide("Selector", "The labels of its pods."),
    ],
    cells: |object, now| {
        let number = |path: &str| read::int(object, path).into();
        let [containers, images] = container_cells(object, "spec.template.spec");
        vec![
            name(object),
            number("spec.replicas"),
            number("status.replicas"),
            number("status.readyReplicas"),
            age(object, now),
            containers,
            images,
            selector(read::at(object, "spec.selector")).into(),
        ]
    },
    fields: &["status.replicas"],
    has_generation: true,
    default,
    validate,
    validate_update,
    validate_status,
    warnings: |object| crate::podspec::warnings::of_spec(object, "spec.template.spec"),
    ..Simple::PLAIN
};

fn default(object: &mut Value) {
    if let Some(pod) = value_at(object, "spec.template.spec") {
        defaults::default_spec(pod);
    }
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    spec.at("replicas").non_negative(&mut errors);
    spec.at("minReadySeconds").non_negative(&mut errors);
    template::validate_of_workload(&spec, "Deployment", &mut errors);
    errors
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    At::root(object).at("spec.selector").immutable(&mut errors, read::at(old, "spec.selector"));
    errors
}

fn validate_status(object: &Value, _old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    status::replicas(&At::root(object).at("status"), &PARTS, "status.replicas", "readyReplicas", &mut errors);
    errors
}
