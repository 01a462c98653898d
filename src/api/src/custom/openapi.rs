//! Schemas of custom resources as components of an OpenAPI document. Version 3 says what the definition says; version
//! 2 only what clients that validate by it understand.

use std::sync::{Arc, LazyLock};

use machinery::schema::{OBJECT_META, Type};
use serde_json::{Map, Value, json};

use crate::definitions;

use crate::definitions::openapi::{Dialect, PublishedKind};

/// What version 2 has no words for, or what old clients take wrongly.
const ONLY_V3: [&str; 6] = ["allOf", "anyOf", "oneOf", "not", "nullable", "x-kubernetes-validations"];

/// A type of which the fields that every object has are explained.
const MODEL: &str = "io.k8s.api.core.v1.ConfigMap";
/// What `kubectl explain` says of the fields that every object has: the same as of those of built-in kinds.
static EVERYWHERE: LazyLock<[Arc<str>; 3]> = LazyLock::new(|| {
    let known = definitions::closure(MODEL);
    let model = known.0.get(MODEL);
    ["apiVersion", "kind", "metadata"].map(|name| {
        let field = model.and_then(|model| match &model.type_ {
            Type::Object { fields, .. } => fields.get(name),
            _ => None,
        });
        field.and_then(|field| field.description.clone()).unwrap_or_default()
    })
});

/// The component of a kind whose schema is `raw`.
pub fn component(raw: &Value, kind: PublishedKind<'_>, dialect: Dialect) -> Value {
    let mut out = match raw {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    let group_version_kind = json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]);
    if dialect == Dialect::V2 {
        // Of an object that may have any field, old clients must not hear of a single one.
        if is_set(&out, "x-kubernetes-preserve-unknown-fields") {
            return json!({"type": "object", "x-kubernetes-group-version-kind": group_version_kind});
        }
        simplify(&mut out);
    }
    out.entry("type").or_insert("object".into());
    let fields = out.entry("properties").or_insert_with(|| json!({}));
    let [api_version, kind_, metadata] = EVERYWHERE.each_ref().map(|text| &**text);
    fields["apiVersion"] = json!({"type": "string", "description": api_version});
    fields["kind"] = json!({"type": "string", "description": kind_});
    fields["metadata"] = match dialect {
        Dialect::V2 => json!({"$ref": format!("#/definitions/{OBJECT_META}"), "description": metadata}),
        Dialect::V3 => json!({
            "allOf": [{"$ref": format!("#/components/schemas/{OBJECT_META}")}],
            "description": metadata,
        }),
    };
    out.insert("x-kubernetes-group-version-kind".into(), group_version_kind);
    Value::Object(out)
}

fn is_set(schema: &Map<String, Value>, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

/// Old clients refuse null where there is a type, numbers in strings, unknown fields where there are any names or the
/// type is an object's, and lists that do not say of what.
fn simplify(schema: &mut Map<String, Value>) {
    if is_set(schema, "nullable") || is_set(schema, "x-kubernetes-int-or-string") {
        ["type", "items", "properties"].into_iter().for_each(|name| drop(schema.remove(name)));
    }
    if is_set(schema, "x-kubernetes-preserve-unknown-fields") {
        ["items", "properties"].into_iter().for_each(|name| drop(schema.remove(name)));
        if schema.get("type").is_some_and(|type_| type_ == "object") {
            schema.remove("type");
        }
    }
    if schema.get("type").is_some_and(|type_| type_ == "array") && !schema.contains_key("items") {
        schema.remove("type");
    }
    require_no_nulls(schema);
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

/// A field that may be null is as good as none to clients that know no null.
fn require_no_nulls(schema: &mut Map<String, Value>) {
    let is_null = |schema: &Value| schema["nullable"] == true;
    if schema.get("additionalProperties").is_some_and(is_null) {
        schema.remove("required");
    }
    let Some(mut required) = schema.remove("required") else { return };
    let fields = schema.get("properties").unwrap_or(&Value::Null);
    if let Some(names) = required.as_array_mut() {
        names.retain(|name| !name.as_str().is_some_and(|name| is_null(&fields[name])));
    }
    if required.as_array().is_none_or(|names| !names.is_empty()) {
        schema.insert("required".into(), required);
    }
}
