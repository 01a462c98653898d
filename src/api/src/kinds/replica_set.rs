//! ReplicaSet.

use super::simple::Simple;
use crate::read;
use crate::table::{CONTAINER_COLUMNS, age, age_column, column, container_cells, name, name_column, selector, wide};

/// The behaviour of ReplicaSets.
pub static REPLICA_SET: Simple = Simple {
    columns: &[
        name_column(),
        column("Desired", "integer", "How many pods are wanted."),
        column("Current", "integer", "How many pods there are."),
        column("Ready", "integer", "How many pods are ready."),
        age_column(),
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        wide("Selector", "The labels of its pods."),
    ],
    cells: |object, now| {
        let number = |path: &str| read::int(object, path).into();
        let [containers, images] = container_cells(object, "spec.template.spec");
        vec![
            name(object),
            number("spec.replicas"),
            number("status.replicas"),
            number("status.readyReplicas"),
            age(object, now),
            containers,
            images,
            selector(read::at(object, "spec.selector")).into(),
        ]
    },
    fields: &["status.replicas"],
    has_generation: true,
    ..Simple::PLAIN
};
