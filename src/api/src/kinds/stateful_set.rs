//! StatefulSet.

use super::simple::Simple;
use crate::read;
use crate::table::{CONTAINER_COLUMNS, age, age_column, container_cells, name, name_column, text};

/// The behaviour of StatefulSets.
pub static STATEFUL_SET: Simple = Simple {
    columns: &[
        name_column(),
        text("Ready", "How many pods are ready, of how many wanted."),
        age_column(),
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
    ],
    cells: |object, now| {
        let ready = format!("{}/{}", read::int(object, "status.readyReplicas"), read::int(object, "spec.replicas"));
        let [containers, images] = container_cells(object, "spec.template.spec");
        vec![name(object), ready.into(), age(object, now), containers, images]
    },
    has_generation: true,
    ..Simple::PLAIN
};
