//! The structural schemas of CustomResourceDefinitions (KEP-1111): from `openAPIV3Schema` to [`Schema`]. What makes
//! a schema structural is checked where definitions are validated.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{ListKind, Logic, Schema, Type, reference};

/// What of a JSON schema bounds a value and is kept as it is written.
const BOUNDS: [&str; 13] = [
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "multipleOf",
    "maxLength",
    "minLength",
    "pattern",
    "format",
    "maxItems",
    "minItems",
    "maxProperties",
    "minProperties",
];
/// A schema nested deeper than this says nothing further; validation of definitions refuses it.
const DEPTH_MAX: usize = 100;

/// The schema of a whole object: `openAPIV3Schema` of one version, which is structural. Its metadata are those of every object, of the type called `object_meta` among the definitions.
pub fn object_schema(raw: &Value, object_meta: &str) -> Schema {
    let mut schema = read(raw, object_meta);
    if let Type::Any = schema.type_ {
        schema.type_ = Type::Object { fields: BTreeMap::new(), required: Vec::new(), atomic: false };
        schema.preserve_unknown = true;
    }
    if let Type::Object { fields, required, .. } = &mut schema.type_ {
        add_object_fields(fields, object_meta);
        // The server sets them where they are missing.
        required.retain(|name| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
    }
    schema
}

/// The schema of a value.
pub fn read(raw: &Value, object_meta: &str) -> Schema {
    Reader { object_meta }.schema(raw, false, 0)
}

fn add_object_fields(fields: &mut BTreeMap<String, Arc<Schema>>, object_meta: &str) {
    for name in ["apiVersion", "kind"] {
        let text = Schema { type_: Type::String { format: None }, ..Schema::default() };
        fields.entry(name.to_string()).or_insert_with(|| Arc::new(text));
    }
    fields.insert("metadata".to_string(), Arc::new(reference(object_meta)));
}

fn flag(raw: &Value, name: &str) -> bool {
    raw[name] == Value::Bool(true)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_string).collect()
}

struct Reader<'a> {
    object_meta: &'a str,
}

impl Reader<'_> {
    fn schema(&self, raw: &Value, partial: bool, depth: usize) -> Schema {
        if depth > DEPTH_MAX || !raw.is_object() {
            return Schema::default();
        }
        let preserve_unknown = flag(raw, "x-kubernetes-preserve-unknown-fields");
        let embedded_resource = flag(raw, "x-kubernetes-embedded-resource");
        let mut type_ = self.type_of(raw, partial, depth);
        if let (true, Type::Object { fields, required, .. }) = (embedded_resource, &mut type_) {
            add_object_fields(fields, self.object_meta);
            for name in ["apiVersion", "kind"] {
                if !required.iter().any(|own| own == name) {
                    required.push(name.to_string());
                }
            }
        }
        let mut bounds: BTreeMap<String, Value> = BOUNDS
            .iter()
            .filter_map(|name| Some((name.to_string(), raw.get(*name).filter(|value| !value.is_null())?.clone())))
            .collect();
        if matches!(type_, Type::Integer { .. } | Type::Number { .. }) {
            // Of numbers it is part of the type.
            bounds.remove("format");
        }
        Schema {
            type_,
            description: raw["description"].as_str().map(Arc::from),
            default: raw.get("default").filter(|value| !value.is_null()).cloned(),
            nullable: flag(raw, "nullable"),
            enum_: raw["enum"].as_array().cloned().unwrap_or_default(),
            preserve_unknown,
            embedded_resource,
            bounds,
            logic: self.logic(raw, depth),
            partial: partial && raw.get("type").is_none(),
            ..Schema::default()
        }
    }

    fn type_of(&self, raw: &Value, partial: bool, depth: usize) -> Type {
        if flag(raw, "x-kubernetes-int-or-string") {
            return Type::IntOrString;
        }
        let format = raw["format"].as_str().map(Arc::from);
        match raw["type"].as_str().unwrap_or_default() {
            "object" => self.object(raw, partial, depth),
            "array" => self.list(raw, partial, depth),
            "string" => Type::String { format: None },
            "integer" => Type::Integer { format },
            "number" => Type::Number { format },
            "boolean" => Type::Boolean,
            _ if raw["properties"].is_object() || raw["required"].is_array() => self.object(raw, partial, depth),
            _ if raw["items"].is_object() => self.list(raw, partial, depth),
            _ => Type::Any,
        }
    }

    fn object(&self, raw: &Value, partial: bool, depth: usize) -> Type {
        let atomic = raw["x-kubernetes-map-type"] == "atomic";
        let values = match &raw["additionalProperties"] {
            values @ Value::Object(_) => Some(self.schema(values, partial, depth + 1)),
            Value::Bool(true) => Some(Schema::default()),
            _ => None,
        };
        if let Some(values) = values {
            return Type::Map { values: Arc::new(values), required: texts(&raw["required"]), atomic };
        }
        let fields = raw["properties"].as_object().into_iter().flatten();
        Type::Object {
            fields: fields.map(|(name, raw)| (name.clone(), Arc::new(self.schema(raw, partial, depth + 1)))).collect(),
            required: texts(&raw["required"]),
            atomic,
        }
    }

    fn list(&self, raw: &Value, partial: bool, depth: usize) -> Type {
        let kind = match raw["x-kubernetes-list-type"].as_str() {
            Some("set") => ListKind::Set,
            Some("map") => ListKind::Map(texts(&raw["x-kubernetes-list-map-keys"])),
            _ => ListKind::Atomic,
        };
        Type::List { items: Arc::new(self.schema(&raw["items"], partial, depth + 1)), kind }
    }

    fn logic(&self, raw: &Value, depth: usize) -> Option<Arc<Logic>> {
        let all = |name: &str| -> Vec<Schema> {
            let schemas = raw[name].as_array().into_iter().flatten();
            schemas.map(|raw| self.schema(raw, true, depth + 1)).collect()
        };
        let logic = Logic {
            all_of: all("allOf"),
            any_of: all("anyOf"),
            one_of: all("oneOf"),
            not: raw.get("not").filter(|raw| raw.is_object()).map(|raw| self.schema(raw, true, depth + 1)),
        };
        let is_empty =
            logic.all_of.is_empty() && logic.any_of.is_empty() && logic.one_of.is_empty() && logic.not.is_none();
        (!is_empty).then(|| Arc::new(logic))
    }
}

#[cfg(test)]
mod tests;
