//! What a claim may ask for: requests of devices, constraints between them, configuration for drivers (KEP-4381).

use std::collections::{HashMap, HashSet};

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use super::expression;
use super::names::{driver, full_name, sized, toleration};
use crate::check::At;
use crate::metadata::too_long;
use crate::read;

const REQUESTS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const SELECTORS_MAX: usize = 32;
const CONSTRAINTS_MAX: usize = 32;
const TOLERATIONS_MAX: usize = 16;
pub(super) const CONFIGURATIONS_MAX: usize = 32;
const PARAMETERS_BYTES_MAX: usize = 10 * 1024;
const NO_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// The requests of a claim and the alternatives of each.
pub(super) type Requests<'a> = HashMap<&'a str, HashSet<&'a str>>;

pub(super) fn requests<'a>(devices: &At<'a>) -> Requests<'a> {
    let alternatives = |request: &At<'a>| -> HashSet<&'a str> {
        read::list(request.value, "firstAvailable").iter().map(|found| read::text(found, "name")).collect()
    };
    devices.items("requests").map(|request| (read::text(request.value, "name"), alternatives(&request))).collect()
}

/// Everything that is wrong with the `devices` of a claim's spec.
pub(super) fn validate(devices: &At<'_>, errors: &mut FieldErrors) {
    let known = requests(devices);
    sized(devices, "requests", REQUESTS_MAX, errors);
    let mut seen = HashSet::new();
    for request in devices.items("requests") {
        let name = request.at("name");
        name.require_name(errors, names::dns1123_label);
        if !seen.insert(name.text()) {
            errors.push(FieldError::duplicate(&request.path, name.text()));
        }
        let (exactly, first) = (request.at("exactly"), request.items("firstAvailable").next().is_some());
        match (exactly.is_set(), first) {
            (false, false) => {
                request.required(errors, "exactly one of `exactly` or `firstAvailable` is required");
            }
            (true, true) => {
                let wrong = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
                request.invalid(errors, wrong);
            }
            (true, false) => one(&exactly, errors),
            (false, true) => alternatives(&request, errors),
        }
    }
    sized(devices, "constraints", CONSTRAINTS_MAX, errors);
    devices.items("constraints").for_each(|constraint| validate_constraint(&constraint, &known, errors));
    sized(devices, "config", CONFIGURATIONS_MAX, errors);
    for configuration in devices.items("config") {
        references(&configuration, &known, errors);
        validate_configuration(&configuration, errors);
    }
}

fn alternatives(request: &At<'_>, errors: &mut FieldErrors) {
    sized(request, "firstAvailable", ALTERNATIVES_MAX, errors);
    let mut seen = HashSet::new();
    for alternative in request.items("firstAvailable") {
        let name = alternative.at("name");
        name.require_name(errors, names::dns1123_label);
        if !seen.insert(name.text()) {
            errors.push(FieldError::duplicate(&alternative.path, name.text()));
        }
        one(&alternative, errors);
    }
}

/// A request of one class.
fn one(request: &At<'_>, errors: &mut FieldErrors) {
    request.at("deviceClassName").require_name(errors, names::dns1123_subdomain);
    selectors(request, errors);
    let (mode, count) = (request.at("allocationMode"), request.at("count"));
    let number = count.int().unwrap_or_default();
    match mode.text() {
        "All" if number != 0 => count.invalid(errors, "must not be specified when allocationMode is 'All'"),
        "All" => {}
        "ExactCount" if number <= 0 => {
            errors.push(FieldError::invalid(&count.path, number, "must be greater than zero"));
        }
        "ExactCount" => {}
        other => errors.push(FieldError::not_supported(&mode.path, other, &["All", "ExactCount"])),
    }
    sized(request, "tolerations", TOLERATIONS_MAX, errors);
    request.items("tolerations").for_each(|found| toleration(&found, errors));
}

/// Expressions that a device has to fulfil: they compile, and cost no more than whoever allocates will bear.
pub(super) fn selectors(of: &At<'_>, errors: &mut FieldErrors) {
    sized(of, "selectors", SELECTORS_MAX, errors);
    for selector in of.items("selectors") {
        let expression = selector.at("cel.expression");
        if !selector.at("cel").is_set() {
            selector.at("cel").required(errors, "");
        } else {
            expression::validate(&expression, errors);
        }
    }
}

fn validate_constraint(constraint: &At<'_>, known: &Requests<'_>, errors: &mut FieldErrors) {
    references(constraint, known, errors);
    let (same, distinct) = (constraint.at("matchAttribute"), constraint.at("distinctAttribute"));
    match (same.is_set(), distinct.is_set()) {
        (true, _) => full_name(&same, errors),
        (false, true) => full_name(&distinct, errors),
        (false, false) => same.required(errors, ""),
    }
}

/// The requests that a constraint or a configuration is about.
pub(super) fn references(of: &At<'_>, known: &Requests<'_>, errors: &mut FieldErrors) {
    sized(of, "requests", REQUESTS_MAX, errors);
    let mut seen = HashSet::new();
    for reference in of.items("requests") {
        if !seen.insert(reference.text()) {
            reference.duplicate(errors);
        }
        validate_reference(&reference, known, errors);
    }
}

/// The name of a request, or of one and an alternative of it.
pub(super) fn validate_reference(reference: &At<'_>, known: &Requests<'_>, errors: &mut FieldErrors) {
    let parts: Vec<&str> = reference.text().split('/').collect();
    if parts.len() <= 2 {
        for wrong in parts.iter().flat_map(|part| names::dns1123_label(part)) {
            reference.invalid(errors, wrong);
        }
    }
    let is_known = match parts.as_slice() {
        [request] => known.contains_key(request),
        [request, alternative] => known.get(request).is_some_and(|found| found.contains(alternative)),
        _ => false,
    };
    if !is_known {
        reference.invalid(errors, NO_REQUEST);
    }
}

/// What a driver is told.
pub(super) fn validate_configuration(configuration: &At<'_>, errors: &mut FieldErrors) {
    let opaque = configuration.at("opaque");
    if !opaque.is_set() {
        return opaque.required(errors, "");
    }
    driver(&opaque.at("driver"), errors);
    let parameters = opaque.at("parameters");
    if !parameters.is_set() {
        parameters.required(errors, "");
    } else if !parameters.value.is_object() {
        parameters.invalid(errors, "parameters must be a valid JSON object");
    } else if parameters.value.to_string().len() > PARAMETERS_BYTES_MAX {
        errors.push(too_long(&parameters.path, PARAMETERS_BYTES_MAX));
    }
}
