//! The form in which a client's object goes on: what Kubernetes' typed decoding does to values on their way in.

use machinery::schema::{Definitions, Schema, Type};
use serde_json::Value;

use crate::resource::Resource;

/// References followed without consuming a level of the object; more is a loop.
const DEPTH_MAX: usize = 128;

/// Removes `null` fields, zero values of fields in which they mean "not set", and empty strings where there is a default
/// or a fixed set of values. Call it after decoding and before the schema's defaults.
pub fn normalize(resource: &Resource, object: &mut Value) {
    walk(resource.definitions(), resource.schema(), object, 0);
}

fn walk(definitions: &Definitions, schema: &Schema, value: &mut Value, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match (&definitions.resolve(schema).type_, value) {
        (Type::Object { fields: known, .. }, Value::Object(fields)) => {
            fields.retain(|name, value| {
                !value.is_null() && known.get(name).is_none_or(|field| is_set(definitions, field, value))
            });
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
fn is_set(definitions: &Definitions, field: &Schema, value: &Value) -> bool {
    if field.unset_if_empty && is_zero(&definitions.resolve(field).type_, value) {
        return false;
    }
    let has_meaning = field.default.is_none() && field.enum_.is_empty();
    value.as_str() != Some("") || has_meaning || field.default.as_ref() == Some(value)
}

/// What Go calls the zero value of a type, of lists and maps also the empty one. Of another type it is a fault.
fn is_zero(type_: &Type, value: &Value) -> bool {
    match (type_, value) {
        (Type::Boolean, Value::Bool(is_true)) => !is_true,
        (Type::Integer { .. } | Type::Number { .. }, Value::Number(number)) => number.as_f64() == Some(0.0),
        (Type::String { .. }, Value::String(text)) => text.is_empty(),
        (Type::List { .. }, Value::Array(list)) => list.is_empty(),
        (Type::Map { .. }, Value::Object(fields)) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn zero_values_that_say_nothing_are_dropped() {
        let resource = crate::registry().get("apps", "v1", "deployments").expect("deployments are served");
        let mut object = json!({
            "metadata": {"name": "a", "namespace": "", "labels": {}, "finalizers": []},
            "spec": {
                "replicas": 0, "paused": false, "minReadySeconds": 0, "selector": {"matchLabels": {}},
                "template": {"spec": {
                    "hostNetwork": false, "automountServiceAccountToken": false, "nodeSelector": {}, "tolerations": {},
                    "containers": [{"name": "c", "tty": false, "args": [], "env": [{"name": "E", "value": ""}],
                        "livenessProbe": {"timeoutSeconds": 0}}],
                    "volumes": [{"name": "v", "emptyDir": {}}],
                }},
            },
        });
        normalize(resource, &mut object);
        assert_eq!(
            object,
            json!({
                "metadata": {"name": "a"},
                "spec": {
                    "replicas": 0, "selector": {},
                    "template": {"spec": {
                        "automountServiceAccountToken": false,
                        // What is of another type is left for its fault to be found.
                        "tolerations": {},
                        "containers": [{"name": "c", "env": [{"name": "E"}], "livenessProbe": {}}],
                        "volumes": [{"name": "v", "emptyDir": {}}],
                    }},
                },
            })
        );
    }

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
                "spec": {"containers": [{"name": "c"}]},
            })
        );
    }
}
