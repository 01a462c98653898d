//! Answers in protobuf: the JSON of an object as the message that Go clients read, by the kind's schema and the table
//! of field numbers.
//!
//! Fields that the table does not number (alpha ones) are left out, as they are of bodies.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use api::resource::Resource;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use machinery::schema::{Definitions, Schema, Type};
use machinery::{meta, table};
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::Value;

use super::{DEPTH_MAX, FIELDS, MAGIC, Outcome, message_name, roots, unions};

/// What `metadata` of a list and an object are.
const METADATA: u32 = 1;
const ITEMS: u32 = 2;

/// The numbers of a message's fields.
#[derive(Default)]
struct Numbers {
    by_name: HashMap<&'static str, u32>,
    /// Messages whose fields stand in the parent's place in JSON.
    inlined: Vec<(u32, &'static str)>,
}

/// By message. The same table as for reading, the other way round.
static NUMBERS: LazyLock<HashMap<&'static str, Numbers>> = LazyLock::new(|| {
    let numbers = |fields: &HashMap<u32, super::Known>| {
        let mut numbers = Numbers::default();
        for (number, known) in fields {
            match known.inlined {
                Some(message) => numbers.inlined.push((*number, message)),
                None => drop(numbers.by_name.insert(known.name, *number)),
            }
        }
        numbers
    };
    FIELDS.iter().map(|(message, fields)| (*message, numbers(fields))).collect()
});

/// Whether objects of the resource can be answered in protobuf.
pub fn speaks(resource: &Resource) -> bool {
    resource.custom().is_none() && NUMBERS.contains_key(message_name(&resource.schema_name).as_str())
}

/// An object, a list of objects, their metadata, or a Status, in the envelope that says what it is.
///
/// # Errors
/// What has no message.
pub fn encode(value: &Value) -> Outcome<Vec<u8>> {
    let (api_version, kind) = (meta::api_version(value), meta::kind(value));
    let raw = if api_version == table::API_VERSION && kind.starts_with("PartialObjectMetadata") {
        partial(value)?
    } else if let Some((name, definitions)) = roots::find(api_version, kind) {
        Encoder { definitions }.root(name, value)?
    } else {
        let of = kind.strip_suffix("List").and_then(|kind| roots::find(api_version, kind));
        let (name, definitions) = of.ok_or_else(|| format!("{kind} of {api_version} has no protobuf form"))?;
        let encoder = Encoder { definitions };
        list(value, |item| encoder.root(name, item))?
    };
    let mut type_meta = Vec::new();
    put(&mut type_meta, 1, api_version.as_bytes());
    put(&mut type_meta, 2, kind.as_bytes());
    let mut out = Vec::with_capacity(raw.len() + type_meta.len() + 16);
    out.extend_from_slice(MAGIC);
    put(&mut out, 1, &type_meta);
    put(&mut out, 2, &raw);
    Ok(out)
}

/// An event of a watch: its length, its type and the object in an envelope of its own.
///
/// # Errors
/// What has no message, and more than four gigabytes.
pub fn watch_event(type_: &str, object: &Value) -> Outcome<Vec<u8>> {
    let (mut event, mut extension) = (Vec::new(), Vec::new());
    put(&mut extension, 1, &encode(object)?);
    put(&mut event, 1, type_.as_bytes());
    put(&mut event, 2, &extension);
    let length = u32::try_from(event.len()).map_err(|_| "an event is too long".to_string())?;
    Ok([&length.to_be_bytes()[..], &event].concat())
}

pub(super) fn put(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

pub(super) fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    encode_key(number, WireType::Varint, out);
    encode_varint(value, out);
}

fn list(value: &Value, item: impl Fn(&Value) -> Outcome<Vec<u8>>) -> Outcome<Vec<u8>> {
    const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
    let definitions = roots::status();
    let mut out = Vec::new();
    put(&mut out, METADATA, &Encoder { definitions }.root(LIST_META, &value["metadata"])?);
    for one in value["items"].as_array().into_iter().flatten() {
        put(&mut out, ITEMS, &item(one)?);
    }
    Ok(out)
}

