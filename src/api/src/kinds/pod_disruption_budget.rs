//! PodDisruptionBudget.

use machinery::field::FieldErrors;
use serde_json::Value;

use super::simple::Simple;
use crate::check::{At, label_selector};
use crate::table::{age, age_column, column, name, name_column, text};
use crate::{read, status};

/// The behaviour of PodDisruptionBudgets.
pub static POD_DISRUPTION_BUDGET: Simple = Simple {
    columns: &[
        name_column(),
        text("Min Available", "How many pods must stay."),
        text("Max Unavailable", "How many pods may be gone."),
        column("Allowed Disruptions", "integer", "How many pods may be evicted now."),
        age_column(),
    ],
    cells: |object, now| {
        vec![
            name(object),
            bound(object, "spec.minAvailable"),
            bound(object, "spec.maxUnavailable"),
            read::int(object, "status.disruptionsAllowed").into(),
            age(object, now),
        ]
    },
    has_generation: true,
    validate,
    validate_status,
    ..Simple::PLAIN
};

fn bound(object: &Value, path: &str) -> Value {
    if read::is_set(object, path) { read::shown(object, path).into() } else { "N/A".into() }
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let (least, most) = (spec.at("minAvailable"), spec.at("maxUnavailable"));
    if least.is_set() && most.is_set() {
        spec.invalid(&mut errors, "minAvailable and maxUnavailable cannot be both set");
    }
    for bound in [least, most] {
        bound.count_or_percent(&mut errors);
        bound.at_most_all(&mut errors);
    }
    label_selector(&spec.at("selector"), &mut errors);
    errors
}

fn validate_status(object: &Value, _old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let at = At::root(object).at("status");
    status::conditions(&at, &mut errors);
    status::counts(&at, &["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"], &mut errors);
    errors
}
