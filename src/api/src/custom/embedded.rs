//! Resources that are embedded in custom objects (`x-kubernetes-embedded-resource`): of which kind they are and what
//! their metadata say, checked as if they stood alone.

use machinery::field::{FieldError, FieldErrors, Path};
use machinery::names;
use machinery::schema::{Definitions, Schema, Type};
use serde_json::Value;

use crate::metadata;

/// A name that breaks no rule, for those without one: what is embedded need not have any.
const SOUND_NAME: &str = "fakename";

/// What is wrong with what is embedded in a value. That kind and apiVersion are there is the schema's to say.
pub(super) fn check(value: &Value, schema: &Schema, definitions: &Definitions) -> FieldErrors {
    let mut errors = FieldErrors::new();
    walk(value, schema, definitions, &Path::default(), &mut errors);
    errors
}

fn walk(value: &Value, schema: &Schema, definitions: &Definitions, path: &Path, errors: &mut FieldErrors) {
    let schema = definitions.resolve(schema);
    match (&schema.type_, value) {
        (Type::Object { fields, .. }, Value::Object(object)) => {
            if schema.embedded_resource {
                check_resource(value, path, errors);
            }
            for (name, value) in object {
                if let Some(field) = fields.get(name) {
                    walk(value, field, definitions, &path.child(name), errors);
                }
            }
        }
        (Type::Map { values, .. }, Value::Object(object)) => {
            object.iter().for_each(|(key, value)| walk(value, values, definitions, &path.key(key), errors));
        }
        (Type::List { items, .. }, Value::Array(list)) => {
            let elements = list.iter().enumerate();
            elements.for_each(|(index, value)| walk(value, items, definitions, &path.index(index), errors));
        }
        _ => {}
    }
}

fn check_resource(value: &Value, path: &Path, errors: &mut FieldErrors) {
    let mut wrong = |field: &str, found: &str, why: &str| {
        errors.push(FieldError::invalid(&path.child(field), found, why));
    };
    match value.get("apiVersion").and_then(Value::as_str) {
        Some("") => wrong("apiVersion", "", "must not be empty"),
        Some(version) if version.matches('/').count() > 1 => {
            wrong("apiVersion", version, &format!("unexpected GroupVersion string: {version}"));
        }
        _ => {}
    }
    match value.get("kind").and_then(Value::as_str) {
        Some("") => wrong("kind", "", "must not be empty"),
        Some(kind) => match names::dns1035_label(&kind.to_lowercase()).join(",") {
            why if why.is_empty() => {}
            why => wrong("kind", kind, &format!("may have mixed case, but should otherwise match: {why}")),
        },
        None => {}
    }
    let Some(found @ Value::Object(_)) = value.get("metadata") else { return };
    let mut object = serde_json::json!({"metadata": found});
    if machinery::meta::name(&object).is_empty() {
        machinery::meta::set_name(&mut object, SOUND_NAME);
    }
    let namespaced = !machinery::meta::namespace(&object).is_empty();
    let found = metadata::validate_object_meta(&object, namespaced, names::path_segment);
    errors.extend(found.into_iter().map(|error| FieldError { path: path.join(&error.path), ..error }));
}
