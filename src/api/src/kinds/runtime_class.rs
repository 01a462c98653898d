//! RuntimeClass.

use machinery::field::FieldErrors;
use machinery::names;
use serde_json::Value;

use super::simple::Simple;
use crate::check::At;
use crate::podspec::{affinity, resources};
use crate::read;
use crate::table::{age, age_column, name, name_column, text};

/// The behaviour of RuntimeClasses.
pub static RUNTIME_CLASS: Simple = Simple {
    columns: &[name_column(), text("Handler", "The runtime's own name for it."), age_column()],
    cells: |object, now| vec![name(object), read::text(object, "handler").into(), age(object, now)],
    validate,
    validate_update,
    ..Simple::PLAIN
};

fn validate(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let root = At::root(object);
    root.at("handler").follows(&mut errors, names::dns1123_label);
    resources::validate_overhead(&root.at("overhead"), "podFixed", &mut errors);
    let scheduling = root.at("scheduling");
    let labels = scheduling.at("nodeSelector");
    errors.extend(crate::metadata::validate_labels(labels.value, &labels.path));
    let tolerations: Vec<At<'_>> = scheduling.items("tolerations").collect();
    for (index, found) in tolerations.iter().enumerate() {
        affinity::validate_toleration(found, &mut errors);
        if tolerations[..index].iter().any(|earlier| read::same(earlier.value, found.value)) {
            found.duplicate(&mut errors);
        }
    }
    errors
}

fn validate_update(object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    At::root(object).at("handler").immutable(&mut errors, read::at(old, "handler"));
    errors
}
