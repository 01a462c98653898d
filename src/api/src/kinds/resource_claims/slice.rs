//! What a ResourceSlice may say of the devices of a driver.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;

use super::device;
use super::device::VALUES;
use super::names::{driver, full_name, pool, sized};
use crate::check::At;
use crate::podspec::affinity;
use crate::read;

const DEVICES_MAX: usize = 128;
/// Where devices have taints, counters or lists as attributes.
const ADVANCED_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
pub(super) const PLACES: [&str; 4] = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];
const OPERATIONS: [&str; 3] = ["*", "NodePrepareResources", "NodeUnprepareResources"];

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
        device::validate(&device, spec.at("perDeviceNodeSelection").is_true(), &mut errors);
    }
    counter_sets(&spec, &mut errors);
    partition_type(&spec, &mut errors);
    skipped_operations(&spec, &mut errors);
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

/// The attribute that tells devices of one counter set apart is a text of each device that consumes counters.
fn partition_type(spec: &At<'_>, errors: &mut FieldErrors) {
    let named = spec.at("partitionTypeAttribute");
    if !named.is_set() {
        return;
    }
    let consumes = |device: &At<'_>| device.items("consumesCounters").next().is_some();
    if !spec.items("devices").any(|device| consumes(&device)) {
        return named.invalid(errors, "may only be set on a slice which declares devices that consume counters");
    }
    let mut wrong_name = FieldErrors::new();
    full_name(&named, &mut wrong_name);
    if !wrong_name.is_empty() {
        return errors.extend(wrong_name);
    }
    let bare = named.text().strip_prefix(&format!("{}/", spec.at("driver").text()));
    for device in spec.items("devices").filter(consumes) {
        let found = [Some(named.text()), bare].into_iter().flatten();
        let found = found.map(|name| device.at("attributes").key(name)).find(At::is_set);
        let rule = "`partitionTypeAttribute` names this attribute";
        let at = device.at("attributes").key(named.text());
        match found {
            None => at.required(errors, &format!("device consumes counters and {rule}, so it must be set")),
            Some(found) if !found.at("string").is_set() => {
                let wrong = format!("must be a string value because {rule}");
                errors.push(FieldError::invalid(&at.path, found.value.clone(), wrong));
            }
            Some(_) => {}
        }
    }
}

/// What the node has not to do for the devices: preparing alone cannot be left out.
fn skipped_operations(spec: &At<'_>, errors: &mut FieldErrors) {
    let skips = |operation: &str| spec.items("skipNodeOperations").any(|skipped| skipped.text() == operation);
    let mut seen = HashSet::new();
    for skipped in spec.items("skipNodeOperations") {
        if !OPERATIONS.contains(&skipped.text()) {
            skipped.not_supported(errors, &OPERATIONS);
        } else if !seen.insert(skipped.text()) {
            skipped.duplicate(errors);
        }
    }
    if skips("NodePrepareResources") && !skips("NodeUnprepareResources") && !skips("*") {
        let wrong = "NodePrepareResources cannot be skipped unless NodeUnprepareResources is also skipped";
        spec.at("skipNodeOperations").invalid(errors, wrong);
    }
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

pub(super) fn counters(of: &At<'_>, errors: &mut FieldErrors) {
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
