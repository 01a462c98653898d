//! Values: borrowed from JSON where they can be, shared where an expression made them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use machinery::quantity::Quantity;
use serde_json::Value as Json;

use crate::authz::Authz;
use crate::decl::{Decl, MAX_REQUEST_BYTES, Shape};
use crate::error::EvalError;
use crate::library::format::Format;
use crate::library::net::{Cidr, Ip};
use crate::library::semver::Semver;
use crate::library::url::Url;
use crate::time::{Duration, Timestamp};

/// A value of CEL. `'a` is the life of the JSON and the declarations that it is read from.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number with a sign.
    Int(i64),
    /// A whole number without.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A moment.
    Timestamp(Timestamp),
    /// A span of time.
    Duration(Duration),
    /// A list.
    List(List<'a>),
    /// A map, or an object of a schema.
    Map(Map<'a>),
    /// A value or none.
    Optional(Option<Arc<Value<'a>>>),
    /// A type, by its name.
    Type(Arc<str>),
    /// An object that an expression made: `Object.spec{...}`.
    Struct(Arc<Struct<'a>>),
    /// An address.
    Ip(Ip),
    /// A network.
    Cidr(Cidr),
    /// A URL.
    Url(Arc<Url>),
    /// A quantity.
    Quantity(Arc<Quantity>),
    /// A version.
    Semver(Arc<Semver>),
    /// A named format.
    Format(&'static Format),
    /// A question to the authorizer, or its answer.
    Authz(Arc<Authz>),
}

/// Text, borrowed or shared.
#[derive(Clone)]
pub enum Text<'a> {
    /// Of the JSON.
    Borrowed(&'a str),
    /// Of the program or made by it.
    Shared(Arc<str>),
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A list of JSON, with what its schema says, or one that was made.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// Wrapped when it is looked at.
    Json(&'a [Json], Option<&'a Decl>),
    /// Made by an expression.
    Owned(Arc<Vec<Value<'a>>>),
}

/// A map of JSON, with what its schema says, or one that was made.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// Wrapped when it is looked at.
    Json(&'a serde_json::Map<String, Json>, Option<&'a Decl>),
    /// Made by an expression.
    Owned(Arc<BTreeMap<Key, Value<'a>>>),
}

/// An object with a type's name.
#[derive(Debug, Clone)]
pub struct Struct<'a> {
    /// `Object.spec`, `JSONPatch`.
    pub name: Arc<str>,
    /// What was set.
    pub fields: BTreeMap<String, Value<'a>>,
}

/// The key of a map. Numbers are one key where they are equal.
#[derive(Debug, Clone)]
pub enum Key {
    /// A truth value.
    Bool(bool),
    /// A number with a sign.
    Int(i64),
    /// A number without.
    Uint(u64),
    /// Text.
    String(Arc<str>),
}

impl Key {
    fn rank(&self) -> (u8, i128, &str) {
        match self {
            Self::Bool(value) => (0, i128::from(*value), ""),
            Self::Int(number) => (1, i128::from(*number), ""),
            Self::Uint(number) => (1, i128::from(*number), ""),
            Self::String(text) => (2, 0, text),
        }
    }

    /// The key that a value is; none where no map has such keys.
    pub(crate) fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Int(number) => Some(Self::Int(*number)),
            Value::Uint(number) => Some(Self::Uint(*number)),
            Value::String(text) => Some(Self::String(text.to_shared())),
            _ => None,
        }
    }

    /// As [`Self::of`], and whole doubles find numbers.
    pub(crate) fn to_find(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Double(number) if number.fract() == 0.0 && number.abs() < 9.2e18 => Some(Self::Int(*number as i64)),
            other => Self::of(other),
        }
    }

    pub(crate) fn to_value<'a>(&self) -> Value<'a> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(number) => Value::Int(*number),
            Self::Uint(number) => Value::Uint(*number),
            Self::String(text) => Value::String(Text::Shared(text.clone())),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl Text<'_> {
    pub(crate) fn to_shared(&self) -> Arc<str> {
        match self {
            Self::Borrowed(text) => (*text).into(),
            Self::Shared(text) => text.clone(),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(Text::Shared(text.into()))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl<'a> From<Vec<Value<'a>>> for Value<'a> {
    fn from(values: Vec<Value<'a>>) -> Self {
        Self::List(List::Owned(Arc::new(values)))
    }
}

impl<'a> Value<'a> {
    /// JSON as it is, without a schema. Whole numbers that no signed integer holds are doubles.
    pub fn from_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Self::Int(number),
                None => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::String(Text::Borrowed(text)),
            Json::Array(items) => Self::List(List::Json(items, None)),
            Json::Object(fields) => Self::Map(Map::Json(fields, None)),
        }
    }

    /// JSON as its schema says: dates are timestamps, bytes decoded, numbers doubles. What does not fit the schema is
    /// an error where it is used.
    pub fn typed(json: &'a Json, decl: &'a Decl) -> Result<Self, EvalError> {
        match (json, &decl.shape) {
            (Json::Null, _) => Ok(Self::Null),
            (Json::Array(items), Shape::List { .. }) => Ok(Self::List(List::Json(items, Some(decl)))),
            (Json::Object(fields), Shape::Map { .. } | Shape::Object { .. }) => {
                Ok(Self::Map(Map::Json(fields, Some(decl))))
            }
            (Json::Number(number), Shape::Double) => Ok(Self::Double(number.as_f64().unwrap_or(f64::NAN))),
            (Json::Number(number), Shape::Int) => match number.as_i64() {
                Some(number) => Ok(Self::Int(number)),
                None => Err(EvalError::new(format!("invalid data, expected int, got {number}"))),
            },
            (Json::String(text), Shape::Bytes | Shape::Duration | Shape::Date | Shape::DateTime) => {
                decl.text_value(text)
            }
            (json, Shape::Dyn) => Ok(Self::from_json(json)),
            (Json::Bool(_), Shape::Bool) | (Json::String(_), Shape::String) => Ok(Self::from_json(json)),
            (json, _) => {
                let found = match json {
                    Json::Bool(_) => "bool",
                    Json::Number(_) => "number",
                    Json::String(_) => "string",
                    Json::Array(_) => "list",
                    _ => "map",
                };
                Err(EvalError::new(format!("invalid data, expected {}, got {found}", decl.shape.name())))
            }
        }
    }

    fn wrap(json: &'a Json, decl: Option<&'a Decl>) -> Result<Self, EvalError> {
        match decl {
            Some(decl) => Self::typed(json, decl),
            None => Ok(Self::from_json(json)),
        }
    }

    pub(crate) fn shared(text: &str) -> Self {
        Self::String(Text::Shared(text.into()))
    }

    pub(crate) fn some(value: Value<'a>) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// The name of the value's type: `int`, `list`, `google.protobuf.Duration`.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Struct(value) => &value.name,
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Authz(value) => value.type_name(),
        }
    }

    /// Elements, entries or code points; 1 for what has no parts. Costs are counted by it.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::String(text) => text.chars().count() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
            Self::Optional(Some(value)) => value.size(),
            Self::Ip(ip) => ip.length_bytes(),
            Self::Cidr(cidr) => cidr.prefix_bytes(),
            _ => 1,
        }
    }

    /// JSON of the value: durations and timestamps as their text, bytes in base64, optional none as null. What a value
    /// has twice is there twice, up to about the largest request.
    ///
    /// # Errors
    /// For what JSON cannot say: types, NaN, addresses and other opaque values, what does not fit its schema and what is
    /// too large.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        let mut left_bytes = MAX_REQUEST_BYTES;
        self.json_within(&mut left_bytes)
    }

    fn json_within(&self, left_bytes: &mut u64) -> Result<Json, EvalError> {
        use base64::Engine;
        let own_bytes = match self {
            Self::String(text) => text.len() as u64,
            Self::Bytes(bytes) => bytes.len() as u64 / 3 * 4,
            // What is JSON is part of a request or a stored object, and at least as large as its outermost part.
            Self::List(List::Json(items, _)) => items.iter().map(json_bytes).sum(),
            Self::Map(Map::Json(fields, _)) => {
                fields.iter().map(|(name, value)| name.len() as u64 + json_bytes(value)).sum()
            }
            _ => 0,
        };
        *left_bytes = left_bytes
            .checked_sub(own_bytes + 1)
            .ok_or_else(|| EvalError::new(format!("the value has more than {MAX_REQUEST_BYTES} bytes as JSON")))?;
        match self {
            Self::Null | Self::Optional(None) => Ok(Json::Null),
            Self::Bool(value) => Ok(Json::Bool(*value)),
            Self::Int(number) => Ok((*number).into()),
            Self::Uint(number) => Ok((*number).into()),
            Self::Double(number) => serde_json::Number::from_f64(*number)
                .map(Json::Number)
                .ok_or_else(|| EvalError::new("NaN and infinity are no JSON")),
            Self::String(text) => Ok(Json::String(text.to_string())),
            Self::Bytes(bytes) => Ok(base64::engine::general_purpose::STANDARD.encode(bytes).into()),
            Self::Timestamp(_) | Self::Duration(_) => Ok(Json::String(crate::library::text_of(self)?)),
            Self::List(List::Json(items, _)) => Ok(Json::Array(items.to_vec())),
            Self::List(list) => list
                .iter()
                .map(|value| value.and_then(|value| value.json_within(left_bytes)))
                .collect::<Result<_, _>>()
                .map(Json::Array),
            Self::Map(Map::Json(fields, _)) => Ok(Json::Object((*fields).clone())),
            Self::Map(Map::Owned(entries)) => entries
                .iter()
                .map(|(key, value)| match key {
                    Key::String(key) => Ok((key.to_string(), value.json_within(left_bytes)?)),
                    _ => Err(EvalError::new("keys of JSON are strings")),
                })
                .collect::<Result<_, _>>()
                .map(Json::Object),
            Self::Struct(object) => object
                .fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), value.json_within(left_bytes)?)))
                .collect::<Result<_, _>>()
                .map(Json::Object),
            Self::Optional(Some(value)) => value.json_within(left_bytes),
            other => Err(EvalError::new(format!("type conversion error from '{}' to JSON", other.type_name()))),
        }
    }
}

