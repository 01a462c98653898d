//! ResourceQuota and LimitRange.

use machinery::field::FieldErrors;
use machinery::names;
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::edit::{fill, fill_map, items_at};
use crate::podspec::resources;
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
    validate,
    validate_status,
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
pub static LIMIT_RANGE: Simple = Simple { default: default_limits, validate: validate_limits, ..Simple::CREATED_AT };

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (name, amount) in At::root(object).at("spec").entries("hard") {
        amount_of(name, &amount, &mut errors);
    }
    errors
}

/// An amount of what a quota can be of.
fn amount_of(name: &str, amount: &At<'_>, errors: &mut FieldErrors) {
    for wrong in names::qualified_name(name) {
        errors.push(machinery::field::FieldError::invalid(&amount.path, name, wrong));
    }
    resources::validate_amount(name, amount, errors);
}

/// A container is limited and requests as much as its limits allow, where nothing else is said.
fn default_limits(object: &mut Value) {
    for item in items_at(object, "spec.limits") {
        if read::text(item, "type") != "Container" {
            continue;
        }
        for (into, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
            let values = read::at(item, from).clone();
            fill(item, into, serde_json::json!({}));
            fill_map(item, into, &values);
        }
    }
}

fn validate_limits(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for item in At::root(object).at("spec").items("limits") {
        let type_ = item.at("type");
        type_.require_text(&mut errors);
        if type_.text() == "Pod" {
            for field in ["default", "defaultRequest"] {
                if item.entries(field).next().is_some() {
                    item.at(field).forbidden(&mut errors, "may not be specified when `type` is 'Pod'");
                }
            }
        }
        let pairs = [
            ("min", "max"),
            ("min", "defaultRequest"),
            ("min", "default"),
            ("defaultRequest", "max"),
            ("defaultRequest", "default"),
            ("default", "max"),
        ];
        for (low, high) in pairs {
            for (name, least) in item.entries(low) {
                let most = item.at(high).key(name);
                if let (Some(least_amount), Some(most_amount)) = (least.quantity(), most.quantity())
                    && least_amount > most_amount
                {
                    let (least_text, most_text) = (read::scalar(least.value), read::scalar(most.value));
                    let wrong = format!("{low} value {least_text} is greater than {high} value {most_text}");
                    least.invalid(&mut errors, wrong);
                }
            }
        }
    }
    errors
}

fn validate_status(object: &Value, _old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let status = At::root(object).at("status");
    for field in ["hard", "used"] {
        for (name, amount) in status.entries(field) {
            amount_of(name, &amount, &mut errors);
        }
    }
    errors
}
