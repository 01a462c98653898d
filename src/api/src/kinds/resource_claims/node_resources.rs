//! What a device takes of its node's own resources (KEP-5517).

use machinery::field::{FieldError, FieldErrors};

use crate::check::At;
use crate::podspec::resource_names;

/// Each resource with what is taken of it: by the device and its capacity, or by each pod and container beside it.
pub(super) fn validate(device: &At<'_>, errors: &mut FieldErrors) {
    for (name, taken) in device.entries("nodeAllocatableResources") {
        if !resource_names::is_allocatable_of_nodes(name) {
            errors.push(FieldError::invalid(&taken.path, name, "must be a node allocatable resource name"));
        }
        let (mapping, overhead) = (taken.at("mapping"), taken.at("overhead"));
        if !mapping.is_set() && !overhead.is_set() {
            taken.required(errors, "at least one of mapping or overhead must be set");
        }
        if mapping.is_set() {
            validate_mapping(&mapping, device, errors);
        }
        if overhead.is_set() {
            validate_overhead(&overhead, errors);
        }
    }
}

fn validate_mapping(mapping: &At<'_>, device: &At<'_>, errors: &mut FieldErrors) {
    let (key, multiplier) = (mapping.at("capacityKey"), mapping.at("capacityMultiplier"));
    if key.is_set() {
        if key.text().is_empty() {
            key.invalid(errors, "capacityKey must not be an empty string");
        } else if !device.entries("capacity").any(|(name, _)| name == key.text()) {
            key.not_found(errors);
        }
        if multiplier.is_set() {
            positive(&multiplier, errors);
        } else {
            multiplier.required(errors, "capacityMultiplier is required when capacityKey is set");
        }
    } else if multiplier.is_set() {
        key.required(errors, "capacityKey is required when capacityMultiplier is set");
    }
    positive(&mapping.at("deviceMultiplier"), errors);
}

fn positive(at: &At<'_>, errors: &mut FieldErrors) {
    if at.quantity().is_some_and(|amount| amount.is_negative() || amount.is_zero()) {
        at.invalid(errors, "must be positive");
    }
}

fn validate_overhead(overhead: &At<'_>, errors: &mut FieldErrors) {
    let parts = ["perPod", "perContainer"].map(|part| overhead.at(part));
    if !parts.iter().any(At::is_set) {
        errors.push(FieldError::invalid(&overhead.path, "", "at least one of perPod or perContainer must be set"));
    }
    for part in parts.iter().filter(|part| part.quantity().is_some_and(|amount| amount.is_negative())) {
        part.invalid(errors, "must be non-negative");
    }
}