/// PartialObjectMetadata, or a list of them.
fn partial(value: &Value) -> Outcome<Vec<u8>> {
    let (_, definitions) = roots::find("autoscaling/v1", "Scale").ok_or("Scale is not served")?;
    let encoder = Encoder { definitions };
    let one = |value: &Value| {
        let mut out = Vec::new();
        put(&mut out, METADATA, &encoder.root("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", &value["metadata"])?);
        Ok(out)
    };
    if meta::kind(value).ends_with("List") { list(value, one) } else { one(value) }
}

pub(super) struct Encoder<'a> {
    definitions: &'a Definitions,
}

impl Encoder<'_> {
    /// The message of the schema called `name`.
    fn root(&self, name: &str, value: &Value) -> Outcome<Vec<u8>> {
        let schema = self.definitions.0.get(name).ok_or_else(|| format!("{name} has no schema"))?;
        let Some(object) = value.as_object() else { return Ok(Vec::new()) };
        let fields: Vec<(&String, &Value)> = object.iter().collect();
        self.message(&message_name(name), schema, &fields, 0)
    }

    fn message(&self, name: &str, schema: &Schema, values: &[(&String, &Value)], depth: usize) -> Outcome<Vec<u8>> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deep".to_string());
        }
        let Type::Object { fields, .. } = &self.definitions.resolve(schema).type_ else {
            return Err(format!("{name} is no object"));
        };
        let numbers = NUMBERS.get(name).ok_or_else(|| format!("{name} is not known"))?;
        let mut out = Vec::new();
        let mut inlined: BTreeMap<(u32, &str), Vec<(&String, &Value)>> = BTreeMap::new();
        for (json, value) in values.iter().filter(|(_, value)| !value.is_null()) {
            let lower = table_name(json);
            match (numbers.by_name.get(lower.as_str()), fields.get(*json)) {
                (Some(number), Some(field)) => self.field(*number, field, value, &mut out, depth)?,
                (None, Some(_)) => {
                    let parent = numbers.inlined.iter().find(|(_, message)| has(message, &lower, depth));
                    parent.into_iter().for_each(|part| inlined.entry(*part).or_default().push((json, value)));
                }
                (_, None) => {}
            }
        }
        for ((number, message), values) in inlined {
            put(&mut out, number, &self.message(message, schema, &values, depth + 1)?);
        }
        Ok(out)
    }

    fn field(&self, number: u32, schema: &Schema, value: &Value, out: &mut Vec<u8>, depth: usize) -> Outcome<()> {
        match (&self.definitions.resolve(schema).type_, value) {
            (Type::List { items, .. }, Value::Array(list)) => {
                list.iter().try_for_each(|item| self.value(number, items, item, out, depth))
            }
            (Type::Map { values, .. }, Value::Object(map)) => {
                for (key, value) in map {
                    let mut entry = Vec::new();
                    put(&mut entry, 1, key.as_bytes());
                    // A time that was never is null in JSON and empty here.
                    if !value.is_null() {
                        self.value(2, values, value, &mut entry, depth)?;
                    }
                    put(out, number, &entry);
                }
                Ok(())
            }
            _ => self.value(number, schema, value, out, depth),
        }
    }

    /// One value of a field, a list or a map.
    pub(super) fn value(
        &self,
        number: u32,
        schema: &Schema,
        value: &Value,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Outcome<()> {
        let own_name = match &schema.type_ {
            Type::Reference(name) => name.as_ref(),
            _ => "",
        };
        let resolved = self.definitions.resolve(schema);
        match (&resolved.type_, value) {
            (Type::Object { .. }, Value::Object(object)) => {
                let (name, fields) = (message_name(own_name), object.iter().collect::<Vec<_>>());
                // An alpha field's message may have no numbers either.
                if NUMBERS.contains_key(name.as_str()) {
                    put(out, number, &self.message(&name, resolved, &fields, depth + 1)?);
                }
            }
            // A message around a list, such as ExtraValue.
            (Type::List { items, .. }, Value::Array(list)) => {
                let mut inner = Vec::new();
                list.iter().try_for_each(|item| self.value(1, items, item, &mut inner, depth + 1))?;
                put(out, number, &inner);
            }
            (Type::Any, value) if unions::is_one(own_name) => {
                put(out, number, &self.union(own_name, value, depth)?);
            }
            (Type::Any | Type::Map { .. }, value) => {
                let mut raw = Vec::new();
                put(&mut raw, 1, value.to_string().as_bytes());
                put(out, number, &raw);
            }
            (type_, value) => scalar(number, own_name, type_, value, out)?,
        }
        Ok(())
    }
}

