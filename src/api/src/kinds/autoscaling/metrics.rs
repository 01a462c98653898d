//! The metrics that a HorizontalPodAutoscaler follows.

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use super::metric_field;
use crate::check::At;
use crate::podspec::resource_names;

const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
const SOURCES: [&str; 5] = ["object", "external", "pods", "resource", "containerResource"];
const BOTH: &str = "may not set both a target raw value and a target utilization";
const NEITHER: &str = "must set either a target raw value or a target utilization";

/// Everything that is wrong with one metric.
pub(super) fn validate(metric: &At<'_>, errors: &mut FieldErrors) {
    let type_ = metric.at("type");
    if type_.text().is_empty() {
        type_.required(errors, "must specify a metric source type");
    }
    let present: Vec<&str> = SOURCES.into_iter().filter(|field| metric.at(field).is_set()).collect();
    if let Some(first) = present.first() {
        source(first, &metric.at(first), errors);
    }
    if !TYPES.contains(&type_.text()) {
        errors.push(FieldError::not_supported(&type_.path, type_.text(), &TYPES));
        return;
    }
    let expected = metric_field(type_.text());
    if !metric.at(expected).is_set() {
        metric.at(expected).required(errors, "must populate information for the given metric source");
    }
    if present.len() != 1 {
        for other in present.into_iter().filter(|field| *field != expected) {
            metric.at(other).forbidden(errors, "must populate the given metric source only");
        }
    }
}

fn source(kind: &str, source: &At<'_>, errors: &mut FieldErrors) {
    match kind {
        "resource" => {
            if source.at("name").text().is_empty() {
                source.at("name").required(errors, "must specify a resource name");
            }
        }
        "containerResource" => {
            let (name, container) = (source.at("name"), source.at("container"));
            match name.text() {
                "" => name.required(errors, "must specify a resource name"),
                text => resource_names::container(text, &name, errors),
            }
            match container.text() {
                "" => container.required(errors, "must specify a container"),
                _ => container.follows(errors, names::dns1123_label),
            }
        }
        _ => {
            if kind == "object" {
                for field in ["kind", "name"] {
                    source.at("describedObject").at(field).require_name(errors, names::path_segment);
                }
            }
            let name = source.at("metric.name");
            match name.text() {
                "" => name.required(errors, "must specify a metric name"),
                _ => name.follows(errors, names::path_segment),
            }
        }
    }
    target(&source.at("target"), errors);
    choice(kind, &source.at("target"), errors);
}

/// Which of a target's values a kind of metric can have.
fn choice(kind: &str, target: &At<'_>, errors: &mut FieldErrors) {
    let (value, average, percent) = (target.at("value"), target.at("averageValue"), target.at("averageUtilization"));
    match kind {
        "object" if !value.is_set() && !average.is_set() => {
            average.required(errors, "must set either a target value or averageValue");
        }
        "external" => match (value.is_set(), average.is_set()) {
            (false, false) => {
                average.required(errors, "must set either a target value for metric or a per-pod target");
            }
            (true, true) => {
                value.forbidden(errors, "may not set both a target value for metric and a per-pod target");
            }
            _ => {}
        },
        "pods" if !average.is_set() => average.required(errors, "must specify a positive target averageValue"),
        "resource" | "containerResource" => match (percent.is_set(), average.is_set()) {
            (false, false) => percent.required(errors, NEITHER),
            (true, true) => average.forbidden(errors, BOTH),
            _ => {}
        },
        _ => {}
    }
}

fn target(target: &At<'_>, errors: &mut FieldErrors) {
    let type_ = target.at("type");
    if type_.text().is_empty() {
        type_.required(errors, "must specify a metric target type");
    }
    if !matches!(type_.text(), "Utilization" | "Value" | "AverageValue") {
        let wrong = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(&type_.path, type_.text(), wrong));
    }
    for field in ["value", "averageValue"].iter().map(|field| target.at(field)) {
        if field.quantity().is_some_and(|amount| amount.is_negative() || amount.is_zero()) {
            field.invalid(errors, "must be positive");
        }
    }
    let percent = target.at("averageUtilization");
    if percent.int().is_some_and(|percent| percent < 1) {
        percent.invalid(errors, "must be greater than 0");
    }
}
