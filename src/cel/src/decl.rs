//! What structural schemas say to expressions: types, names of fields, and how large values can get.
//!
//! A [`Decl`] is made once of the OpenAPI schema of a node. Fields whose type it does not tell are left out, as
//! Kubernetes does: an expression cannot reach them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Map as JsonMap, Value as Json};

use crate::error::EvalError;
use crate::names::escape;
use crate::time;
use crate::types::{ObjectType, Type};
use crate::value::{Text, Value};

/// The largest request that is taken; bounds what no schema bounds.
pub(crate) const MAX_REQUEST_BYTES: u64 = 3 * 1024 * 1024;
/// Schemas within schemas; what JSON parsers here take.
const MAX_DEPTH: usize = 128;

/// `metadata.name` and `metadata.generateName` are no longer.
const MAX_NAME_LENGTH: u64 = 253;

/// The declaration of one node of a schema.
#[derive(Debug)]
pub struct Decl {
    pub(crate) shape: Shape,
    /// The most elements, entries, or bytes of text; 0 for what has none, as Kubernetes counts.
    pub(crate) max_elements: u64,
    /// The fewest bytes of its JSON.
    pub(crate) min_bytes: u64,
    /// Its type as the root of expressions: many rules stand at one node.
    type_: OnceLock<Type>,
}

#[derive(Debug)]
pub(crate) enum Shape {
    Dyn,
    Bool,
    Int,
    Double,
    String,
    Bytes,
    Duration,
    Date,
    DateTime,
    List { items: Arc<Decl>, kind: ListKind },
    Map { values: Arc<Decl> },
    Object { fields: BTreeMap<String, FieldDecl>, escaped: BTreeMap<String, String> },
}

/// `x-kubernetes-list-type`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListKind {
    Atomic,
    Set,
    /// Told apart by these fields, in order.
    Map(Vec<String>),
}

#[derive(Debug)]
pub(crate) struct FieldDecl {
    /// As JSON has it.
    pub name: String,
    pub decl: Arc<Decl>,
}

impl Shape {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Dyn => "dyn",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "duration",
            Self::Date | Self::DateTime => "timestamp",
            Self::List { .. } => "list",
            Self::Map { .. } => "map",
            Self::Object { .. } => "object",
        }
    }
}

impl Decl {
    /// The declaration of an OpenAPI v3 schema (`openAPIV3Schema` and its parts). Roots of resources have
    /// `apiVersion`, `kind` and `metadata` with `name` and `generateName`, whatever they say. None where the schema
    /// tells no type.
    pub fn from_openapi(schema: &Json, is_resource: bool) -> Option<Arc<Self>> {
        build(schema, is_resource, 0)
    }

    /// The type of the node where expressions begin with it.
    pub(crate) fn own_type(&self) -> Type {
        self.type_.get_or_init(|| self.type_of("object")).clone()
    }

    /// The type of the node, called `name` in messages.
    pub fn type_of(&self, name: &str) -> Type {
        match &self.shape {
            Shape::Dyn => Type::Dyn,
            Shape::Bool => Type::Bool,
            Shape::Int => Type::Int,
            Shape::Double => Type::Double,
            Shape::String => Type::String,
            Shape::Bytes => Type::Bytes,
            Shape::Duration => Type::Duration,
            Shape::Date | Shape::DateTime => Type::Timestamp,
            Shape::List { items, .. } => Type::list(items.type_of(&format!("{name}.@idx"))),
            Shape::Map { values } => Type::map(Type::String, values.type_of(&format!("{name}.@elem"))),
            Shape::Object { fields, .. } => {
                let fields = fields
                    .iter()
                    .map(|(field, decl)| (field.clone(), decl.decl.type_of(&format!("{name}.{field}"))))
                    .collect();
                Type::Object(Arc::new(ObjectType { name: name.into(), fields, is_open: false }))
            }
        }
    }

    pub(crate) fn items(&self) -> Option<&Decl> {
        match &self.shape {
            Shape::List { items, .. } => Some(items),
            _ => None,
        }
    }

