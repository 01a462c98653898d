//! The kinds of storage.k8s.io but for StorageClass, and StorageVersionMigration.

mod validate;

use machinery::apply::Reset;
use machinery::field::FieldErrors;
use validate::{
    attributes_kept, capacity_kept, driver_kept, node_kept, validate_attachment, validate_attributes,
    validate_capacity, validate_driver, validate_node,
};

use super::simple::Simple;
use crate::check::At;
use crate::read;
use crate::table::{age, age_column, column, name, name_column, text};

/// The behaviour of CSIDrivers.
pub static CSI_DRIVER: Simple = Simple {
    columns: &[
        name_column(),
        column("AttachRequired", "boolean", "Whether volumes are attached to nodes before they are mounted."),
        column("PodInfoOnMount", "boolean", "Whether the driver is told of the pod."),
        column("StorageCapacity", "boolean", "Whether free capacity is published."),
        text("TokenRequests", "The audiences of tokens it is given."),
        column("RequiresRepublish", "boolean", "Whether volumes are published again and again."),
        text("Modes", "The lifecycles of its volumes."),
        age_column(),
    ],
    cells: |object, now| {
        let spec = read::at(object, "spec");
        let audiences: Vec<&str> =
            read::list(spec, "tokenRequests").iter().map(|request| read::text(request, "audience")).collect();
        let tokens = if audiences.is_empty() { "<unset>".to_string() } else { audiences.join(",") };
        let modes: Vec<&str> = read::texts(spec, "volumeLifecycleModes").collect();
        vec![
            name(object),
            read::flag(spec, "attachRequired").into(),
            read::flag(spec, "podInfoOnMount").into(),
            read::flag(spec, "storageCapacity").into(),
            tokens.into(),
            read::flag(spec, "requiresRepublish").into(),
            modes.join(",").into(),
            age(object, now),
        ]
    },
    validate: validate_driver,
    validate_update: driver_kept,
    ..Simple::PLAIN
};

/// The behaviour of CSINodes.
pub static CSI_NODE: Simple = Simple {
    columns: &[name_column(), column("Drivers", "integer", "How many drivers the node runs."), age_column()],
    cells: |object, now| vec![name(object), read::list(object, "spec.drivers").len().into(), age(object, now)],
    validate: validate_node,
    validate_update: node_kept,
    ..Simple::PLAIN
};

/// The behaviour of CSIStorageCapacities.
pub static CSI_STORAGE_CAPACITY: Simple = Simple {
    columns: &[
        name_column(),
        text("StorageClassName", "The class whose capacity this is."),
        text("Capacity", "How much is free."),
    ],
    cells: |object, _| {
        vec![name(object), read::text(object, "storageClassName").into(), read::text(object, "capacity").into()]
    },
    validate: validate_capacity,
    validate_update: capacity_kept,
    ..Simple::PLAIN
};

/// The behaviour of VolumeAttachments.
pub static VOLUME_ATTACHMENT: Simple = Simple {
    columns: &[
        name_column(),
        text("Attacher", "Who attaches the volume."),
        text("PV", "The volume."),
        text("Node", "The node it is attached to."),
        column("Attached", "boolean", "Whether it is attached."),
        age_column(),
    ],
    cells: |object, now| {
        vec![
            name(object),
            read::text(object, "spec.attacher").into(),
            read::text(object, "spec.source.persistentVolumeName").into(),
            read::text(object, "spec.nodeName").into(),
            read::flag(object, "status.attached").into(),
            age(object, now),
        ]
    },
    reset_in_status: Reset::Fields(&[&["metadata"], &["spec"]]),
    validate: validate_attachment,
    validate_update: |object, old| {
        let mut errors = FieldErrors::new();
        At::root(object).at("spec").immutable(&mut errors, read::at(old, "spec"));
        errors
    },
    ..Simple::PLAIN
};

/// The behaviour of VolumeAttributesClasses.
pub static VOLUME_ATTRIBUTES_CLASS: Simple = Simple {
    columns: &[name_column(), text("DriverName", "The driver that knows the attributes."), age_column()],
    cells: |object, now| vec![name(object), read::text(object, "driverName").into(), age(object, now)],
    validate: validate_attributes,
    validate_update: attributes_kept,
    ..Simple::PLAIN
};

/// The behaviour of StorageVersionMigrations.
pub static STORAGE_VERSION_MIGRATION: Simple = Simple::CREATED_AT;
