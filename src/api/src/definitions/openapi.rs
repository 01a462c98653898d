//! Definitions as the component schemas of an OpenAPI document.
//!
//! `kubectl explain` reads descriptions from here, clients validate by it, and server-side tools learn list types,
//! merge keys and kinds from the `x-kubernetes-*` extensions.

use machinery::schema::{ListKind, PatchStrategy, Schema, Type};
use serde_json::{Map, Value, json};

use super::{REFERENCE_PREFIX, required};

/// Types whose fields are anybody's, but which are objects.
const ANY_OBJECT: [&str; 2] =
    ["io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", "io.k8s.apimachinery.pkg.runtime.RawExtension"];

/// Which OpenAPI the schema is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/openapi/v2`: definitions under `#/definitions/`, no unions.
    V2,
    /// `/openapi/v3`: components under `#/components/schemas/`.
    V3,
}

/// A group, version and kind for `x-kubernetes-group-version-kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedKind<'a> {
    /// Empty for the core group.
    pub group: &'a str,
    /// `v1`.
    pub version: &'a str,
    /// `Pod`.
    pub kind: &'a str,
}

/// The component called `name` with the schema `schema`; `kinds` are the kinds whose body it is.
pub fn component(name: &str, schema: &Schema, kinds: &[PublishedKind<'_>], dialect: Dialect) -> Value {
    let mut out = write(schema, dialect);
    if ANY_OBJECT.contains(&name) {
        out.insert("type".into(), "object".into());
    }
    let required = required(name);
    if !required.is_empty() {
        out.insert("required".into(), json!(&*required));
    }
    if !kinds.is_empty() {
        let kinds: Vec<Value> =
            kinds.iter().map(|kind| json!({"group": kind.group, "version": kind.version, "kind": kind.kind})).collect();
        out.insert("x-kubernetes-group-version-kind".into(), Value::Array(kinds));
    }
    Value::Object(out)
}

/// The component of a list kind (`PodList`) whose items are `item` (a definition's name).
pub fn list_component(item: &str, kind: PublishedKind<'_>, dialect: Dialect) -> Value {
    let metadata = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
    json!({
        "description": format!("{} is a list of objects of one kind.", kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The group and version of this object's schema."},
            "kind": {"type": "string", "description": "The name of this object's kind."},
            "metadata": reference(metadata, Some("The list's metadata."), None, dialect),
            "items": {
                "type": "array",
                "description": "The objects.",
                "items": reference(item, None, None, dialect),
            },
        },
        "x-kubernetes-group-version-kind":
            [{"group": kind.group, "version": kind.version, "kind": kind.kind}],
    })
}

fn reference(name: &str, description: Option<&str>, default: Option<&Value>, dialect: Dialect) -> Value {
    let target = match dialect {
        Dialect::V2 => format!("#/definitions/{name}"),
        Dialect::V3 => format!("{REFERENCE_PREFIX}{name}"),
    };
    let mut out = Map::new();
    // Version 3 ignores what stands beside a $ref, so a reference with more to say is wrapped.
    if dialect == Dialect::V3 && (description.is_some() || default.is_some()) {
        out.insert("allOf".into(), json!([{"$ref": target}]));
    } else {
        out.insert("$ref".into(), target.into());
    }
    if let Some(text) = description {
        out.insert("description".into(), text.into());
    }
    if let Some(value) = default {
        out.insert("default".into(), value.clone());
    }
    Value::Object(out)
}

fn write(schema: &Schema, dialect: Dialect) -> Map<String, Value> {
    let mut out = match &schema.type_ {
        Type::Reference(name) => match reference(name, schema.description.as_deref(), schema.default.as_ref(), dialect)
        {
            Value::Object(out) => out,
            _ => Map::new(),
        },
        other => write_type(other, dialect),
    };
    if let Some(text) = &schema.description {
        out.insert("description".into(), (**text).into());
    }
    if let Some(default) = &schema.default {
        out.insert("default".into(), default.clone());
    }
    if !schema.enum_.is_empty() {
        out.insert("enum".into(), Value::Array(schema.enum_.clone()));
    }
    if schema.nullable && dialect == Dialect::V3 {
        out.insert("nullable".into(), true.into());
    }
    if schema.embedded_resource {
        out.insert("x-kubernetes-embedded-resource".into(), true.into());
    }
    out.extend(schema.bounds.iter().map(|(name, value)| (name.clone(), value.clone())));
    write_patch(&schema.patch, &mut out);
    out
}

fn write_type(type_: &Type, dialect: Dialect) -> Map<String, Value> {
    let written = match (type_, dialect) {
        // Without a type: `default: 5` and `additionalProperties: true` of a CustomResourceDefinition are valid.
        (Type::Any, _) => json!({}),
        (Type::Object { fields, atomic, required }, _) => {
            let mut out = json!({"type": "object"});
            if !fields.is_empty() {
                let fields: Map<String, Value> =
                    fields.iter().map(|(name, field)| (name.clone(), Value::Object(write(field, dialect)))).collect();
                out["properties"] = Value::Object(fields);
            }
            if !required.is_empty() {
                out["required"] = json!(required);
            }
            mark_atomic(out, *atomic)
        }
        (Type::Map { values, required, atomic }, _) => {
            let mut out = json!({"type": "object", "additionalProperties": write(values, dialect)});
            if !required.is_empty() {
                out["required"] = json!(required);
            }
            mark_atomic(out, *atomic)
        }
        (Type::List { items, kind }, _) => write_list(items, kind, dialect),
        (Type::String { format: Some(format) }, Dialect::V2) if &**format == "quantity" => json!({"type": "string"}),
        (Type::String { format: Some(format) }, Dialect::V3) if &**format == "quantity" => {
            json!({"oneOf": [{"type": "string"}, {"type": "number"}]})
        }
        (Type::String { format }, _) => with_format("string", format.as_deref()),
        (Type::Integer { format }, _) => with_format("integer", format.as_deref()),
        (Type::Number { format }, _) => with_format("number", format.as_deref()),
        (Type::Boolean, _) => json!({"type": "boolean"}),
        (Type::IntOrString, Dialect::V2) => json!({"type": "string", "format": "int-or-string"}),
        (Type::IntOrString, Dialect::V3) => {
            json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"})
        }
        (Type::Reference(name), _) => reference(name, None, None, dialect),
    };
    match written {
        Value::Object(out) => out,
        _ => Map::new(),
    }
}

fn mark_atomic(mut out: Value, atomic: bool) -> Value {
    if atomic {
        out["x-kubernetes-map-type"] = "atomic".into();
    }
    out
}

fn with_format(type_: &str, format: Option<&str>) -> Value {
    match format {
        Some(format) => json!({"type": type_, "format": format}),
        None => json!({"type": type_}),
    }
}

fn write_list(items: &Schema, kind: &ListKind, dialect: Dialect) -> Value {
    let mut out = json!({"type": "array", "items": write(items, dialect)});
    match kind {
        ListKind::Atomic => out["x-kubernetes-list-type"] = "atomic".into(),
        ListKind::Set => out["x-kubernetes-list-type"] = "set".into(),
        ListKind::Map(keys) => {
            out["x-kubernetes-list-type"] = "map".into();
            out["x-kubernetes-list-map-keys"] = json!(keys);
        }
    }
    out
}

fn write_patch(patch: &PatchStrategy, out: &mut Map<String, Value>) {
    let strategies: Vec<&str> =
        [(patch.merge, "merge"), (patch.retain_keys, "retainKeys")].iter().filter(|s| s.0).map(|s| s.1).collect();
    if !strategies.is_empty() {
        out.insert("x-kubernetes-patch-strategy".into(), strategies.join(",").into());
    }
    if let Some(key) = &patch.merge_key {
        out.insert("x-kubernetes-patch-merge-key".into(), (**key).into());
    }
}