    pub(crate) fn list_kind(&self) -> &ListKind {
        match &self.shape {
            Shape::List { kind, .. } => kind,
            _ => &ListKind::Atomic,
        }
    }

    /// The JSON name and declaration of a field or of a map's value.
    pub(crate) fn field<'n, 'a: 'n>(&'a self, name: &'n str) -> Option<(&'n str, &'a Decl)> {
        match &self.shape {
            Shape::Object { fields, .. } => fields.get(name).map(|field| (field.name.as_str(), &*field.decl)),
            Shape::Map { values } => Some((name, values)),
            _ => None,
        }
    }

    /// What expressions call a field.
    pub(crate) fn escaped(&self, json_name: &str) -> Option<&str> {
        match &self.shape {
            Shape::Object { escaped, .. } => escaped.get(json_name).map(String::as_str),
            _ => None,
        }
    }

    /// The declaration of a part: a field by its JSON name.
    pub(crate) fn child(&self, json_name: &str) -> Option<&Arc<Decl>> {
        match &self.shape {
            Shape::Object { fields, escaped } => fields.get(escaped.get(json_name)?).map(|field| &field.decl),
            Shape::Map { values } => Some(values),
            _ => None,
        }
    }

    /// The value of a text with a format.
    pub(crate) fn text_value<'a>(&self, text: &'a str) -> Result<Value<'a>, EvalError> {
        use base64::Engine;
        let invalid = |what: &str| EvalError::new(format!("invalid data, {what} string is malformed: {text:?}"));
        match &self.shape {
            Shape::Bytes => base64::engine::general_purpose::STANDARD
                .decode(text)
                .map(|bytes| Value::Bytes(bytes.into()))
                .map_err(|_| invalid("byte")),
            Shape::Duration => {
                time::Duration::parse_openapi(text).map(Value::Duration).map_err(|_| invalid("duration"))
            }
            Shape::Date => {
                time::read_date(text).and_then(time::start_of).map(Value::Timestamp).ok_or_else(|| invalid("date"))
            }
            Shape::DateTime => time::parse_timestamp(text).map(Value::Timestamp).map_err(|_| invalid("date-time")),
            _ => Ok(Value::String(Text::Borrowed(text))),
        }
    }
}

fn number(schema: &Json, name: &str) -> Option<u64> {
    let number = schema.get(name)?;
    number
        .as_u64()
        .or_else(|| number.as_i64().map(|number| number.max(0) as u64))
        .or_else(|| number.as_f64().map(|number| number as u64))
}

fn is_set(schema: &Json, name: &str) -> bool {
    schema.get(name).and_then(Json::as_bool) == Some(true)
}

fn simple(shape: Shape, min_bytes: u64, max_elements: u64) -> Option<Arc<Decl>> {
    Some(Arc::new(Decl { shape, max_elements, min_bytes, type_: OnceLock::new() }))
}

fn build(schema: &Json, is_resource: bool, depth: usize) -> Option<Arc<Decl>> {
    if depth > MAX_DEPTH {
        return None;
    }
    if is_set(schema, "x-kubernetes-int-or-string") {
        return simple(Shape::Dyn, 1, text_bound(schema));
    }
    match schema.get("type").and_then(Json::as_str)? {
        "array" => list(schema, depth),
        "object" => match schema.get("additionalProperties").filter(|values| values.is_object()) {
            Some(values) if !is_resource => map(schema, values, depth),
            _ => object(schema, is_resource, depth),
        },
        "string" => text(schema),
        "boolean" => simple(Shape::Bool, 4, 0),
        "number" => simple(Shape::Double, 1, 0),
        "integer" => simple(Shape::Int, 1, 0),
        _ => None,
    }
}

fn text_bound(schema: &Json) -> u64 {
    match number(schema, "maxLength") {
        // A code point has up to four bytes.
        Some(length) => length.saturating_mul(4),
        None => MAX_REQUEST_BYTES - 2,
    }
}

