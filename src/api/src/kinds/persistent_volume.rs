//! PersistentVolume.

use machinery::field::{FieldError, FieldErrors, Path};
use machinery::{meta, names};
use serde_json::Value;
use serde_json::json;

use super::simple::Simple;
use crate::check::At;
use crate::edit::{items_at, set};
use crate::podspec::affinity;
use crate::podspec::volumes::{self, Place};
use crate::read;
use crate::table::{access_modes, age, age_column, name, name_column, text, text_or, wide};

const UNSET: &str = "<unset>";

/// The behaviour of PersistentVolumes.
pub static PERSISTENT_VOLUME: Simple = Simple {
    columns: &[
        name_column(),
        text("Capacity", "How much it holds."),
        text("Access Modes", "How it may be mounted."),
        text("Reclaim Policy", "What becomes of it when its claim is gone."),
        text("Status", "Where it stands."),
        text("Claim", "The claim it belongs to."),
        text("StorageClass", "The class it is of."),
        text("VolumeAttributesClass", "The class of its changeable attributes."),
        text("Reason", "Why it failed."),
        age_column(),
        wide("VolumeMode", "Whether it is a file system or a block device."),
    ],
    cells: |object, now| {
        vec![
            name(object),
            read::text(object, "spec.capacity.storage").into(),
            access_modes(object, "spec.accessModes").into(),
            read::text(object, "spec.persistentVolumeReclaimPolicy").into(),
            phase(object),
            claim(object).into(),
            class(object).into(),
            text_or(object, "spec.volumeAttributesClassName", UNSET).into(),
            read::text(object, "status.reason").into(),
            age(object, now),
            text_or(object, "spec.volumeMode", UNSET).into(),
        ]
    },
    validate,
    validate_update,
    prepare_create: Some(|object| set(object, "status", json!({"phase": "Pending"}))),
    ..Simple::PLAIN
};

/// The phase, or that the volume or claim is going.
pub(super) fn phase(object: &Value) -> Value {
    if meta::is_terminating(object) { "Terminating".into() } else { read::text(object, "status.phase").into() }
}

/// The storage class; an older annotation goes before the field.
pub(super) fn class(object: &Value) -> &str {
    let annotated = meta::annotation(object, "volume.beta.kubernetes.io/storage-class");
    annotated.unwrap_or_else(|| read::text(object, "spec.storageClassName"))
}

fn claim(object: &Value) -> String {
    let claim = read::at(object, "spec.claimRef");
    if claim.is_null() {
        return String::new();
    }
    format!("{}/{}", read::text(claim, "namespace"), read::text(claim, "name"))
}

/// The sources that a PersistentVolume can have.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// What a node's labels are called now.
const RENAMED_LABELS: [(&str, &str); 5] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// The access modes of a volume or claim.
pub(super) fn validate_access_modes(spec: &At<'_>, none: &str, errors: &mut FieldErrors) {
    let modes: Vec<At<'_>> = spec.items("accessModes").collect();
    if modes.is_empty() {
        spec.at("accessModes").required(errors, none);
    }
    for mode in modes.iter().filter(|mode| !ACCESS_MODES.contains(&mode.text())) {
        mode.not_supported(errors, &ACCESS_MODES);
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode.text() == "ReadWriteOncePod") {
        let wrong = "may not use ReadWriteOncePod with other access modes";
        spec.at("accessModes").forbidden(errors, wrong);
    }
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    validate_access_modes(&spec, "", &mut errors);
    capacity(&spec, &mut errors);
    let affinity = spec.at("nodeAffinity");
    if affinity.at("required").is_set() {
        affinity::validate_node_selector(&affinity.at("required"), &mut errors);
    } else if affinity.is_set() {
        affinity.at("required").required(&mut errors, "must specify required node constraints");
    }
    let kind =
        spec.one_of(&mut errors, &SOURCES, "must specify a volume type", "may not specify more than 1 volume type");
    if let Some(kind) = kind {
        let place = Place::PersistentVolume(meta::name(object));
        volumes::validate_source(kind, &spec.at(kind), place, &mut errors);
        if kind == "local" && !affinity.is_set() {
            affinity.required(&mut errors, "Local volume requires node affinity");
        }
    }
    let reclaim = spec.at("persistentVolumeReclaimPolicy");
    let path = spec.at("hostPath.path").text();
    if path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | ".")) && reclaim.text() == "Recycle" {
        reclaim.forbidden(&mut errors, "may not be 'recycle' for a hostPath mount of '/'");
    }
    spec.at("storageClassName").optional_name(&mut errors, names::dns1123_subdomain);
    let class = spec.at("volumeAttributesClassName");
    if class.is_set() {
        if class.text().is_empty() {
            class.required(&mut errors, "an empty string is disallowed");
        }
        class.optional_name(&mut errors, names::dns1123_subdomain);
        if !spec.at("csi").is_set() {
            let wrong = "has to be specified when using volumeAttributesClassName";
            spec.at("csi").required(&mut errors, wrong);
        }
    }
    errors
}

