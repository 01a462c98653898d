//! PersistentVolume.

use machinery::field::FieldErrors;
use machinery::meta;
use serde_json::Value;
use serde_json::json;

use super::simple::Simple;
use crate::check::At;
use crate::edit::set;
use crate::podspec::{affinity, resources, volumes};
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
const SOURCES: [&str; 23] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
    "image",
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
    if spec.entries("capacity").next().is_none() {
        spec.at("capacity").required(&mut errors, "");
    }
    for (name, amount) in spec.entries("capacity") {
        resources::validate_amount(name, &amount, &mut errors);
        if amount.quantity().is_some_and(|quantity| quantity.is_zero()) {
            amount.invalid(&mut errors, "must be greater than zero");
        }
    }
    let kind =
        spec.one_of(&mut errors, &SOURCES, "must specify a volume type", "may not specify more than 1 volume type");
    if let Some(kind) = kind {
        let source = spec.at(kind);
        match kind {
            "local" => {
                source.at("path").require_text(&mut errors);
                if !spec.at("nodeAffinity").is_set() {
                    spec.at("nodeAffinity").required(&mut errors, "Local volume requires node affinity");
                }
            }
            "csi" => {
                source.at("driver").require_text(&mut errors);
                source.at("volumeHandle").require_text(&mut errors);
            }
            kind => volumes::validate_source(kind, &source, &mut errors),
        }
    }
    let affinity = spec.at("nodeAffinity.required");
    if affinity.is_set() {
        affinity::validate_node_selector(&affinity, &mut errors);
    } else if spec.at("nodeAffinity").is_set() {
        affinity.required(&mut errors, "must specify required node constraints");
    }
    errors
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = At::root(object).at("spec");
    let changed = SOURCES.iter().any(|kind| !read::same(spec.at(kind).value, read::at(read::at(old, "spec"), kind)));
    if changed {
        let wrong = "spec.persistentvolumesource is immutable after creation";
        spec.at("persistentvolumesource").forbidden(&mut errors, wrong);
    }
    spec.at("volumeMode").immutable(&mut errors, read::at(old, "spec.volumeMode"));
    errors
}