/// About how many bytes JSON has as text; it is no deeper than what the parser takes.
fn json_bytes(json: &Json) -> u64 {
    1 + match json {
        Json::String(text) => text.len() as u64,
        Json::Array(items) => items.iter().map(json_bytes).sum(),
        Json::Object(fields) => fields.iter().map(|(name, value)| name.len() as u64 + json_bytes(value)).sum(),
        _ => 0,
    }
}

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(items, _) => items.len(),
            Self::Owned(items) => items.len(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Self::Json(items, decl) => Some(Value::wrap(items.get(index)?, decl.and_then(Decl::items))),
            Self::Owned(items) => items.get(index).cloned().map(Ok),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Every element.
    pub(crate) fn to_vec(&self) -> Result<Vec<Value<'a>>, EvalError> {
        match self {
            Self::Owned(items) => Ok(items.to_vec()),
            json => json.iter().collect(),
        }
    }
}

impl<'a> Map<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(fields, _) => fields.len(),
            Self::Owned(entries) => entries.len(),
        }
    }

    /// The value of a key. Fields of an object of a schema go by the names that expressions use.
    pub(crate) fn get(&self, key: &Key) -> Option<Result<Value<'a>, EvalError>> {
        match (self, key) {
            (Self::Owned(entries), key) => entries.get(key).cloned().map(Ok),
            (Self::Json(..), Key::String(name)) => self.field(name),
            _ => None,
        }
    }

    /// As [`Self::get`], of a name.
    pub(crate) fn field(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Self::Json(fields, None) => fields.get(name).map(|json| Ok(Value::from_json(json))),
            Self::Json(fields, Some(decl)) => {
                let (name, decl) = decl.field(name)?;
                Some(Value::typed(fields.get(name)?, decl))
            }
            Self::Owned(entries) => entries.get(&Key::String(name.into())).cloned().map(Ok),
        }
    }

    /// Every key; of an object of a schema, those that the schema knows.
    pub(crate) fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Self::Json(fields, decl) => {
                let keys = fields.iter().map(|(name, _)| name.as_str());
                match decl.filter(|decl| matches!(decl.shape, Shape::Object { .. })) {
                    None => keys.map(Value::from).collect(),
                    Some(decl) => keys.filter_map(|name| decl.escaped(name)).map(Value::from).collect(),
                }
            }
            Self::Owned(entries) => entries.keys().map(Key::to_value).collect(),
        }
    }
}
