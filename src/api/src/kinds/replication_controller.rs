//! ReplicationController.

use machinery::field::FieldErrors;
use serde_json::Value;

use super::replica_set;
use super::simple::Simple;
use crate::check::At;
use crate::edit::{fill, value_at};
use crate::podspec::{defaults, template};
use crate::table::{CONTAINER_COLUMNS, age, age_column, column, container_cells, labels, name, name_column, wide};
use crate::{read, status};

/// The behaviour of ReplicationControllers.
pub static REPLICATION_CONTROLLER: Simple = Simple {
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
        let selector = labels(read::at(object, "spec.selector")).into();
        vec![
            name(object),
            number("spec.replicas"),
            number("status.replicas"),
            number("status.readyReplicas"),
            age(object, now),
            containers,
            images,
            selector,
        ]
    },
    fields: &["status.replicas"],
    has_generation: true,
    default,
    validate,
    validate_status,
    warnings: |object| crate::podspec::warnings::of_spec(object, "spec.template.spec"),
    ..Simple::PLAIN
};

fn default(object: &mut Value) {
    let labels = read::at(object, "spec.template.metadata.labels").clone();
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        if let Some(spec) = object.get_mut("spec") {
            fill(spec, "selector", labels.clone());
        }
        if let Some(metadata) = object.get_mut("metadata") {
            fill(metadata, "labels", labels);
        }
    }
    if let Some(pod) = value_at(object, "spec.template.spec") {
        defaults::default_spec(pod);
    }
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    spec.at("minReadySeconds").non_negative(&mut errors);
    spec.at("replicas").non_negative(&mut errors);
    let (wanted, pod) = (read::map(spec.value, "selector"), spec.at("template"));
    if wanted.is_empty() {
        spec.at("selector").required(&mut errors, "");
    }
    if !pod.is_set() {
        pod.required(&mut errors, "");
        return errors;
    }
    let labels = read::map(pod.value, "metadata.labels");
    if wanted.iter().any(|(key, value)| labels.get(key) != Some(value)) {
        pod.at("metadata.labels").invalid(&mut errors, "`selector` does not match template `labels`");
    }
    template::validate(&pod, &mut errors);
    template::validate_runs_for_ever(&pod, "ReplicationController", &mut errors);
    errors
}

fn validate_status(object: &Value, _old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let status = At::root(object).at("status");
    status::replicas(&status, &replica_set::PARTS, "status.replicas", "readyReplicas", &mut errors);
    errors
}
