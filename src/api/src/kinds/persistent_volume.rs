//! PersistentVolume.

use machinery::meta;
use serde_json::Value;

use super::simple::Simple;
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
