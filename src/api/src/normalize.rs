//! The form in which a client's object goes on: what Kubernetes' typed decoding does to values on their way in.

use machinery::schema::{Definitions, Schema, Type};
use serde_json::Value;

use crate::resource::Resource;

/// References followed without consuming a level of the object; more is a loop.
const DEPTH_MAX: usize = 128;

/// Removes `null` fields, and empty strings where they mean "not set" (fields with a default or a fixed set of
/// values). Call it after decoding and before the schema's defaults.
pub fn normalize(resource: &Resource, object: &mut Value) {
    walk(resource.definitions(), resource.schema(), object, 0);
}

fn walk(definitions: &Definitions, schema: &Schema, value: &mut Value, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match (&definitions.resolve(schema).type_, value) {
        (Type::Object { fields: known, .. }, Value::Object(fields)) => {
            fields.retain(|name, value| !value.is_null() && known.get(name).is_none_or(|field| is_set(field, value)));
            for (name, value) in fields {
                if let Some(field) = known.get(name) {
                    walk(definitions, field, value, depth + 1);
                }
            }
        }
        (Type::Map { values, .. }, Value::Object(fields)) => {
            fields.values_mut().for_each(|value| walk(definitions, values, value, depth + 1));
        }
        (Type::List { items, .. }, Value::Array(list)) => {
            list.iter_mut().for_each(|value| walk(definitions, items, value, depth + 1));
        }
        _ => {}
    }
}

/// An empty string in a field with a default or an enum is the zero value of a Go string: not set.
fn is_set(field: &Schema, value: &Value) -> bool {
    let has_meaning = field.default.is_none() && field.enum_.is_empty();
    value.as_str() != Some("") || has_meaning || field.default.as_ref() == Some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nulls_and_empty_choices_are_dropped_and_data_is_kept() {
        let resource = crate::registry().get("", "v1", "pods").expect("pods are served");
        let mut object = json!({
            "metadata": {"name": "a", "creationTimestamp": null, "annotations": {"empty": ""}},
            "spec": {"restartPolicy": "", "containers": [{"name": "c", "image": "", "resources": null}]},
        });
        normalize(resource, &mut object);
        assert_eq!(
            object,
            json!({
                "metadata": {"name": "a", "annotations": {"empty": ""}},
                "spec": {"containers": [{"name": "c", "image": ""}]},
            })
        );
    }
}