/// A JSON name as the table has it.
fn table_name(json: &str) -> String {
    json.trim_start_matches('$').chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether a message has a field, of its own or of what is inlined in it.
fn has(message: &str, lower: &str, depth: usize) -> bool {
    let Some(numbers) = NUMBERS.get(message) else { return false };
    numbers.by_name.contains_key(lower)
        || depth < DEPTH_MAX && numbers.inlined.iter().any(|(_, inner)| has(inner, lower, depth + 1))
}

fn scalar(number: u32, type_name: &str, type_: &Type, value: &Value, out: &mut Vec<u8>) -> Outcome<()> {
    let wrong = || format!("a value has another form than its type {type_name}");
    match (type_, value) {
        (Type::Boolean, Value::Bool(value)) => put_number(out, number, u64::from(*value)),
        (Type::Integer { .. }, value) => put_number(out, number, value.as_i64().ok_or_else(wrong)? as u64),
        (Type::Number { .. }, value) => {
            encode_key(number, WireType::SixtyFourBit, out);
            out.extend_from_slice(&value.as_f64().ok_or_else(wrong)?.to_le_bytes());
        }
        (Type::IntOrString, value) if !type_name.ends_with(".Quantity") => {
            let text = value.as_str();
            let whole = if text.is_some() { 0 } else { value.as_i64().ok_or_else(wrong)? };
            let mut inner = Vec::new();
            // All three, as Go does.
            put_number(&mut inner, 1, u64::from(text.is_some()));
            put_number(&mut inner, 2, whole as u64);
            put(&mut inner, 3, text.unwrap_or_default().as_bytes());
            put(out, number, &inner);
        }
        (Type::String { .. } | Type::IntOrString, Value::String(text)) => {
            put(out, number, &text_of(type_name, type_, text).ok_or_else(wrong)?);
        }
        _ => return Err(wrong()),
    }
    Ok(())
}

/// A text, or what JSON has as text and protobuf has not: bytes, times, quantities.
fn text_of(type_name: &str, type_: &Type, text: &str) -> Option<Vec<u8>> {
    let format = match type_ {
        Type::String { format } => format.as_deref().unwrap_or_default(),
        _ => "",
    };
    let is_time = format.starts_with("date-time") || format == "micro-time" || type_name.ends_with("v1.Time");
    if format == "byte" {
        return STANDARD.decode(text.replace(['\r', '\n'], "")).ok();
    }
    let mut inner = Vec::new();
    if is_time || type_name.ends_with("MicroTime") {
        let time: Timestamp = text.parse().ok()?;
        put_number(&mut inner, 1, time.as_second() as u64);
        put_number(&mut inner, 2, time.subsec_nanosecond() as u64);
        return Some(inner);
    }
    if format == "quantity" || type_name.ends_with(".Quantity") {
        put(&mut inner, 1, text.as_bytes());
        return Some(inner);
    }
    Some(text.as_bytes().to_vec())
}
