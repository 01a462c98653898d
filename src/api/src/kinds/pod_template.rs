//! PodTemplate.

use machinery::field::FieldErrors;
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::edit::value_at;
use crate::podspec::{defaults, template};
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
    default,
    validate,
    ..Simple::PLAIN
};

fn default(object: &mut Value) {
    if let Some(pod) = value_at(object, "template.spec") {
        defaults::default_spec(pod);
    }
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    template::validate(&At::root(object).at("template"), &mut errors);
    errors
}
