//! The parts of a CustomResourceDefinition's schema that are one of several things in JSON and a message with a field
//! for each in protobuf: `additionalProperties: false` or a schema, `items` of one schema or many, `dependencies` on
//! a schema or on names.

use machinery::schema::{Schema, Type};
use serde_json::Value;

use super::encode::{Encoder, put_number};
use super::wire::{Field, Reader, text};
use super::{Decoder, Outcome};

const PREFIX: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
const OR_BOOL: &str = "OrBool";
const OR_ARRAY: &str = "OrArray";
const OR_NAMES: &str = "OrStringArray";

/// Whether the schema of this name is a union of such things.
pub fn is_one(schema_name: &str) -> bool {
    schema_name.strip_prefix(PREFIX).is_some_and(|rest| [OR_BOOL, OR_ARRAY, OR_NAMES].contains(&rest))
}

/// A reference to the schema of schemas.
fn props() -> Schema {
    Schema { type_: Type::Reference(PREFIX.into()), ..Schema::default() }
}

impl Decoder<'_> {
    /// What the message of the union `name` stands for.
    pub(super) fn union(&self, name: &str, bytes: &[u8], depth: usize) -> Outcome<Value> {
        let (is_bool, is_array) = (name.ends_with(OR_BOOL), !name.ends_with(OR_BOOL) && !name.ends_with(OR_NAMES));
        let (schema_at, mut one, mut many, mut allows) = (if is_bool { 2 } else { 1 }, None, Vec::new(), false);
        for field in Reader::new(bytes) {
            match field? {
                (number, field) if number == schema_at => {
                    one = Some(self.value("schema", &props(), field, depth + 1)?)
                }
                (2, field) if is_array => many.push(self.value("items", &props(), field, depth + 1)?),
                (2, Field::Bytes(name)) => many.push(text(name)?.into()),
                (1, Field::Varint(value)) => allows = value != 0,
                _ => {}
            }
        }
        Ok(match one {
            _ if !many.is_empty() => Value::Array(many),
            Some(schema) => schema,
            None if is_bool => Value::Bool(allows),
            None => Value::Null,
        })
    }
}

impl Encoder<'_> {
    /// The message of the union `name`.
    pub(super) fn union(&self, name: &str, value: &Value, depth: usize) -> Outcome<Vec<u8>> {
        let is_bool = name.ends_with(OR_BOOL);
        let mut out = Vec::new();
        match value {
            Value::Bool(allows) if is_bool => put_number(&mut out, 1, u64::from(*allows)),
            Value::Object(_) if is_bool => {
                // A schema allows what it describes.
                put_number(&mut out, 1, 1);
                self.value(2, &props(), value, &mut out, depth + 1)?;
            }
            Value::Object(_) => self.value(1, &props(), value, &mut out, depth + 1)?,
            Value::Array(many) if name.ends_with(OR_NAMES) => {
                let names = Schema { type_: Type::String { format: None }, ..Schema::default() };
                many.iter().try_for_each(|one| self.value(2, &names, one, &mut out, depth))?;
            }
            Value::Array(many) if !is_bool => {
                many.iter().try_for_each(|one| self.value(2, &props(), one, &mut out, depth + 1))?;
            }
            _ => return Err(format!("{name} is none of what it may be")),
        }
        Ok(out)
    }
}