/// How much it holds, and nothing else.
fn capacity(spec: &At<'_>, errors: &mut FieldErrors) {
    let capacity = spec.at("capacity");
    let count = spec.entries("capacity").count();
    if count == 0 {
        capacity.required(errors, "");
    }
    if !capacity.key("storage").is_set() || count > 1 {
        capacity.not_supported(errors, &["storage"]);
    }
    for (_, amount) in spec.entries("capacity") {
        let Some(quantity) = amount.quantity() else { continue };
        if quantity.is_negative() {
            let value = quantity.to_units();
            errors.push(FieldError::invalid(&amount.path, value, "must be a valid resource quantity"));
        }
        if quantity.is_negative() || quantity.is_zero() {
            amount.invalid(errors, "must be greater than zero");
        }
    }
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let (spec, before) = (At::root(object).at("spec"), read::at(old, "spec"));
    let source = |spec: &Value, kind: &str| {
        let mut source = read::at(spec, kind).clone();
        // A secret to expand with may be named later, once.
        let may_come = !read::is_set(before, "csi.controllerExpandSecretRef");
        if kind == "csi" && may_come {
            crate::edit::remove(&mut source, "controllerExpandSecretRef");
        }
        source
    };
    if SOURCES.iter().any(|kind| !read::same(&source(spec.value, kind), &source(before, kind))) {
        let wrong = "spec.persistentvolumesource is immutable after creation";
        spec.at("persistentvolumesource").forbidden(&mut errors, wrong);
    }
    let mode = At { path: Path::new("volumeMode"), ..spec.at("volumeMode") };
    mode.immutable(&mut errors, read::at(before, "volumeMode"));
    if read::is_set(before, "nodeAffinity")
        && !is_renamed(spec.at("nodeAffinity").value, read::at(before, "nodeAffinity"))
    {
        let path = Path::new("nodeAffinity");
        let wrong = "field is immutable, except for updating from beta label to GA";
        errors.push(FieldError::invalid(&path, spec.at("nodeAffinity").value.clone(), wrong));
    }
    if read::is_set(before, "volumeAttributesClassName") && !spec.at("volumeAttributesClassName").is_set() {
        spec.at("volumeAttributesClassName").forbidden(&mut errors, "update from non-nil value to nil is forbidden");
    }
    errors
}

/// Whether an affinity is what it was, but for labels of nodes that have another name now.
fn is_renamed(new: &Value, old: &Value) -> bool {
    const TERMS: &str = "required.nodeSelectorTerms";
    let mut old = old.clone();
    let now = read::list(new, TERMS);
    for (term, now) in items_at(&mut old, TERMS).zip(now) {
        for (requirement, now) in items_at(term, "matchExpressions").zip(read::list(now, "matchExpressions")) {
            let (before, key) = (read::text(requirement, "key").to_string(), read::text(now, "key"));
            if RENAMED_LABELS.contains(&(before.as_str(), key)) {
                set(requirement, "key", key);
            }
        }
    }
    read::same(new, &old)
}
