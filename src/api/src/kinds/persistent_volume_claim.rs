//! PersistentVolumeClaim.

use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use machinery::quantity::Quantity;
use serde_json::{Value, json};

use super::persistent_volume::validate_access_modes;
use super::persistent_volume::{class, phase};
use super::simple::Simple;
use crate::check::{At, label_selector};
use crate::edit::{fill, set};
use crate::table::{access_modes, age, age_column, name, name_column, text, text_or, wide};
use crate::{read, status};

const UNSET: &str = "<unset>";
/// How far a claim's growth can be.
const RESIZE_STATES: [&str; 5] = [
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizePending",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
];

/// The behaviour of PersistentVolumeClaims.
pub static PERSISTENT_VOLUME_CLAIM: Simple = Simple {
    columns: &[
        name_column(),
        text("Status", "Where it stands."),
        text("Volume", "The volume bound to it."),
        text("Capacity", "How much the volume holds."),
        text("Access Modes", "How the volume may be mounted."),
        text("StorageClass", "The class it asks for."),
        text("VolumeAttributesClass", "The class of changeable attributes it asks for."),
        age_column(),
        wide("VolumeMode", "Whether it is a file system or a block device."),
    ],
    cells: |object, now| {
        let volume = read::text(object, "spec.volumeName");
        let bound = |shown: String| if volume.is_empty() { String::new() } else { shown };
        vec![
            name(object),
            phase(object),
            volume.into(),
            bound(read::text(object, "status.capacity.storage").to_string()).into(),
            bound(access_modes(object, "status.accessModes")).into(),
            class(object).into(),
            text_or(object, "spec.volumeAttributesClassName", UNSET).into(),
            age(object, now),
            text_or(object, "spec.volumeMode", UNSET).into(),
        ]
    },
    default,
    validate,
    validate_update,
    validate_status,
    prepare_create: Some(|object| set(object, "status", json!({"phase": "Pending"}))),
    ..Simple::PLAIN
};

/// `dataSource` and `dataSourceRef` say the same, except that only the second can name any kind or another namespace.
fn default(object: &mut Value) {
    let Some(spec) = object.get_mut("spec") else { return };
    let (source, reference) = (read::at(spec, "dataSource").clone(), read::at(spec, "dataSourceRef").clone());
    if !source.is_null() {
        fill(spec, "dataSourceRef", source);
    } else if !reference.is_null() && !read::is_set(&reference, "namespace") {
        let is_old = matches!(
            (read::text(&reference, "apiGroup"), read::text(&reference, "kind")),
            ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
        );
        if is_old {
            fill(spec, "dataSource", reference);
        }
    }
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    validate_access_modes(&spec, "at least 1 access mode is required", &mut errors);
    label_selector(&spec.at("selector"), &mut errors);
    let storage = spec.at("resources.requests").key("storage");
    match storage.quantity() {
        None => storage.required(&mut errors, ""),
        Some(amount) if amount.is_zero() || amount.is_negative() => {
            storage.invalid(&mut errors, "must be greater than zero");
        }
        Some(_) => {}
    }
    spec.at("storageClassName").optional_name(&mut errors, machinery::names::dns1123_subdomain);
    errors
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let frozen = |object: &Value| {
        let mut spec = read::at(object, "spec").clone();
        for field in ["resources", "volumeAttributesClassName"] {
            crate::edit::remove(&mut spec, field);
        }
        // Binding fills these in, once.
        let was_unbound = read::text(old, "spec.volumeName").is_empty();
        if was_unbound {
            crate::edit::remove(&mut spec, "volumeName");
        }
        if !read::is_set(old, "spec.storageClassName") {
            crate::edit::remove(&mut spec, "storageClassName");
        }
        spec
    };
    if !read::same(&frozen(object), &frozen(old)) {
        let wrong =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        spec.forbidden(&mut errors, wrong);
    }
    let size = |object: &Value| At::root(object).at("spec.resources.requests").key("storage").quantity();
    if let (Some(new), Some(old)) = (size(object), size(old))
        && new < old
    {
        let wrong = "field can not be less than status.capacity";
        spec.at("resources.requests.storage").forbidden(&mut errors, wrong);
    }
    errors
}

fn validate_status(object: &Value, _old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let at = At::root(object).at("status");
    for (_, amount) in at.entries("capacity") {
        if amount.quantity().is_some_and(Quantity::is_negative) {
            amount.invalid(&mut errors, "must be a valid resource quantity");
        }
    }
    status::amounts_by_key(&at, "allocatedResources", &mut errors);
    for (resource, resizing) in at.entries("allocatedResourceStatuses") {
        for wrong in names::qualified_name(resource) {
            errors.push(FieldError::invalid(&resizing.path, resource, wrong));
        }
        if !RESIZE_STATES.contains(&resizing.text()) {
            resizing.not_supported(&mut errors, &RESIZE_STATES);
        }
    }
    errors
}
