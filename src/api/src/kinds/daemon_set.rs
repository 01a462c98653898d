//! DaemonSet.

use machinery::field::FieldErrors;
use machinery::meta;
use serde_json::{Value, json};

use super::simple::Simple;
use crate::check::At;
use crate::edit::{fill, value_at};
use crate::podspec::{defaults, template};
use crate::table::{
    CONTAINER_COLUMNS, age, age_column, column, container_cells, labels, name, name_column, selector, text, wide,
};
use crate::{read, status};

/// The behaviour of DaemonSets.
pub static DAEMON_SET: Simple = Simple {
    columns: &[
        name_column(),
        column("Desired", "integer", "How many nodes should run its pod."),
        column("Current", "integer", "How many of them do."),
        column("Ready", "integer", "How many of its pods are ready."),
        column("Up-to-date", "integer", "How many pods are of the current template."),
        column("Available", "integer", "How many pods have been ready long enough."),
        text("Node Selector", "The labels of the nodes it runs on."),
        age_column(),
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        wide("Selector", "The labels of its pods."),
    ],
    cells: |object, now| {
        let number = |field: &str| read::int(read::at(object, "status"), field).into();
        let [containers, images] = container_cells(object, "spec.template.spec");
        vec![
            name(object),
            number("desiredNumberScheduled"),
            number("currentNumberScheduled"),
            number("numberReady"),
            number("updatedNumberScheduled"),
            number("numberAvailable"),
            labels(read::at(object, "spec.template.spec.nodeSelector")).into(),
            age(object, now),
            containers,
            images,
            selector(read::at(object, "spec.selector")).into(),
        ]
    },
    has_generation: true,
    default,
    prepare_create: Some(|object| set_template_generation(object, template_generation(object).max(1))),
    prepare_update: Some(count_templates),
    validate,
    validate_update,
    validate_status,
    warnings: |object| crate::podspec::warnings::of_spec(object, "spec.template.spec"),
    ..Simple::PLAIN
};

/// Where old versions of the API find how often the template has changed; Go's clients still look there.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// 0 where nothing is said of it.
fn template_generation(object: &Value) -> i64 {
    meta::annotation(object, TEMPLATE_GENERATION).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn set_template_generation(object: &mut Value, generation: i64) {
    meta::set_annotation(object, TEMPLATE_GENERATION, &generation.to_string());
}

/// Clients do not count.
fn count_templates(object: &mut Value, old: &Value) {
    let template = |object: &Value| read::at(object, "spec.template").clone();
    let changed = i64::from(!read::same(&template(object), &template(old)));
    set_template_generation(object, template_generation(old) + changed);
}

fn default(object: &mut Value) {
    // Whoever makes the object has it, though the server says how it begins.
    if meta::annotation(object, TEMPLATE_GENERATION).is_none() {
        set_template_generation(object, 0);
    }
    let Some(spec) = object.get_mut("spec") else { return };
    if let Some(pod) = value_at(spec, "template.spec") {
        defaults::default_spec(pod);
    }
    fill(spec, "updateStrategy", json!({}));
    let Some(strategy) = spec.get_mut("updateStrategy") else { return };
    fill(strategy, "type", "RollingUpdate");
    if read::text(strategy, "type") == "RollingUpdate" {
        fill(strategy, "rollingUpdate", json!({}));
        if let Some(rolling) = strategy.get_mut("rollingUpdate") {
            fill(rolling, "maxUnavailable", 1);
            fill(rolling, "maxSurge", 0);
        }
    }
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    template::validate_of_workload(&spec, "DaemonSet", &mut errors);
    spec.at("minReadySeconds").non_negative(&mut errors);
    spec.at("revisionHistoryLimit").non_negative(&mut errors);
    let rolling = spec.at("updateStrategy.rollingUpdate");
    if rolling.is_set() {
        let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
        unavailable.count_or_percent(&mut errors);
        unavailable.at_most_all(&mut errors);
        surge.count_or_percent(&mut errors);
        surge.at_most_all(&mut errors);
        match (unavailable.is_zero(), surge.is_zero() || !surge.is_set()) {
            (true, true) => unavailable.required(&mut errors, "cannot be 0 when maxSurge is 0"),
            (false, false) => surge.invalid(&mut errors, "may not be set when maxUnavailable is non-zero"),
            _ => {}
        }
    }
    errors
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    At::root(object).at("spec.selector").immutable(&mut errors, read::at(old, "spec.selector"));
    errors
}

fn validate_status(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let at = At::root(object).at("status");
    let numbers = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
    ];
    status::counts(&at, &numbers, &mut errors);
    status::collisions(&at, old, &mut errors);
    errors
}
