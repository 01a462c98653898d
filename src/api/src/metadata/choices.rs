//! Fields that have one of a fixed set of values.

use machinery::field::{FieldError, FieldErrors, Path};
use machinery::schema::{Definitions, Schema, Type};
use serde_json::Value;

use crate::resource::Resource;

/// An object nested deeper than this is no object of a built-in kind.
const DEPTH_MAX: usize = 128;

/// Every field whose value is none of those its schema lists.
pub(super) fn validate(resource: &Resource, object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    walk(resource.definitions(), resource.schema(), object, &Path::default(), 0, &mut errors);
    errors
}

fn walk(
    definitions: &Definitions,
    schema: &Schema,
    value: &Value,
    path: &Path,
    depth: usize,
    errors: &mut FieldErrors,
) {
    if depth > DEPTH_MAX {
        return;
    }
    if !schema.enum_.is_empty() && !schema.enum_.contains(value) {
        let supported: Vec<&str> = schema.enum_.iter().filter_map(Value::as_str).collect();
        errors.push(FieldError::not_supported(path, value.clone(), &supported));
    }
    match (&definitions.resolve(schema).type_, value) {
        (Type::Object { fields, .. }, Value::Object(object)) => {
            for (name, value) in object {
                if let Some(field) = fields.get(name) {
                    walk(definitions, field, value, &path.child(name), depth + 1, errors);
                }
            }
        }
        (Type::Map { values, .. }, Value::Object(object)) if is_nested(values) => {
            for (key, value) in object {
                walk(definitions, values, value, &path.key(key), depth + 1, errors);
            }
        }
        (Type::List { items, .. }, Value::Array(list)) if is_nested(items) => {
            for (index, value) in list.iter().enumerate() {
                walk(definitions, items, value, &path.index(index), depth + 1, errors);
            }
        }
        _ => {}
    }
}

/// Scalars have their choices stated at the field that holds them.
fn is_nested(schema: &Schema) -> bool {
    matches!(schema.type_, Type::Reference(_) | Type::Object { .. } | Type::Map { .. } | Type::List { .. })
}
