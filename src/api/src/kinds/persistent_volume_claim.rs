//! PersistentVolumeClaim.

use super::persistent_volume::{class, phase};
use super::simple::Simple;
use crate::read;
use crate::table::{access_modes, age, age_column, name, name_column, text, text_or, wide};

const UNSET: &str = "<unset>";

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
    ..Simple::PLAIN
};
