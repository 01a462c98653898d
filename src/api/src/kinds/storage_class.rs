//! StorageClass.

use machinery::field::FieldErrors;
use machinery::meta;
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::read;
use crate::table::{age, age_column, column, name_column, text};

const DEFAULT_ANNOTATIONS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// The behaviour of StorageClasses.
pub static STORAGE_CLASS: Simple = Simple {
    columns: &[
        name_column(),
        text("Provisioner", "Who makes volumes of the class."),
        text("ReclaimPolicy", "What becomes of a volume when its claim is gone."),
        text("VolumeBindingMode", "When volumes are made and bound."),
        column("AllowVolumeExpansion", "boolean", "Whether volumes can grow."),
        age_column(),
    ],
    cells: |object, now| {
        vec![
            shown_name(object).into(),
            read::text(object, "provisioner").into(),
            read::text(object, "reclaimPolicy").into(),
            read::text(object, "volumeBindingMode").into(),
            read::flag(object, "allowVolumeExpansion").into(),
            age(object, now),
        ]
    },
    validate,
    validate_update,
    ..Simple::PLAIN
};

fn shown_name(object: &Value) -> String {
    let is_default = DEFAULT_ANNOTATIONS.iter().any(|key| meta::annotation(object, key) == Some("true"));
    format!("{}{}", meta::name(object), if is_default { " (default)" } else { "" })
}

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let provisioner = At::root(object).at("provisioner");
    if let Some(name) = provisioner.require_text(&mut errors) {
        let wrong = machinery::names::qualified_name(&name.to_lowercase());
        wrong.into_iter().for_each(|wrong| provisioner.invalid(&mut errors, wrong));
    }
    errors
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for field in ["parameters", "provisioner", "reclaimPolicy"] {
        let at = At::root(object).at(field);
        if !read::same(at.value, read::at(old, field)) {
            at.forbidden(&mut errors, &format!("updates to {field} are forbidden."));
        }
    }
    At::root(object).at("volumeBindingMode").immutable(&mut errors, read::at(old, "volumeBindingMode"));
    errors
}
