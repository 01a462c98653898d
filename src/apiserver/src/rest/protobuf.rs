//! Bodies and answers in Kubernetes' protobuf form, which Go clients send and ask for of built-in kinds. A body is
//! turned into the JSON that it stands for by the kind's schema and a table of field numbers, and an object into its
//! message by the same; nothing else of the server knows of it.
//!
//! Go writes every field that is no pointer, zero or not, so a zero means "not set" except where the type is a pointer
//! or Go's JSON has the zero too. The table marks those with a star, so that a body becomes the JSON that the same
//! client would have sent.

mod encode;
mod roots;
mod unions;
mod wire;

pub use encode::{encode, speaks, watch_event};

use std::collections::HashMap;
use std::sync::LazyLock;

use machinery::schema::{Definitions, Schema, Type};
use machinery::strict;
use serde_json::{Map, Value};

use crate::status::{Result, Status};
use wire::{Field, Reader};

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";
/// Nested deeper than this, an object is no object.
const DEPTH_MAX: usize = 100;

/// A field of a message.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// In lower case and without separators: `clusterips`.
    name: &'static str,
    /// The message whose fields stand in the parent's place in JSON: `volumesource` of a Volume.
    inlined: Option<&'static str>,
    /// A zero on the wire is a zero in JSON: of a pointer, or of a field that Go's JSON always has.
    zero_counts: bool,
}

/// Field numbers by message; names are in lower case. A test in Go (`tests/clients/go`) holds the table beside Go's types.
static FIELDS: LazyLock<HashMap<&'static str, HashMap<u32, Known>>> = LazyLock::new(|| {
    include_str!("protobuf/fields.txt")
        .lines()
        .filter_map(|line| {
            let mut parts = line.split(' ');
            let message = parts.next()?;
            let fields = parts.filter_map(|field| {
                let (name, number) = field.split_once('=')?;
                let (number, inlined) = match number.split_once('@') {
                    Some((number, message)) => (number, Some(message)),
                    None => (number, None),
                };
                let zero_counts = number.ends_with('*');
                Some((number.trim_end_matches('*').parse().ok()?, Known { name, inlined, zero_counts }))
            });
            Some((message, fields.collect()))
        })
        .collect()
});

