//! From a generated JSON schema to the schema that the server works with.

use std::collections::BTreeMap;
use std::sync::Arc;

use machinery::schema::{ListKind, PatchStrategy, Schema, Type};
use serde_json::{Map, Value};

use super::REFERENCE_PREFIX;
use super::facts::{self, Facts};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// Converts the definition called `name`; the second part is what OpenAPI declares required.
pub(super) fn definition(name: &str, made: Value) -> (Schema, Vec<String>) {
    let Value::Object(mut made) = made else { return (Schema::default(), Vec::new()) };
    let required = match made.remove("required") {
        Some(Value::Array(names)) => {
            names.into_iter().filter_map(|name| as_string(name, name_of_object_meta)).collect()
        }
        _ => Vec::new(),
    };
    let mut schema = node(name, made);
    if name == QUANTITY {
        schema.type_ = Type::String { format: Some(Arc::from("quantity")) };
    }
    if let Some(facts) = facts::of(name, "-") {
        apply(&mut schema, facts);
    }
    (schema, required)
}

/// k8s-openapi declares `metadata` required of every kind; Kubernetes does not.
fn name_of_object_meta(name: &str) -> bool {
    name != "metadata"
}

fn as_string(value: Value, keep: fn(&str) -> bool) -> Option<String> {
    match value {
        Value::String(text) if keep(&text) => Some(text),
        _ => None,
    }
}

/// Converts a schema that is part of the definition `owner`.
fn node(owner: &str, mut made: Map<String, Value>) -> Schema {
    let description = match made.remove("description") {
        Some(Value::String(text)) => Some(Arc::from(text)),
        _ => None,
    };
    Schema { description, type_: type_of(owner, &mut made), ..Schema::default() }
}

fn type_of(owner: &str, made: &mut Map<String, Value>) -> Type {
    if let Some(Value::String(target)) = made.get("$ref") {
        return Type::Reference(Arc::from(target.strip_prefix(REFERENCE_PREFIX).unwrap_or(target)));
    }
    if made.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return Type::IntOrString;
    }
    let format = made.get("format").and_then(Value::as_str).map(Arc::from);
    match made.get("type").and_then(Value::as_str) {
        Some("string") => Type::String { format },
        Some("integer") => Type::Integer { format },
        Some("number") => Type::Number { format },
        Some("boolean") => Type::Boolean,
        Some("array") => Type::List { items: part(owner, made, "items"), kind: ListKind::Atomic },
        Some("object") if made.contains_key("additionalProperties") => {
            Type::Map { values: part(owner, made, "additionalProperties"), required: Vec::new(), atomic: false }
        }
        Some("object") => {
            Type::Object { fields: fields(owner, made.remove("properties")), required: Vec::new(), atomic: false }
        }
        // The unions of JSONSchemaProps: checked where CustomResourceDefinitions are read.
        _ => Type::Any,
    }
}

fn part(owner: &str, made: &mut Map<String, Value>, key: &str) -> Arc<Schema> {
    match made.remove(key) {
        Some(Value::Object(inner)) => Arc::new(node(owner, inner)),
        _ => Arc::new(Schema::default()),
    }
}

fn fields(owner: &str, properties: Option<Value>) -> BTreeMap<String, Arc<Schema>> {
    let Some(Value::Object(properties)) = properties else { return BTreeMap::new() };
    let convert = |(name, made): (String, Value)| {
        let Value::Object(made) = made else { return None };
        let mut schema = node(owner, made);
        if let Some(facts) = facts::of(owner, &name) {
            apply(&mut schema, facts);
        }
        schema.unset_if_empty = facts::is_unset_if_empty(owner, &name);
        schema.always_there = facts::is_always_there(owner, &name);
        Some((name, Arc::new(schema)))
    };
    properties.into_iter().filter_map(convert).collect()
}

fn apply(schema: &mut Schema, facts: &Facts) {
    if facts.any {
        schema.type_ = Type::Any;
        schema.preserve_unknown = true;
    }
    match &mut schema.type_ {
        Type::List { kind, .. } if facts.set => *kind = ListKind::Set,
        Type::List { kind, .. } if !facts.map_keys.is_empty() => *kind = ListKind::Map(facts.map_keys.clone()),
        Type::Object { atomic, .. } | Type::Map { atomic, .. } => *atomic = facts.atomic,
        _ => {}
    }
    schema.patch =
        PatchStrategy { merge: facts.merge, retain_keys: facts.retain_keys, merge_key: facts.merge_key.map(Arc::from) };
    schema.default = facts.default.clone();
    schema.enum_ = facts.enum_.iter().map(|value| Value::from(*value)).collect();
}
