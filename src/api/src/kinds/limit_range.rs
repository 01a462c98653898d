//! LimitRange.

use std::collections::{BTreeSet, HashSet};

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use machinery::quantity::Quantity;
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::edit::{fill, fill_map, items_at};
use crate::podspec::resource_names;
use crate::read;

/// The behaviour of LimitRanges.
pub static LIMIT_RANGE: Simple = Simple { default, validate, ..Simple::CREATED_AT };

const TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];

/// A container is limited and requests as much as its limits allow, where nothing else is said.
fn default(object: &mut Value) {
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

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut seen = HashSet::new();
    for item in At::root(object).at("spec").items("limits") {
        let type_ = item.at("type");
        let wrong = names::qualified_name(type_.text());
        let is_unknown = wrong.is_empty() && !type_.text().contains('/') && !TYPES.contains(&type_.text());
        let wrong =
            wrong.into_iter().chain(is_unknown.then(|| "must be a standard limit type or fully qualified".into()));
        errors.extend(wrong.map(|wrong| FieldError::invalid(&type_.path, type_.text(), wrong)));
        if !seen.insert(type_.text()) {
            type_.duplicate(&mut errors);
        }
        amounts(&item, &mut errors);
    }
    errors
}

/// What one item says of the resources that it names.
fn amounts(item: &At<'_>, errors: &mut FieldErrors) {
    let type_ = item.at("type").text();
    let rule = match type_ {
        "Pod" | "Container" => resource_names::container,
        _ => resource_names::any,
    };
    let mut resources = BTreeSet::new();
    for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        if type_ == "Pod" && field.starts_with("default") {
            if item.entries(field).next().is_some() {
                item.at(field).forbidden(errors, "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (name, amount) in item.entries(field) {
            rule(name, &amount, errors);
            resources.insert(name);
        }
    }
    let bounds_storage = ["min", "max"].iter().any(|field| item.at(field).key("storage").is_set());
    if type_ == "PersistentVolumeClaim" && !bounds_storage {
        let wrong = "either minimum or maximum storage value is required, but neither was provided";
        item.at("limits").required(errors, wrong);
    }
    resources.into_iter().for_each(|name| bounds(item, name, errors));
}

/// The amounts of one resource agree with each other.
fn bounds(item: &At<'_>, name: &str, errors: &mut FieldErrors) {
    let is_pod = item.at("type").text() == "Pod";
    let of = |field: &str| {
        let found = item.at(field).key(name);
        let amount = found.quantity().filter(|_| !(is_pod && field.starts_with("default")))?;
        Some((amount, read::scalar(found.value)))
    };
    // The lower one, the higher one, what they are called, and whose path is shown with whose value.
    let pairs = [
        ("min", "max", "min value", "max value", "min", "min"),
        ("min", "defaultRequest", "min value", "default request value", "defaultRequest", "defaultRequest"),
        ("defaultRequest", "max", "default request value", "max value", "defaultRequest", "defaultRequest"),
        (
            "defaultRequest",
            "default",
            "default request value",
            "default limit value",
            "defaultRequest",
            "defaultRequest",
        ),
        ("min", "default", "min value", "default value", "default", "min"),
        ("default", "max", "default value", "max value", "default", "max"),
    ];
    for (low, high, low_name, high_name, path, shown) in pairs {
        if let (Some((least, least_text)), Some((most, most_text))) = (of(low), of(high))
            && least > most
        {
            let wrong = format!("{low_name} {least_text} is greater than {high_name} {most_text}");
            let value = item.at(shown).key(name).value.clone();
            errors.push(FieldError::invalid(&item.at(path).key(name).path, value, wrong));
        }
    }
    if let Some((ratio, text)) = of("maxLimitRequestRatio") {
        let at = item.at("maxLimitRequestRatio").key(name);
        if ratio < Quantity::from_units(1) {
            at.invalid(errors, format!("ratio {text} is less than 1"));
        }
        if let (Some((least, _)), Some((most, _))) = (of("min"), of("max")) {
            let limit = most.to_f64() / least.to_f64();
            if ratio.to_f64() > limit {
                at.invalid(errors, format!("ratio {text} is greater than max/min = {limit:.6}"));
            }
        }
    }
    if let (Some((limit, limit_text)), Some((request, request_text))) = (of("default"), of("defaultRequest"))
        && limit != request
        && !resource_names::may_overcommit(name)
    {
        let wrong = format!("default value {limit_text} must equal to defaultRequest value {request_text} in {name}");
        item.at("defaultRequest").key(name).invalid(errors, wrong);
    }
}
