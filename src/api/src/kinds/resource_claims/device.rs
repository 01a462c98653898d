//! What a ResourceSlice may say of one device.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;

use super::names::{qualified, sized, taint};
use super::slice::{PLACES, counters};
use super::{capacity, node_resources};
use crate::check::At;
use crate::metadata::too_long;
use crate::podspec::affinity;

pub(super) const ATTRIBUTES_AND_CAPACITIES_MAX: usize = 32;
const ATTRIBUTE_VALUES_MAX: usize = 48;
pub(super) const VALUE_BYTES_MAX: usize = 64;
const TAINTS_MAX: usize = 16;
const CONSUMPTIONS_MAX: usize = 2;
const CONDITIONS_MAX: usize = 4;
/// The last four are lists.
pub(super) const VALUES: [&str; 8] = ["bool", "int", "string", "version", "bools", "ints", "strings", "versions"];

/// Its name, what it is and has, and where it is.
pub(super) fn validate(device: &At<'_>, is_placed_alone: bool, errors: &mut FieldErrors) {
    device.at("name").require_name(errors, names::dns1123_label);
    let count = device.entries("attributes").count() + device.entries("capacity").count();
    if count > ATTRIBUTES_AND_CAPACITIES_MAX {
        let wrong =
            format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_AND_CAPACITIES_MAX}");
        errors.push(FieldError::invalid(&device.path, count, wrong));
    }
    let values: usize = device.entries("attributes").map(|(_, attribute)| values_of(&attribute)).sum();
    if values > ATTRIBUTE_VALUES_MAX {
        let wrong = format!("the total number of attribute values must not exceed {ATTRIBUTE_VALUES_MAX}");
        errors.push(FieldError::invalid(&device.path, values, wrong));
    }
    for (name, attribute) in device.entries("attributes") {
        qualified(name, &attribute, errors);
        validate_attribute(&attribute, errors);
    }
    for (name, capacity) in device.entries("capacity") {
        qualified(name, &capacity, errors);
        let policy = capacity.at("requestPolicy");
        if policy.is_set() && !device.at("allowMultipleAllocations").is_true() {
            policy.forbidden(errors, "allowMultipleAllocations must be true");
        } else if policy.is_set() {
            capacity::validate_policy(&policy, capacity.at("value").quantity().unwrap_or_default(), errors);
        }
    }
    sized(device, "taints", TAINTS_MAX, errors);
    device.items("taints").for_each(|found| taint(&found, errors));
    sized(device, "consumesCounters", CONSUMPTIONS_MAX, errors);
    let mut seen = HashSet::new();
    for consumption in device.items("consumesCounters") {
        let set = consumption.at("counterSet");
        set.require_name(errors, names::dns1123_label);
        if !seen.insert(set.text()) {
            errors.push(FieldError::duplicate(&consumption.path, set.text()));
        }
        counters(&consumption, errors);
    }
    binding_conditions(device, errors);
    node_resources::validate(device, errors);
    let fields: Vec<At<'_>> = PLACES[..3].iter().map(|field| device.at(field)).filter(At::is_set).collect();
    if is_placed_alone {
        let said: Vec<String> =
            PLACES[..3].iter().filter(|field| device.at(field).is_set()).map(|field| format!("`{field}`")).collect();
        let rule = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
                    `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        if said.len() != 1 {
            device.required(errors, rule);
        }
        device.at("nodeName").optional_name(errors, names::dns1123_subdomain);
        if device.at("nodeSelector").is_set() {
            affinity::validate_node_selector(&device.at("nodeSelector"), errors);
        }
    } else if !fields.is_empty() {
        let wrong = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to \
                     true in the ResourceSlice spec";
        errors.push(FieldError::invalid(&device.path, Value::Null, wrong));
    }
}

/// The values of an attribute: each of a list counts.
fn values_of(attribute: &At<'_>) -> usize {
    VALUES[4..].iter().map(|field| attribute.items(field).count()).sum::<usize>().max(1)
}

/// Conditions that a driver sets before, or instead of, a pod is bound: both sorts or neither (KEP-5007).
fn binding_conditions(device: &At<'_>, errors: &mut FieldErrors) {
    let (ready, failed) = ("bindingConditions", "bindingFailureConditions");
    for (field, other) in [(ready, failed), (failed, ready)] {
        sized(device, field, CONDITIONS_MAX, errors);
        let mut seen = HashSet::new();
        for condition in device.items(field) {
            if condition.require_text(errors).is_some() {
                condition.follows(errors, names::qualified_name);
            }
            if !seen.insert(condition.text()) {
                condition.duplicate(errors);
            }
            if field == failed && device.items(ready).any(|ready| ready.text() == condition.text()) {
                condition.invalid(errors, "bindingFailureConditions must not overlap with bindingConditions");
            }
        }
        if seen.is_empty() && device.items(other).next().is_some() {
            device.at(field).invalid(errors, format!("{field} are required to use {other}"));
        }
    }
}

/// One value, of one type.
fn validate_attribute(attribute: &At<'_>, errors: &mut FieldErrors) {
    let said: Vec<&str> = VALUES.into_iter().filter(|field| attribute.at(field).is_set()).collect();
    match said.as_slice() {
        [] => errors.push(FieldError::invalid(&attribute.path, "", "exactly one value must be specified")),
        [_] => {}
        _ => attribute.invalid(errors, "exactly one value must be specified"),
    }
    for field in VALUES[4..].iter().map(|field| attribute.at(field)).filter(At::is_set) {
        if field.value.as_array().is_some_and(Vec::is_empty) {
            field.invalid(errors, "must not be empty if specified");
        }
    }
    let texts = [attribute.at("string")].into_iter().chain(attribute.items("strings"));
    let versions = [attribute.at("version")].into_iter().chain(attribute.items("versions"));
    for (text, is_version) in texts.map(|text| (text, false)).chain(versions.map(|text| (text, true))) {
        if is_version && text.is_set() && !is_semantic_version(text.text()) {
            text.invalid(errors, "must be a string compatible with semver.org spec 2.0.0");
        }
        if text.text().len() > VALUE_BYTES_MAX {
            errors.push(too_long(&text.path, VALUE_BYTES_MAX));
        }
    }
}

/// `1.2.3-beta.1+build.5`, as semver.org says.
fn is_semantic_version(text: &str) -> bool {
    let is_identifier =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_number = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
    let is_pre = |part: &str| is_identifier(part) && (!is_digits(part) || is_number(part));
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre.is_none_or(|pre| pre.split('.').all(is_pre))
        && build.is_none_or(|build| build.split('.').all(is_identifier))
}
