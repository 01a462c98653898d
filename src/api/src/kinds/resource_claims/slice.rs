//! What a ResourceSlice may say of the devices of a driver.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;

use super::names::{driver, pool, qualified, sized, taint};
use crate::check::At;
use crate::metadata::too_long;
use crate::podspec::affinity;
use crate::read;

const DEVICES_MAX: usize = 128;
/// Where devices have taints, counters or lists as attributes.
const ADVANCED_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
const ATTRIBUTES_AND_CAPACITIES_MAX: usize = 32;
const TAINTS_MAX: usize = 16;
const CONSUMPTIONS_MAX: usize = 2;
const VALUE_BYTES_MAX: usize = 64;
const PLACES: [&str; 4] = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];
const VALUES: [&str; 8] = ["bool", "int", "string", "version", "bools", "ints", "strings", "versions"];

pub(super) fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    driver(&spec.at("driver"), &mut errors);
    let of_pool = spec.at("pool");
    pool(&of_pool.at("name"), &mut errors);
    let count = of_pool.at("resourceSliceCount");
    if count.int().unwrap_or_default() <= 0 {
        let number = count.int().unwrap_or_default();
        errors.push(FieldError::invalid(&count.path, number, "must be greater than zero"));
    }
    if of_pool.at("generation").int().is_some_and(|generation| generation < 0) {
        of_pool.at("generation").invalid(&mut errors, "must be greater than or equal to zero");
    }
    place(&spec, &mut errors);
    if spec.at("sharedCounters").is_set() && spec.at("devices").is_set() {
        let wrong = "only one of `sharedCounters` or `devices` is allowed";
        errors.push(FieldError::invalid(&spec.path, "", wrong));
    }
    let is_advanced = spec.items("devices").any(|device| {
        let has_list =
            device.entries("attributes").any(|(_, value)| VALUES[4..].iter().any(|field| value.at(field).is_set()));
        has_list || ["taints", "consumesCounters"].iter().any(|list| !read::list(device.value, list).is_empty())
    });
    sized(&spec, "devices", if is_advanced { ADVANCED_DEVICES_MAX } else { DEVICES_MAX }, &mut errors);
    let mut seen = HashSet::new();
    for device in spec.items("devices") {
        if !seen.insert(device.at("name").text()) {
            errors.push(FieldError::duplicate(&device.path, device.at("name").text()));
        }
        validate_device(&device, spec.at("perDeviceNodeSelection").is_true(), &mut errors);
    }
    counter_sets(&spec, &mut errors);
    errors
}

/// On which nodes the devices are: said in one way.
fn place(spec: &At<'_>, errors: &mut FieldErrors) {
    let mut said = Vec::new();
    for field in PLACES {
        let at = spec.at(field);
        match field {
            _ if !at.is_set() => continue,
            "nodeName" if at.text().is_empty() => {
                at.invalid(errors, "must be either unset or set to a non-empty string");
                continue;
            }
            "nodeName" => at.follows(errors, names::dns1123_subdomain),
            "nodeSelector" => {
                affinity::validate_node_selector(&at, errors);
                if at.items("nodeSelectorTerms").count() != 1 {
                    at.at("nodeSelectorTerms").invalid(errors, "must have exactly one node selector term");
                }
            }
            _ if !at.is_true() => {
                at.invalid(errors, "must be either unset or set to true");
                continue;
            }
            _ => {}
        }
        said.push(format!("`{field}`"));
    }
    one_of(
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
        spec,
        &said,
        errors,
    );
}

fn one_of(rule: &str, at: &At<'_>, said: &[String], errors: &mut FieldErrors) {
    match said.len() {
        0 => at.required(errors, rule),
        1 => {}
        _ => {
            let wrong = format!("{rule}, but multiple fields are set");
            errors.push(FieldError::invalid(&at.path, format!("{{{}}}", said.join(", ")), wrong));
        }
    }
}

fn validate_device(device: &At<'_>, is_placed_alone: bool, errors: &mut FieldErrors) {
    device.at("name").require_name(errors, names::dns1123_label);
    let count = device.entries("attributes").count() + device.entries("capacity").count();
    if count > ATTRIBUTES_AND_CAPACITIES_MAX {
        let wrong =
            format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_AND_CAPACITIES_MAX}");
        errors.push(FieldError::invalid(&device.path, count, wrong));
    }
    for (name, attribute) in device.entries("attributes") {
        qualified(name, &attribute, errors);
        validate_attribute(&attribute, errors);
    }
    for (name, capacity) in device.entries("capacity") {
        qualified(name, &capacity, errors);
        if capacity.at("requestPolicy").is_set() && !device.at("allowMultipleAllocations").is_true() {
            capacity.at("requestPolicy").forbidden(errors, "allowMultipleAllocations must be true");
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

fn counter_sets(spec: &At<'_>, errors: &mut FieldErrors) {
    sized(spec, "sharedCounters", COUNTER_SETS_MAX, errors);
    let mut seen = HashSet::new();
    for set in spec.items("sharedCounters") {
        let name = set.at("name");
        name.require_name(errors, names::dns1123_label);
        if !seen.insert(name.text()) {
            errors.push(FieldError::duplicate(&set.path, name.text()));
        }
        counters(&set, errors);
    }
}

fn counters(of: &At<'_>, errors: &mut FieldErrors) {
    let all = of.at("counters");
    let count = of.entries("counters").count();
    if count == 0 {
        all.required(errors, "");
    }
    if count > COUNTERS_MAX {
        all.invalid(errors, format!("must have at most {COUNTERS_MAX} items"));
    }
    for (name, counter) in of.entries("counters") {
        for wrong in names::dns1123_label(name) {
            errors.push(FieldError::invalid(&counter.path, name, wrong));
        }
    }
}

/// What a driver published stays with its node and pool.
pub(super) fn kept(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    for field in ["pool.name", "driver", "nodeName"] {
        spec.at(field).immutable(&mut errors, read::at(read::at(old, "spec"), field));
    }
    errors
}