/// Turns a body into the object it stands for, with apiVersion and kind.
///
/// # Errors
/// 400 for what is malformed or of a kind that is not known.
pub fn decode(bytes: &[u8]) -> Result<Value> {
    let refused = |why: &str| Status::bad_request(format!("the protobuf body cannot be decoded: {why}"));
    let envelope = bytes.strip_prefix(MAGIC).ok_or_else(|| refused("it does not begin with k8s\\0"))?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Reader::new(envelope) {
        match field.map_err(refused)? {
            (1, Field::Bytes(meta)) => {
                for field in Reader::new(meta) {
                    match field.map_err(refused)? {
                        (1, Field::Bytes(text)) => api_version = String::from_utf8_lossy(text).into_owned(),
                        (2, Field::Bytes(text)) => kind = String::from_utf8_lossy(text).into_owned(),
                        _ => {}
                    }
                }
            }
            (2, Field::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (name, definitions) = roots::find(&api_version, &kind)
        .ok_or_else(|| refused(&format!("kind {kind:?} of {api_version:?} has no protobuf form here; send JSON")))?;
    let schema = definitions.0.get(name).ok_or_else(|| refused("its kind has no schema"))?;
    let decoder = Decoder { definitions };
    let mut object = Map::new();
    decoder.message(&message_name(name), schema, raw, &mut object, 0).map_err(|why| refused(&why))?;
    object.insert("apiVersion".to_string(), api_version.into());
    object.insert("kind".to_string(), kind.into());
    let object = Value::Object(object);
    // Messages, lists, maps and JSON within them together.
    if strict::depth(&object) > strict::MAX_DEPTH {
        return Err(refused(&format!("exceeded max depth of {}", strict::MAX_DEPTH)));
    }
    Ok(object)
}

/// The name of a schema in the table.
fn message_name(schema: &str) -> String {
    let name = schema.strip_prefix("io.k8s.").unwrap_or(schema).to_ascii_lowercase();
    name.replace("apiextensions-apiserver", "apiextensions_apiserver").replace("kube-aggregator", "kube_aggregator")
}

struct Decoder<'a> {
    definitions: &'a Definitions,
}

type Outcome<T> = std::result::Result<T, String>;

impl Decoder<'_> {
    /// Decodes the fields of the message called `name` into `object`, whose schema is `schema`.
    fn message(
        &self,
        name: &str,
        schema: &Schema,
        bytes: &[u8],
        object: &mut Map<String, Value>,
        depth: usize,
    ) -> Outcome<()> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deep".to_string());
        }
        let schema = self.definitions.resolve(schema);
        let Type::Object { fields, .. } = &schema.type_ else { return Err(format!("{name} is no object")) };
        let numbers = FIELDS.get(name).ok_or_else(|| format!("{name} is not known"))?;
        for field in Reader::new(bytes) {
            let (number, field) = field.map_err(ToString::to_string)?;
            // A number that is not known is a newer client's field.
            let Some(known) = numbers.get(&number) else { continue };
            let same = |name: &&String| wire::is_same_name(name, known.name);
            match (fields.keys().find(same), known.inlined, &field) {
                (Some(json), _, _) => self.field((json, known.zero_counts), &fields[json], field, object, depth)?,
                (None, Some(inlined), Field::Bytes(bytes)) => {
                    self.message(inlined, schema, bytes, object, depth + 1)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn field(
        &self,
        (name, zero_counts): (&str, bool),
        schema: &Schema,
        field: Field<'_>,
        object: &mut Map<String, Value>,
        depth: usize,
    ) -> Outcome<()> {
        let resolved = self.definitions.resolve(schema);
        match (&resolved.type_, field) {
            (Type::List { items, .. }, field) => {
                let values = wire::unpacked(&self.definitions.resolve(items).type_, field)?;
                for field in values {
                    let item = self.value(name, items, field, depth)?;
                    match object.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                        Value::Array(list) => list.push(item),
                        _ => return Err(format!("{name} is no list")),
                    }
                }
            }
            (Type::Map { values, .. }, Field::Bytes(bytes)) => {
                let (key, value) = self.entry(name, values, bytes, depth)?;
                match object.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                    Value::Object(map) => map.insert(key, value),
                    _ => return Err(format!("{name} is no map")),
                };
            }
            (_, field) => {
                let value = self.value(name, schema, field, depth)?;
                if !wire::means_not_set(zero_counts, &value) {
                    object.insert(name.to_string(), value);
                }
            }
        }
        Ok(())
    }

    fn entry(&self, name: &str, values: &Schema, bytes: &[u8], depth: usize) -> Outcome<(String, Value)> {
        let (mut key, mut value) = (String::new(), None);
        for field in Reader::new(bytes) {
            match field.map_err(ToString::to_string)? {
                (1, Field::Bytes(text)) => key = wire::text(text)?,
                (2, field) => value = Some(self.value(name, values, field, depth)?),
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None => self.value(name, values, Field::Bytes(&[]), depth)?,
        };
        Ok((key, value))
    }

    /// One value of a field, a list or a map.
    fn value(&self, name: &str, schema: &Schema, field: Field<'_>, depth: usize) -> Outcome<Value> {
        let own_name = match &schema.type_ {
            Type::Reference(name) => name.as_ref(),
            _ => "",
        };
        let resolved = self.definitions.resolve(schema);
        match (&resolved.type_, field) {
            (Type::Object { .. }, Field::Bytes(bytes)) => {
                let mut object = Map::new();
                self.message(&message_name(own_name), resolved, bytes, &mut object, depth + 1)?;
                Ok(Value::Object(object))
            }
            // A message around a list or map, such as ExtraValue.
            (Type::List { items, .. }, Field::Bytes(bytes)) => {
                let mut list = Vec::new();
                for field in Reader::new(bytes) {
                    list.push(self.value(name, items, field.map_err(ToString::to_string)?.1, depth + 1)?);
                }
                Ok(Value::Array(list))
            }
            (Type::Any, Field::Bytes(bytes)) if unions::is_one(own_name) => self.union(own_name, bytes, depth),
            (Type::Any | Type::Map { .. }, Field::Bytes(bytes)) => wire::raw(bytes),
            (type_, field) => wire::scalar(name, own_name, type_, field),
        }
    }
}

#[cfg(test)]
mod tests;
