//! PersistentVolumeClaim.

use machinery::field::{FieldError, FieldErrors, Path};
use machinery::quantity::Quantity;
use machinery::{meta, names};
use serde_json::{Value, json};

use super::persistent_volume::validate_access_modes;
use super::persistent_volume::{class, phase};
use super::simple::Simple;
use crate::check::{At, label_selector};
use crate::edit::{fill, remove, set};
use crate::table::{access_modes, age, age_column, name, name_column, text, text_or, wide};
use crate::{read, status};

const UNSET: &str = "<unset>";
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
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
    validate_spec(&At::root(object).at("spec"), &mut errors);
    errors
}

/// The spec of a claim, or of one that is made of a template.
pub(crate) fn validate_spec(spec: &At<'_>, errors: &mut FieldErrors) {
    validate_access_modes(spec, "at least 1 access mode is required", errors);
    label_selector(&spec.at("selector"), errors);
    let storage = spec.at("resources.requests").key("storage");
    let shown = spec.at("resources").path.key("storage");
    match storage.quantity() {
        None => errors.push(FieldError::required(&shown, "")),
        Some(amount) if amount.is_zero() || amount.is_negative() => {
            errors.push(FieldError::invalid(&shown, storage.value.clone(), "must be greater than zero"));
        }
        Some(_) => {}
    }
    spec.at("storageClassName").optional_name(errors, names::dns1123_subdomain);
    for field in ["dataSource", "dataSourceRef"] {
        data_source(&spec.at(field), errors);
    }
    let (source, reference) = (spec.at("dataSource"), spec.at("dataSourceRef"));
    if source.is_set() && reference.is_set() {
        let is_same =
            ["apiGroup", "kind", "name"].iter().all(|field| source.at(field).value == reference.at(field).value);
        let wrong = match reference.at("namespace").text().is_empty() {
            false => Some("may not be specified when dataSourceRef.namespace is specified"),
            true if is_same => None,
            true => Some("must match dataSourceRef"),
        };
        if let Some(wrong) = wrong {
            errors.push(FieldError::invalid(&spec.path, source.path.to_string(), wrong));
        }
    }
    spec.at("volumeAttributesClassName").optional_name(errors, names::dns1123_subdomain);
}

/// What a volume is filled from.
fn data_source(source: &At<'_>, errors: &mut FieldErrors) {
    if !source.is_set() {
        return;
    }
    source.at("name").require_text(errors);
    source.at("kind").require_text(errors);
    let kind = source.at("kind").text();
    match source.at("apiGroup").text() {
        "" if kind != "PersistentVolumeClaim" => {
            let wrong = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(FieldError::invalid(&source.path, kind, wrong));
        }
        "" => {}
        _ => source.at("apiGroup").follows(errors, names::dns1123_subdomain),
    }
    source.at("namespace").optional_name(errors, names::dns1123_label);
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    if !read::same(&fixed(object, object, old), &fixed(old, object, old)) {
        let wrong =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        spec.forbidden(&mut errors, wrong);
    }
    class_annotation(object, old, &mut errors);
    let amount = |object: &Value, path: &str| At::root(object).at(path).key("storage").quantity();
    let size = |object: &Value| amount(object, "spec.resources.requests").unwrap_or_default();
    let held = amount(old, "status.capacity").unwrap_or_default();
    // What was asked for and never came can be given up, what is there cannot.
    if size(object) < size(old) && size(object) <= held {
        let wrong = "field can not be less than status.capacity";
        spec.at("resources.requests.storage").forbidden(&mut errors, wrong);
    }
    let mode = At { path: Path::new("volumeMode"), ..spec.at("volumeMode") };
    mode.immutable(&mut errors, read::at(old, "spec.volumeMode"));
    let class = spec.at("volumeAttributesClassName");
    if read::is_set(old, "spec.volumeAttributesClassName") {
        if !class.is_set() {
            class.forbidden(&mut errors, "update from non-nil value to nil is forbidden");
        } else if class.text().is_empty() {
            class.forbidden(&mut errors, "update from non-nil value to an empty string is forbidden");
        }
    }
    errors
}

/// The spec without what may change from `old` to `new`.
fn fixed(object: &Value, new: &Value, old: &Value) -> Value {
    let mut spec = read::at(object, "spec").clone();
    // Binding names the volume, once.
    if read::text(old, "spec.volumeName").is_empty() {
        remove(&mut spec, "volumeName");
    }
    let class = read::at(new, "spec.storageClassName");
    let annotated = meta::annotation(old, CLASS_ANNOTATION);
    let may_get_class = !read::is_set(old, "spec.storageClassName") && class.is_string();
    if may_get_class && annotated.is_none_or(|annotated| class == annotated) {
        remove(&mut spec, "storageClassName");
    }
    if read::text(new, "status.phase") == "Bound" {
        if let Some(requests) = crate::edit::object_at(&mut spec, "resources.requests") {
            requests.remove("storage");
        }
        if read::is_set(new, "spec.volumeAttributesClassName") {
            remove(&mut spec, "volumeAttributesClassName");
        }
    }
    spec
}

/// The older way to name a class stays, unless the field says the same now.
fn class_annotation(object: &Value, old: &Value, errors: &mut FieldErrors) {
    let of = |object: &'_ Value| meta::annotation(object, CLASS_ANNOTATION).map(str::to_string);
    let (new, before) = (of(object), of(old));
    let field = read::at(object, "spec.storageClassName").as_str();
    let is_moved = before.is_some()
        && !read::is_set(old, "spec.storageClassName")
        && field == before.as_deref()
        && (new.is_none() || new == before);
    if new.clone().unwrap_or_default() != before.unwrap_or_default() && !is_moved {
        let path = Path::new("metadata").child("annotations").child(CLASS_ANNOTATION);
        errors.push(FieldError::invalid(&path, new.unwrap_or_default(), "field is immutable"));
    }
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
