//! Deployment.

use machinery::apply::Reset;
use machinery::field::{FieldError, FieldErrors};
use serde_json::{Value, json};

use super::simple::Simple;
use crate::check::At;
use crate::edit::{fill, object_at, value_at};
use crate::podspec::{defaults, template};
use crate::table::{
    CONTAINER_COLUMNS, age, age_column, column, container_cells, name, name_column, selector, text, wide,
};
use crate::{read, status};

/// The behaviour of Deployments.
pub static DEPLOYMENT: Simple = Simple {
    columns: &[
        name_column(),
        text("Ready", "How many pods are ready, of how many wanted."),
        column("Up-to-date", "integer", "How many pods are of the current template."),
        column("Available", "integer", "How many pods have been ready long enough."),
        age_column(),
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        wide("Selector", "The labels of its pods."),
    ],
    cells: |object, now| {
        let ready = format!("{}/{}", read::int(object, "status.readyReplicas"), read::int(object, "spec.replicas"));
        let [containers, images] = container_cells(object, "spec.template.spec");
        vec![
            name(object),
            ready.into(),
            read::int(object, "status.updatedReplicas").into(),
            read::int(object, "status.availableReplicas").into(),
            age(object, now),
            containers,
            images,
            selector(read::at(object, "spec.selector")).into(),
        ]
    },
    has_generation: true,
    // Its replica sets have them too.
    counts_annotations: true,
    reset_in_status: Reset::Fields(&[&["spec"], &["metadata", "labels"]]),
    default,
    validate,
    validate_update,
    validate_status,
    warnings: |object| crate::podspec::warnings::of_spec(object, "spec.template.spec"),
    ..Simple::PLAIN
};

fn default(object: &mut Value) {
    let Some(spec) = object.get_mut("spec") else { return };
    if let Some(pod) = value_at(spec, "template.spec") {
        defaults::default_spec(pod);
    }
    fill(spec, "strategy", json!({}));
    let Some(strategy) = spec.get_mut("strategy") else { return };
    fill(strategy, "type", "RollingUpdate");
    if read::text(strategy, "type") == "RollingUpdate" {
        fill(strategy, "rollingUpdate", json!({}));
        if object_at(strategy, "rollingUpdate").is_some() {
            fill(&mut strategy["rollingUpdate"], "maxUnavailable", "25%");
            fill(&mut strategy["rollingUpdate"], "maxSurge", "25%");
        }
    }
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        spec.at(field).non_negative(&mut errors);
    }
    template::validate_of_workload(&spec, "Deployment", &mut errors);
    strategy(&spec.at("strategy"), &mut errors);
    let (deadline, ready) = (spec.at("progressDeadlineSeconds"), spec.at("minReadySeconds"));
    if deadline.int().is_some_and(|seconds| seconds <= ready.int().unwrap_or_default()) {
        deadline.invalid(&mut errors, "must be greater than minReadySeconds");
    }
    errors
}

fn strategy(strategy: &At<'_>, errors: &mut FieldErrors) {
    let rolling = strategy.at("rollingUpdate");
    if strategy.at("type").text() == "Recreate" {
        if rolling.is_set() {
            rolling.forbidden(errors, "may not be specified when strategy `type` is 'Recreate'");
        }
        return;
    }
    let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
    unavailable.count_or_percent(errors);
    surge.count_or_percent(errors);
    if unavailable.is_zero() && surge.is_zero() {
        errors.push(FieldError::invalid(
            &unavailable.path,
            unavailable.value.clone(),
            "may not be 0 when `maxSurge` is 0",
        ));
    }
    unavailable.at_most_all(errors);
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    At::root(object).at("spec.selector").immutable(&mut errors, read::at(old, "spec.selector"));
    errors
}

fn validate_status(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let at = At::root(object).at("status");
    let parts = ["updatedReplicas", "readyReplicas", "availableReplicas"];
    status::replicas(&at, &parts, "status.replicas", "readyReplicas", &mut errors);
    status::counts(&at, &["unavailableReplicas"], &mut errors);
    status::collisions(&at, old, &mut errors);
    errors
}
