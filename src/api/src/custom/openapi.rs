//! Schemas of custom resources as components of an OpenAPI document. Version 3 says what the definition says; version
//! 2 only what clients that validate by it understand.

use machinery::schema::OBJECT_META;
use serde_json::{Map, Value, json};

use crate::definitions::openapi::{Dialect, PublishedKind};

/// What version 2 has no words for, or what old clients take wrongly.
const ONLY_V3: [&str; 6] = ["allOf", "anyOf", "oneOf", "not", "nullable", "x-kubernetes-validations"];

/// The component of a kind whose schema is `raw`.
pub fn component(raw: &Value, kind: PublishedKind<'_>, dialect: Dialect) -> Value {
    let mut out = match raw {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    if dialect == Dialect::V2 {
        simplify(&mut out);
    }
    out.entry("type").or_insert("object".into());
    let fields = out.entry("properties").or_insert_with(|| json!({}));
    fields["apiVersion"] = json!({"type": "string", "description": "The group and version of this object's schema."});
    fields["kind"] = json!({"type": "string", "description": "The name of this object's kind."});
    fields["metadata"] = match dialect {
        Dialect::V2 => json!({"$ref": format!("#/definitions/{OBJECT_META}"), "description": "The object's metadata."}),
        Dialect::V3 => json!({
            "allOf": [{"$ref": format!("#/components/schemas/{OBJECT_META}")}],
            "description": "The object's metadata.",
        }),
    };
    out.insert(
        "x-kubernetes-group-version-kind".into(),
        json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]),
    );
    Value::Object(out)
}

/// Old clients refuse null where there is a type, unknown fields where there are any names, and numbers in strings.
fn simplify(schema: &mut Map<String, Value>) {
    let is_set = |schema: &Map<String, Value>, name: &str| schema.get(name) == Some(&Value::Bool(true));
    if is_set(schema, "nullable") || is_set(schema, "x-kubernetes-int-or-string") {
        ["type", "items", "properties"].into_iter().for_each(|name| drop(schema.remove(name)));
    }
    if is_set(schema, "x-kubernetes-preserve-unknown-fields") {
        ["items", "properties"].into_iter().for_each(|name| drop(schema.remove(name)));
    }
    ONLY_V3.into_iter().for_each(|name| drop(schema.remove(name)));
    for (name, within) in schema.iter_mut() {
        match (name.as_str(), within) {
            ("properties", Value::Object(fields)) => {
                fields.values_mut().filter_map(Value::as_object_mut).for_each(simplify);
            }
            ("items" | "additionalProperties", Value::Object(within)) => simplify(within),
            _ => {}
        }
    }
}
