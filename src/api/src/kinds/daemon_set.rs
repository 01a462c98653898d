//! DaemonSet.

use super::simple::Simple;
use crate::read;
use crate::table::{
    CONTAINER_COLUMNS, age, age_column, column, container_cells, labels, name, name_column, selector, text, wide,
};

/// The behaviour of DaemonSets.
pub static DAEMON_SET: Simple = Simple {
    columns: &[
        name_column(),
        column("Desired", "integer", "How many nodes should run its pod."),
        column("Current", "integer", "How many of them do."),
        column("Ready", "integer", "How many of its pods are ready."),
        column("Up-to-date", "integer", "How many pods are of the current template."),
        column("Available", "integer", "How many pods have been ready long enough."),
        text("Node Selector", "The labels of the nodes it runs on."),
        age_column(),
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        wide("Selector", "The labels of its pods."),
    ],
    cells: |object, now| {
        let number = |field: &str| read::int(read::at(object, "status"), field).into();
        let [containers, images] = container_cells(object, "spec.template.spec");
        vec![
            name(object),
            number("desiredNumberScheduled"),
            number("currentNumberScheduled"),
            number("numberReady"),
            number("updatedNumberScheduled"),
            number("numberAvailable"),
            labels(read::at(object, "spec.template.spec.nodeSelector")).into(),
            age(object, now),
            containers,
            images,
            selector(read::at(object, "spec.selector")).into(),
        ]
    },
    has_generation: true,
    ..Simple::PLAIN
};