fn text(schema: &Json) -> Option<Arc<Decl>> {
    match schema.get("format").and_then(Json::as_str) {
        Some("byte") => simple(Shape::Bytes, 2, number(schema, "maxLength").unwrap_or(MAX_REQUEST_BYTES - 2)),
        Some("duration") => simple(Shape::Duration, 3, 32),
        Some("date") => simple(Shape::Date, 12, 12),
        Some("date-time") => simple(Shape::DateTime, 21, 32),
        _ => {
            let values = schema.get("enum").and_then(Json::as_array).filter(|values| !values.is_empty());
            let longest = values.map(|values| values.iter().filter_map(Json::as_str).map(str::len).max().unwrap_or(0));
            let max = match longest {
                Some(longest) if number(schema, "maxLength").is_none() => longest as u64,
                _ => text_bound(schema),
            };
            simple(Shape::String, 2, max)
        }
    }
}

fn list(schema: &Json, depth: usize) -> Option<Arc<Decl>> {
    let items_schema = schema.get("items")?;
    let items = build(items_schema, is_set(items_schema, "x-kubernetes-embedded-resource"), depth + 1)?;
    let max = number(schema, "maxItems").unwrap_or((MAX_REQUEST_BYTES - 2) / (items.min_bytes + 1));
    let kind = match schema.get("x-kubernetes-list-type").and_then(Json::as_str) {
        Some("set") => ListKind::Set,
        Some("map") => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Json::as_array);
            ListKind::Map(keys.into_iter().flatten().filter_map(Json::as_str).map(str::to_string).collect())
        }
        _ => ListKind::Atomic,
    };
    simple(Shape::List { items, kind }, 2, max)
}

fn map(schema: &Json, values: &Json, depth: usize) -> Option<Arc<Decl>> {
    let values = build(values, is_set(values, "x-kubernetes-embedded-resource"), depth + 1)?;
    let max = number(schema, "maxProperties").unwrap_or((MAX_REQUEST_BYTES - 2) / (values.min_bytes + 6));
    simple(Shape::Map { values }, 2, max)
}

fn object(schema: &Json, is_resource: bool, depth: usize) -> Option<Arc<Decl>> {
    let none = JsonMap::new();
    let mut properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&none).clone();
    if is_resource {
        add_resource_fields(&mut properties);
    }
    let required: Vec<&str> =
        schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    let (mut fields, mut escaped_names) = (BTreeMap::new(), BTreeMap::new());
    let mut min_bytes = 2;
    for (name, property) in &properties {
        let is_embedded = is_set(property, "x-kubernetes-embedded-resource");
        let Some(decl) = build(property, is_embedded, depth + 1) else { continue };
        if required.contains(&name.as_str()) && property.get("default").is_none() {
            min_bytes += name.len() as u64 + decl.min_bytes + 4;
        }
        if let Some(escaped) = escape(name) {
            escaped_names.insert(name.clone(), escaped.clone());
            fields.insert(escaped, FieldDecl { name: name.clone(), decl });
        }
    }
    simple(Shape::Object { fields, escaped: escaped_names }, min_bytes, 0)
}

/// What every resource has; of the metadata, only names can be reached.
fn add_resource_fields(properties: &mut JsonMap<String, Json>) {
    let text = serde_json::json!({"type": "string"});
    let capped = |name: &str, properties: &JsonMap<String, Json>, max: u64| {
        let declared = properties.get("metadata").and_then(|metadata| metadata.pointer(&format!("/properties/{name}")));
        let max = declared.and_then(|schema| number(schema, "maxLength")).map_or(max, |declared| declared.min(max));
        serde_json::json!({"type": "string", "maxLength": max})
    };
    let name = capped("name", properties, MAX_NAME_LENGTH);
    let generate_name = capped("generateName", properties, MAX_NAME_LENGTH - 1);
    properties.insert("kind".into(), text.clone());
    properties.insert("apiVersion".into(), text);
    let metadata = serde_json::json!({"type": "object", "properties": {"name": name, "generateName": generate_name}});
    properties.insert("metadata".into(), metadata);
}
