//! Deployment.

use super::simple::Simple;
use crate::read;
use crate::table::{
    CONTAINER_COLUMNS, age, age_column, column, container_cells, name, name_column, selector, text, wide,
};

/// The behaviour of Deployments.
pub static DEPLOYMENT: Simple = Simple {
    columns: &[
        name_column(),
        text("Ready", "How many pods are ready, of how many wanted."),
        column("Up-to-date", "integer", "How many pods are of the current template."),
        column("Available", "integer", "How many pods have been ready long enough."),
        age_column(),
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        wide("Selector", "The labels of its pods."),
    ],
    cells: |object, now| {
        let ready = format!("{}/{}", read::int(object, "status.readyReplicas"), read::int(object, "spec.replicas"));
        let [containers, images] = container_cells(object, "spec.template.spec");
        vec![
            name(object),
            ready.into(),
            read::int(object, "status.updatedReplicas").into(),
            read::int(object, "status.availableReplicas").into(),
            age(object, now),
            containers,
            images,
            selector(read::at(object, "spec.selector")).into(),
        ]
    },
    has_generation: true,
    ..Simple::PLAIN
};
