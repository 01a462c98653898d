//! Filling in the defaults that a schema states.

use serde_json::Value;

use super::{Definitions, Schema, Type};

/// Sets every field that is missing, or null where null is no value, and has a default; then does the same within
/// it. Defaults within an absent object are not filled in: it stays absent.
pub fn default(value: &mut Value, schema: &Schema, definitions: &Definitions) {
    let schema = definitions.resolve(schema);
    match (&schema.type_, value) {
        (Type::Object { fields, .. }, Value::Object(object)) => {
            for (name, field) in fields {
                let resolved = definitions.resolve(field);
                if let Some(default) = field.default.as_ref().or(resolved.default.as_ref()) {
                    let nullable = field.nullable || resolved.nullable;
                    match object.get(name) {
                        Some(Value::Null) if nullable => {}
                        None | Some(Value::Null) => {
                            object.insert(name.clone(), default.clone());
                        }
                        Some(_) => {}
                    }
                }
            }
            for (name, value) in object.iter_mut() {
                if let Some(field) = fields.get(name) {
                    self::default(value, field, definitions);
                }
            }
        }
        (Type::Map { values, .. }, Value::Object(object)) => {
            object.values_mut().for_each(|value| self::default(value, values, definitions));
        }
        (Type::List { items, .. }, Value::Array(list)) => {
            list.iter_mut().for_each(|value| self::default(value, items, definitions));
        }
        _ => {}
    }
}
