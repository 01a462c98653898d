//! What the status of a ResourceClaim may become: who has its devices, and which they are.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;

use super::names::{driver, pool, sized};
use super::request::{CONFIGURATIONS_MAX, references, requests, validate_configuration, validate_reference};
use crate::check::At;
use crate::podspec::affinity;
use crate::read;

const CONSUMERS_MAX: usize = 256;
const DEVICES_MAX: usize = 32;

pub(super) fn validate(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let (status, before) = (At::root(object).at("status"), read::at(old, "status"));
    consumers(&status, object, before, &mut errors);
    let allocation = status.at("allocation");
    if allocation.is_set() && read::is_set(before, "allocation") {
        allocation.immutable(&mut errors, read::at(before, "allocation"));
    } else if allocation.is_set() {
        validate_allocation(&allocation, object, &mut errors);
    }
    devices(&status, &mut errors);
    errors
}

fn consumers(status: &At<'_>, object: &Value, before: &Value, errors: &mut FieldErrors) {
    let list = status.at("reservedFor");
    sized(status, "reservedFor", CONSUMERS_MAX, errors);
    let mut seen = HashSet::new();
    for consumer in status.items("reservedFor") {
        for field in ["resource", "name", "uid"] {
            consumer.at(field).require_text(errors);
        }
        if !seen.insert(consumer.at("uid").text()) {
            errors.push(FieldError::duplicate(&consumer.path, consumer.at("uid").text()));
        }
    }
    if seen.is_empty() {
        return;
    }
    if !status.at("allocation").is_set() {
        list.forbidden(errors, "may not be specified when `allocated` is not set");
    } else if machinery::meta::is_terminating(object) {
        let had = read::list(before, "reservedFor");
        if status.items("reservedFor").any(|consumer| !had.iter().any(|found| read::same(found, consumer.value))) {
            let wrong = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            list.forbidden(errors, wrong);
        }
    }
}

fn validate_allocation(allocation: &At<'_>, object: &Value, errors: &mut FieldErrors) {
    let known = At::root(object).at("spec.devices");
    let known = requests(&known);
    let devices = allocation.at("devices");
    sized(&devices, "results", DEVICES_MAX, errors);
    for result in devices.items("results") {
        validate_reference(&result.at("request"), &known, errors);
        driver(&result.at("driver"), errors);
        pool(&result.at("pool"), errors);
        result.at("device").require_name(errors, names::dns1123_label);
    }
    sized(&devices, "config", 2 * CONFIGURATIONS_MAX, errors);
    for configuration in devices.items("config") {
        let source = configuration.at("source");
        if source.text().is_empty() {
            source.required(errors, "");
        }
        references(&configuration, &known, errors);
        validate_configuration(&configuration, errors);
    }
    if allocation.at("nodeSelector").is_set() {
        affinity::validate_node_selector(&allocation.at("nodeSelector"), errors);
    }
}

/// What drivers say of devices that were allocated.
fn devices(status: &At<'_>, errors: &mut FieldErrors) {
    let key =
        |device: &At<'_>| ["driver", "pool", "device", "shareID"].map(|field| device.at(field).text().to_string());
    let allocated: HashSet<_> = status.at("allocation.devices").items("results").map(|result| key(&result)).collect();
    let mut seen = HashSet::new();
    for device in status.items("devices") {
        driver(&device.at("driver"), errors);
        pool(&device.at("pool"), errors);
        device.at("device").require_name(errors, names::dns1123_label);
        let id = key(&device);
        if !allocated.contains(&id) {
            device.invalid(errors, "must be an allocated device in the claim");
        }
        if !seen.insert(id) {
            device.duplicate(errors);
        }
        crate::status::conditions(&device, errors);
    }
}
