//! StorageClass.

use std::collections::{BTreeMap, BTreeSet};

use machinery::field::{FieldError, FieldErrors};
use machinery::{meta, names};
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::metadata::too_long;
use crate::read;
use crate::table::{age, age_column, column, name_column, text};

const DEFAULT_ANNOTATIONS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES_MAX: usize = 256 << 10;

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
        let wrong = names::qualified_name(&name.to_lowercase());
        wrong.into_iter().for_each(|wrong| provisioner.invalid(&mut errors, wrong));
    }
    parameters(&At::root(object), &mut errors);
    topologies(&At::root(object), &mut errors);
    errors
}

/// What a provisioner is told: few and short.
pub(super) fn parameters(object: &At<'_>, errors: &mut FieldErrors) {
    let at = object.at("parameters");
    if object.entries("parameters").count() > PARAMETERS_MAX {
        errors.push(too_long(&at.path, PARAMETERS_MAX));
        return;
    }
    let mut size_bytes = 0;
    for (key, value) in object.entries("parameters") {
        if key.is_empty() {
            errors.push(FieldError::invalid(&at.path, key, "field can not be empty."));
        }
        size_bytes += key.len() + value.text().len();
    }
    if size_bytes > PARAMETERS_BYTES_MAX {
        errors.push(too_long(&at.path, PARAMETERS_BYTES_MAX));
    }
}

/// Where volumes may be: terms of which no two are the same.
fn topologies(object: &At<'_>, errors: &mut FieldErrors) {
    let mut terms: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for term in object.items("allowedTopologies") {
        let mut keys = BTreeMap::new();
        for expression in term.items("matchLabelExpressions") {
            let (key, list) = (expression.at("key"), expression.at("values"));
            let mut values = BTreeSet::new();
            if expression.items("values").next().is_none() {
                list.required(errors, "");
            }
            for value in expression.items("values") {
                if !values.insert(value.text()) {
                    value.duplicate(errors);
                }
            }
            key.follows(errors, names::qualified_name);
            if keys.insert(key.text(), values).is_some() {
                key.duplicate(errors);
            }
        }
        if terms.contains(&keys) {
            let path = term.path.child("matchLabelExpressions");
            errors.push(FieldError::duplicate(&path, ""));
        }
        terms.push(keys);
    }
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
