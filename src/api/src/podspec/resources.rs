//! Requests and limits.

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use crate::check::At;

const STANDARD: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "storage"];
const HUGE_PAGES: &str = "hugepages-";
const CPU_DIVISORS: [&str; 2] = ["1m", "1"];
const BYTE_DIVISORS: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// The `resources` of a container or pod.
pub(crate) fn validate_requirements(resources: &At<'_>, errors: &mut FieldErrors) {
    for (name, amount) in resources.entries("limits") {
        validate_name(name, &amount, errors);
        validate_amount(name, &amount, errors);
    }
    for (name, amount) in resources.entries("requests") {
        validate_name(name, &amount, errors);
        validate_amount(name, &amount, errors);
        let limit = resources.at("limits").key(name);
        let requests = &resources.at("requests").path;
        let shown = crate::read::scalar(limit.value);
        match (amount.quantity(), limit.quantity()) {
            (Some(requested), Some(limit)) if !may_overcommit(name) && requested != limit => {
                let wrong = format!("must be equal to {name} limit of {shown}");
                errors.push(FieldError::invalid(requests, amount.value.clone(), wrong));
            }
            (Some(requested), Some(limit)) if requested > limit => {
                let wrong = format!("must be less than or equal to {name} limit of {shown}");
                errors.push(FieldError::invalid(requests, amount.value.clone(), wrong));
            }
            (Some(_), None) if !may_overcommit(name) => {
                let wrong = "Limit must be set for non overcommitable resources";
                resources.at("limits").required(errors, wrong);
            }
            _ => {}
        }
    }
}

/// Extended resources and huge pages are handed out once.
fn may_overcommit(name: &str) -> bool {
    !name.starts_with(HUGE_PAGES) && (!name.contains('/') || name.contains("kubernetes.io/"))
}

fn validate_name(name: &str, at: &At<'_>, errors: &mut FieldErrors) {
    for wrong in names::qualified_name(name) {
        errors.push(FieldError::invalid(&at.path, name, wrong));
    }
    if !name.contains('/') && !STANDARD.contains(&name) && !name.starts_with(HUGE_PAGES) {
        errors.push(FieldError::invalid(&at.path, name, "must be a standard resource type or fully qualified"));
        errors.push(FieldError::invalid(&at.path, name, "must be a standard resource for containers"));
    }
}

/// An amount of a resource: not negative, and whole where halves make no sense.
pub(crate) fn validate_amount(name: &str, amount: &At<'_>, errors: &mut FieldErrors) {
    let Some(quantity) = amount.quantity() else { return };
    if quantity.is_negative() {
        amount.invalid(errors, "must be greater than or equal to 0");
    } else if !may_overcommit(name) && !quantity.is_whole() {
        amount.invalid(errors, "must be an integer");
    }
}

/// A reference to a container's requests or limits.
pub(crate) fn validate_reference(reference: &At<'_>, needs_container: bool, errors: &mut FieldErrors) {
    if needs_container && reference.at("containerName").text().is_empty() {
        reference.at("containerName").required(errors, "");
    }
    let resource = reference.at("resource");
    let Some(name) = resource.require_text(errors) else { return };
    let (kind, name) = name.split_once('.').unwrap_or(("", name));
    let is_known = matches!(kind, "limits" | "requests")
        && (matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with(HUGE_PAGES));
    if !is_known {
        let supported = [
            "limits.cpu",
            "limits.ephemeral-storage",
            "limits.memory",
            "requests.cpu",
            "requests.ephemeral-storage",
            "requests.memory",
        ];
        resource.not_supported(errors, &supported);
        return;
    }
    let divisor = reference.at("divisor");
    let shown = crate::read::scalar(divisor.value);
    let (allowed, words): (&[&str], &str) = match name {
        "cpu" => (&CPU_DIVISORS, "1m and 1"),
        _ => (&BYTE_DIVISORS, "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"),
    };
    if !matches!(shown.as_str(), "" | "0") && !allowed.contains(&shown.as_str()) {
        let wrong = format!("only divisor's values {words} are supported with the {name} resource");
        errors.push(FieldError::invalid(&divisor.path, resource.value.clone(), wrong));
    }
}
