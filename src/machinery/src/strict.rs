//! Reading JSON and YAML into values, with every duplicate field found, and bounds on size and depth.
//!
//! Of duplicate fields the last one counts, as everywhere in Kubernetes; whether they are ignored, warned of or
//! refused is the caller's choice. Unknown fields are found by [`crate::schema::prune`].

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::trail::Trail;

/// Nested deeper than this, an object is no object. Walks of values recurse, so this bounds their stack.
pub const MAX_DEPTH: usize = 100;
/// The largest body that is read where the caller names no limit: 3 MiB, as the API server has it.
pub const MAX_BYTES: usize = 3 * 1024 * 1024;
/// More duplicates than this are not listed.
const MAX_DUPLICATES: usize = 100;

/// How many lists and objects stand around the innermost value, itself among them where it is one: 0 of a scalar, 1
/// of `{}`. What this is called for was read by a decoder with a bound, which bounds the stack.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Why bytes are no value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More bytes than allowed.
    #[error("the body of {size_bytes} bytes is larger than the limit of {limit_bytes}")]
    TooLarge {
        /// What came.
        size_bytes: usize,
        /// What is allowed.
        limit_bytes: usize,
    },
    /// Malformed JSON, or nested too deep.
    #[error("json parse error: {0}")]
    Json(String),
    /// Malformed YAML, or nested too deep.
    #[error("yaml parse error: {0}")]
    Yaml(String),
}

/// A value and the fields that were there more than once.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The value; of duplicates the last.
    pub value: Value,
    /// The paths of duplicates: `spec.replicas`, `spec.containers[0].image`.
    pub duplicates: Vec<String>,
}

impl Decoded {
    /// One message a duplicate, in Kubernetes' words: `duplicate field "spec.replicas"`.
    pub fn messages(&self) -> impl Iterator<Item = String> {
        self.duplicates.iter().map(|path| duplicate_field(path))
    }
}

/// `duplicate field "spec.replicas"`
pub fn duplicate_field(path: &str) -> String {
    format!("duplicate field {path:?}")
}

/// `unknown field "spec.foo"`
pub fn unknown_field(path: &str) -> String {
    format!("unknown field {path:?}")
}

/// Reads one JSON value of at most `limit_bytes`.
pub fn decode_json(bytes: &[u8], limit_bytes: usize) -> Result<Decoded, Error> {
    check_size(bytes, limit_bytes)?;
    let state = State::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Node { trail: Trail::Root, depth: 0, state: &state }.deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value)).map_err(|e| Error::Json(e.to_string()))?;
    Ok(state.finish(value))
}

/// Reads one YAML document of at most `limit_bytes` as the JSON value it stands for, with the types that kubectl
/// gives it (YAML 1.1 booleans and octal numbers). Keys that are numbers or booleans become text.
pub fn decode_yaml(bytes: &[u8], limit_bytes: usize) -> Result<Decoded, Error> {
    check_size(bytes, limit_bytes)?;
    let state = State::default();
    let node = Node { trail: Trail::Root, depth: 0, state: &state };
    let value = serde_yaml::with_deserializer_from_slice_with_options(bytes, yaml_options(), |de| node.deserialize(de))
        .map_err(|error| Error::Yaml(error.to_string()))?;
    Ok(state.finish(value))
}

/// The line and the name of the first key that stands twice in one mapping of a YAML document.
pub fn first_duplicate(bytes: &[u8]) -> Option<(u64, String)> {
    let mut options = yaml_options();
    options.duplicate_keys = serde_yaml::DuplicateKeyPolicy::Error;
    let state = State::default();
    let node = Node { trail: Trail::Root, depth: 0, state: &state };
    let read = serde_yaml::with_deserializer_from_slice_with_options(bytes, options, |de| node.deserialize(de));
    match read.as_ref().err()?.without_snippet() {
        serde_yaml::Error::DuplicateMappingKey { key, location } => {
            Some((location.line(), key.clone().unwrap_or_default()))
        }
        _ => None,
    }
}

/// What unquoted `yes`, `no`, `on`, `off`, `y` and `n` are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Booleans {
    /// Booleans, as `kubectl apply` reads them.
    Yaml11,
    /// Text, as kustomize reads resources and patches.
    Yaml12,
}

/// Reads every YAML document of a file of at most `limit_bytes`, as [`decode_yaml`] does; empty ones are passed over.
pub fn decode_yaml_documents(bytes: &[u8], limit_bytes: usize, booleans: Booleans) -> Result<Vec<Decoded>, Error> {
    check_size(bytes, limit_bytes)?;
    let mut options = yaml_options();
    options.strict_booleans = booleans == Booleans::Yaml12;
    serde_yaml::from_slice_multiple_with_options(bytes, options).map_err(|error| Error::Yaml(error.to_string()))
}

impl<'de> de::Deserialize<'de> for Decoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let state = State::default();
        let value = Node { trail: Trail::Root, depth: 0, state: &state }.deserialize(deserializer)?;
        Ok(state.finish(value))
    }
}

fn yaml_options() -> serde_yaml::Options {
    serde_yaml::options! {
        duplicate_keys: serde_yaml::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

fn check_size(bytes: &[u8], limit_bytes: usize) -> Result<(), Error> {
    if bytes.len() > limit_bytes {
        return Err(Error::TooLarge { size_bytes: bytes.len(), limit_bytes });
    }
    Ok(())
}

#[derive(Default)]
struct State {
    duplicates: RefCell<Vec<String>>,
}

impl State {
    fn finish(self, value: Value) -> Decoded {
        Decoded { value, duplicates: self.duplicates.into_inner() }
    }

    fn duplicate(&self, trail: &Trail<'_>) {
        let mut duplicates = self.duplicates.borrow_mut();
        let path = trail.to_string();
        if duplicates.len() < MAX_DUPLICATES && !duplicates.contains(&path) {
            duplicates.push(path);
        }
    }
}

/// One value at a place in the document.
struct Node<'a> {
    trail: Trail<'a>,
    depth: usize,
    state: &'a State,
}

impl Node<'_> {
    fn descend<E: de::Error>(&self) -> Result<usize, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format!("exceeded max depth of {MAX_DEPTH}")));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let depth = self.descend()?;
        let mut values = Vec::new();
        loop {
            let trail = Trail::Index(&self.trail, values.len());
            match list.next_element_seed(Node { trail, depth, state: self.state })? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let depth = self.descend()?;
        let mut fields = Map::new();
        while let Some(key) = map.next_key_seed(Key)? {
            let trail = Trail::Key(&self.trail, &key);
            let value = map.next_value_seed(Node { trail, depth, state: self.state })?;
            if fields.contains_key(&key) {
                self.state.duplicate(&trail);
            }
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

/// A field's name; YAML also has numbers, booleans and null there.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_string<E>(self, value: String) -> Result<String, E> {
        Ok(value)
    }

    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok("null".to_string())
    }
}

#[cfg(test)]
mod tests;
