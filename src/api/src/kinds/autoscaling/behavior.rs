//! How fast a HorizontalPodAutoscaler may scale.

use machinery::field::{FieldError, FieldErrors};

use crate::check::At;

const WINDOW_SECONDS_MAX: i64 = 3600;
const PERIOD_SECONDS_MAX: i64 = 1800;

/// Everything that is wrong with the rules of one direction, if there are any.
pub(super) fn validate(rules: &At<'_>, errors: &mut FieldErrors) {
    if !rules.is_set() {
        return;
    }
    let window = rules.at("stabilizationWindowSeconds");
    match window.int() {
        Some(seconds) if seconds < 0 => window.invalid(errors, "must be greater than or equal to zero"),
        Some(seconds) if seconds > WINDOW_SECONDS_MAX => {
            window.invalid(errors, format!("must be less than or equal to {WINDOW_SECONDS_MAX}"));
        }
        _ => {}
    }
    if rules.at("tolerance").quantity().is_some_and(|tolerance| tolerance.is_negative()) {
        rules.at("tolerance").invalid(errors, "must be greater than or equal to 0");
    }
    if rules.items("policies").next().is_none() {
        rules.at("policies").required(errors, "must specify at least one Policy");
    }
    for policy in rules.items("policies") {
        if !matches!(policy.at("type").text(), "Pods" | "Percent") {
            let type_ = policy.at("type");
            errors.push(FieldError::not_supported(&type_.path, type_.text(), &["Percent", "Pods"]));
        }
        for field in ["value", "periodSeconds"].iter().map(|field| policy.at(field)) {
            let number = field.int().unwrap_or_default();
            if number <= 0 {
                errors.push(FieldError::invalid(&field.path, number, "must be greater than zero"));
            }
        }
        let period = policy.at("periodSeconds");
        if period.int().is_some_and(|seconds| seconds > PERIOD_SECONDS_MAX) {
            period.invalid(errors, format!("must be less than or equal to {PERIOD_SECONDS_MAX}"));
        }
    }
}
