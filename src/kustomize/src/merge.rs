//! Strategic merges: by the schema of a built-in kind, as JSON merge patches otherwise.

use machinery::patch;
use machinery::schema::{Definitions, Schema, Type};
use serde_json::Value;

use crate::resource::Id;

/// Merges a patch into an object. New list elements and those that the patch names come first, as kustomize has it.
///
/// # Errors
/// What is wrong with the patch.
pub(crate) fn strategic(object: &mut Value, change: &Value, id: &Id) -> Result<(), String> {
    let known = api::registry().by_kind(&id.group, &id.version, &id.kind);
    let (unknown, none) = (Schema::default(), Definitions::default());
    let (schema, definitions) = known.map_or((&unknown, &none), |known| (known.schema(), known.definitions()));
    patch::strategic(object, change, schema, definitions).map_err(|error| error.to_string())?;
    arrange(object, change, schema, definitions);
    Ok(())
}

/// Puts what the patch names to the front of every merged list.
fn arrange(object: &mut Value, change: &Value, schema: &Schema, definitions: &Definitions) {
    match (&definitions.resolve(schema).type_, object, change) {
        (Type::Object { fields, .. }, Value::Object(object), Value::Object(change)) => {
            for (name, change) in change {
                if let (Some(value), Some(field)) = (object.get_mut(name), fields.get(name)) {
                    arrange(value, change, field, definitions);
                }
            }
        }
        (Type::Map { values, .. }, Value::Object(object), Value::Object(change)) => {
            for (name, change) in change {
                if let Some(value) = object.get_mut(name) {
                    arrange(value, change, values, definitions);
                }
            }
        }
        (Type::List { items, .. }, Value::Array(list), Value::Array(change)) if schema.patch.merge => {
            let key = schema.patch.merge_key.as_deref();
            let name = |value: &Value| match key {
                Some(key) => value.get(key).cloned().unwrap_or_default(),
                None => value.clone(),
            };
            let named: Vec<Value> = change.iter().map(name).collect();
            list.sort_by_key(|value| {
                let value = name(value);
                named.iter().position(|other| *other == value).unwrap_or(named.len())
            });
            for (value, wanted) in change.iter().zip(&named) {
                if let Some(element) = list.iter_mut().find(|element| name(element) == *wanted) {
                    arrange(element, value, items, definitions);
                }
            }
        }
        _ => {}
    }
}
