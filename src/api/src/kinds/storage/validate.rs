//! What drivers of storage, their nodes, capacities, attachments and classes may be.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;

use crate::check::{At, label_selector};
use crate::kinds::storage_class::parameters;
use crate::podspec::volumes::driver_name;
use crate::read;

const LIFECYCLE_MODES: [&str; 2] = ["Ephemeral", "Persistent"];
const NODE_ID_BYTES_MAX: usize = 192;
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

pub(super) fn validate_driver(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    driver_name(&At::root(object).at("metadata.name"), &mut errors);
    for (field, shown) in [("attachRequired", "attachedRequired"), ("podInfoOnMount", "podInfoOnMount")] {
        if !spec.at(field).is_set() {
            errors.push(FieldError::required(&spec.path.child(shown), ""));
        }
    }
    if !spec.at("storageCapacity").is_set() {
        spec.at("storageCapacity").required(&mut errors, "");
    }
    let modes = spec.at("volumeLifecycleModes");
    for mode in spec.items("volumeLifecycleModes").filter(|mode| !LIFECYCLE_MODES.contains(&mode.text())) {
        errors.push(FieldError::not_supported(&modes.path, mode.text(), &LIFECYCLE_MODES));
    }
    let mut seen = HashSet::new();
    for request in spec.items("tokenRequests") {
        let (audience, seconds) = (request.at("audience"), request.at("expirationSeconds"));
        if !seen.insert(audience.text()) {
            audience.duplicate(&mut errors);
        }
        match seconds.int() {
            Some(found) if found < TOKEN_SECONDS_MIN => {
                seconds.invalid(&mut errors, "may not specify a duration less than 10 minutes");
            }
            Some(found) if found > TOKEN_SECONDS_MAX => {
                seconds.invalid(&mut errors, "may not specify a duration larger than 2^32 seconds");
            }
            _ => {}
        }
    }
    errors
}

pub(super) fn driver_kept(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let before = read::at(old, "spec");
    let attached = At { path: spec.path.child("attachedRequired"), ..spec.at("attachRequired") };
    attached.immutable(&mut errors, read::at(before, "attachRequired"));
    spec.at("volumeLifecycleModes").immutable(&mut errors, read::at(before, "volumeLifecycleModes"));
    errors
}

pub(super) fn validate_node(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut seen = HashSet::new();
    for driver in At::root(object).at("spec").items("drivers") {
        let (name, id) = (driver.at("name"), driver.at("nodeID"));
        driver_name(&name, &mut errors);
        if !seen.insert(name.text()) {
            name.duplicate(&mut errors);
        }
        if id.require_text(&mut errors).is_some_and(|id| id.len() > NODE_ID_BYTES_MAX) {
            id.invalid(&mut errors, format!("must be {NODE_ID_BYTES_MAX} characters or less"));
        }
        driver.at("allocatable.count").non_negative(&mut errors);
        let mut keys = HashSet::new();
        for key in driver.items("topologyKeys") {
            if key.text().is_empty() {
                key.required(&mut errors, "");
            }
            if !keys.insert(key.text()) {
                key.duplicate(&mut errors);
            }
            key.follows(&mut errors, names::qualified_name);
        }
    }
    errors
}

/// A driver that is registered stays what it is; how many volumes it can have may change.
pub(super) fn node_kept(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let without_count = |driver: &Value| {
        let mut driver = driver.clone();
        crate::edit::remove(&mut driver, "allocatable");
        driver
    };
    for driver in At::root(object).at("spec").items("drivers") {
        let before = read::list(old, "spec.drivers").iter().find(|found| found["name"] == driver.value["name"]);
        let is_same = |before: &Value| read::same(&without_count(before), &without_count(driver.value));
        if before.is_some_and(|before| !is_same(before)) {
            driver.invalid(&mut errors, "field is immutable");
        }
    }
    errors
}

pub(super) fn validate_capacity(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let root = At::root(object);
    root.at("storageClassName").require_name(&mut errors, names::dns1123_subdomain);
    label_selector(&root.at("nodeTopology"), &mut errors);
    for field in ["capacity", "maximumVolumeSize"] {
        if root.at(field).quantity().is_some_and(|amount| amount.is_negative()) {
            root.at(field).invalid(&mut errors, "must be greater than or equal to 0");
        }
    }
    errors
}

pub(super) fn capacity_kept(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for field in ["nodeTopology", "storageClassName"] {
        At::root(object).at(field).immutable(&mut errors, read::at(old, field));
    }
    errors
}

pub(super) fn validate_attachment(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    driver_name(&spec.at("attacher"), &mut errors);
    let (volume, inline) = (spec.at("source.persistentVolumeName"), spec.at("source.inlineVolumeSpec"));
    match (volume.is_set(), inline.is_set()) {
        (false, false) => {
            let wrong = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            spec.at("source").required(&mut errors, wrong);
        }
        (true, true) => {
            spec.at("source")
                .forbidden(&mut errors, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
        }
        (true, false) => volume.follows(&mut errors, names::dns1123_subdomain),
        (false, true) => {}
    }
    spec.at("nodeName").require_name(&mut errors, names::dns1123_subdomain);
    errors
}

pub(super) fn validate_attributes(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let root = At::root(object);
    driver_name(&root.at("driverName"), &mut errors);
    if root.entries("parameters").next().is_none() {
        root.at("parameters").required(&mut errors, "must contain at least one key/value pair");
    }
    parameters(&root, &mut errors);
    errors
}

pub(super) fn attributes_kept(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for field in ["driverName", "parameters"] {
        let at = At::root(object).at(field);
        if !read::same(at.value, read::at(old, field)) {
            at.forbidden(&mut errors, &format!("updates to {field} are forbidden."));
        }
    }
    errors
}
