//! PodTemplate.

use super::simple::Simple;
use crate::read;
use crate::table::{container_cells, labels, name, name_column, text};

/// The behaviour of PodTemplates.
pub static POD_TEMPLATE: Simple = Simple {
    columns: &[
        name_column(),
        text("Containers", "The names of the template's containers."),
        text("Images", "The images of the template's containers."),
        text("Pod Labels", "The labels of pods made from the template."),
    ],
    cells: |object, _| {
        let [containers, images] = container_cells(object, "template.spec");
        vec![name(object), containers, images, labels(read::at(object, "template.metadata.labels")).into()]
    },
    has_generation: true,
    ..Simple::PLAIN
};
