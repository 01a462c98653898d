//! Dropping what a schema does not know: fields without a name in it, and nulls.

use serde_json::{Map, Value};

use super::{Definitions, Schema, Type};
use crate::trail::Trail;

/// More unknown fields than this are dropped without being listed.
const MAX_REPORTED: usize = 100;

/// Fields of an embedded resource that need no schema.
const EMBEDDED_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Drops fields that the schema does not name and nulls where null is no value, as decoding into typed structs
/// does. Answers with the paths of the unknown fields: `spec.foo`, `spec.containers[0].imagee`.
///
/// A null field is absent; a null in a list or map is the zero value of its type.
pub fn prune(value: &mut Value, schema: &Schema, definitions: &Definitions) -> Vec<String> {
    let mut pruner = Pruner { definitions, unknown: Vec::new(), typed: true };
    pruner.value(value, schema, &Trail::Root);
    pruner.unknown
}

/// The same for custom resources, which no type decodes: a null in a map goes, one in a list stays and is refused by
/// validation.
pub fn prune_structural(value: &mut Value, schema: &Schema, definitions: &Definitions) -> Vec<String> {
    let mut pruner = Pruner { definitions, unknown: Vec::new(), typed: false };
    pruner.value(value, schema, &Trail::Root);
    pruner.unknown
}

struct Pruner<'a> {
    definitions: &'a Definitions,
    unknown: Vec<String>,
    /// Nulls in lists and maps are the zero values of their type.
    typed: bool,
}

impl Pruner<'_> {
    fn value(&mut self, value: &mut Value, schema: &Schema, trail: &Trail<'_>) {
        let schema = self.definitions.resolve(schema);
        match (&schema.type_, value) {
            (Type::Object { fields, .. }, Value::Object(object)) => {
                object.retain(|name, value| {
                    let trail = Trail::Key(trail, name);
                    match fields.get(name) {
                        Some(field) if value.is_null() => self.takes_null(field),
                        Some(field) => {
                            self.value(value, field, &trail);
                            true
                        }
                        None if schema.preserve_unknown => true,
                        None if schema.embedded_resource && EMBEDDED_FIELDS.contains(&name.as_str()) => true,
                        None => {
                            self.report(&trail);
                            false
                        }
                    }
                });
            }
            (Type::Map { values, .. }, Value::Object(object)) => {
                if !self.typed {
                    object.retain(|_, value| !value.is_null() || self.takes_null(values));
                }
                for (key, value) in object.iter_mut() {
                    self.element(value, values, &Trail::Key(trail, key));
                }
            }
            (Type::List { items, .. }, Value::Array(list)) => {
                for (index, value) in list.iter_mut().enumerate() {
                    self.element(value, items, &Trail::Index(trail, index));
                }
            }
            _ => {}
        }
    }

    fn element(&mut self, value: &mut Value, schema: &Schema, trail: &Trail<'_>) {
        if self.typed && value.is_null() && !self.takes_null(schema) {
            *value = zero(self.definitions.resolve(schema));
        }
        self.value(value, schema, trail);
    }

    fn takes_null(&self, schema: &Schema) -> bool {
        let resolved = self.definitions.resolve(schema);
        schema.nullable || resolved.nullable || matches!(resolved.type_, Type::Any)
    }

    fn report(&mut self, trail: &Trail<'_>) {
        if self.unknown.len() < MAX_REPORTED {
            self.unknown.push(trail.to_string());
        }
    }
}

/// What a typed decoder makes of null.
fn zero(schema: &Schema) -> Value {
    match &schema.type_ {
        Type::Object { .. } | Type::Map { .. } => Value::Object(Map::new()),
        Type::List { .. } => Value::Array(Vec::new()),
        Type::String { format } if format.as_deref() == Some("quantity") => "0".into(),
        Type::String { .. } => "".into(),
        Type::Integer { .. } | Type::IntOrString | Type::Number { .. } => 0.into(),
        Type::Boolean => false.into(),
        Type::Any | Type::Reference(_) => Value::Null,
    }
}
