//! protobuf's wire form, and the values that Kubernetes writes in forms of their own: times, quantities, numbers or
//! strings, raw JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use machinery::schema::Type;
use machinery::strict;
use serde_json::{Number, Value};

/// One field as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field<'a> {
    /// A whole number or a boolean.
    Varint(u64),
    /// Eight bytes: a double.
    Fixed64(u64),
    /// Four bytes.
    Fixed32(u32),
    /// Text, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
}

/// The fields of a message in order.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The fields of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or("it ends within a number")?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is too long")
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], &'static str> {
        let count = usize::try_from(count).map_err(|_| "a field is too long")?;
        if count > self.rest.len() {
            return Err("it ends within a field");
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u32, Field<'a>), &'static str> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| "a field's number is too large")?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| "it ends within a field")?)),
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| "it ends within a field")?)),
            _ => return Err("a field has a form that is not known"),
        };
        Ok((number, field))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u32, Field<'a>), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// A JSON name is the one of the table: `clusterIPs` and `clusterips`.
pub fn is_same_name(json: &str, lower: &str) -> bool {
    let json = json.trim_start_matches('$').bytes().filter(|byte| *byte != b'-' && *byte != b'_');
    json.map(|byte| byte.to_ascii_lowercase()).eq(lower.bytes())
}

/// A zero that Go wrote because it writes every field.
pub fn means_not_set(zero_counts: bool, value: &Value) -> bool {
    if zero_counts {
        return value.is_null();
    }
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        // An empty metadata of a template and the like.
        Value::Object(_) | Value::Array(_) => false,
    }
}

/// A double as Go writes it in JSON: a whole number without a fraction.
fn double(value: f64) -> Value {
    /// Beyond it not every whole number is a double.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value.fract() == 0.0 && value.abs() <= EXACT_MAX {
        true => Value::from(value as i64),
        false => Number::from_f64(value).map_or(Value::Null, Value::Number),
    }
}

/// The elements of a list field, which may be packed into one where they are numbers.
pub fn unpacked<'a>(items: &Type, field: Field<'a>) -> Result<Vec<Field<'a>>, String> {
    match (items, field) {
        (Type::Integer { .. } | Type::Boolean, Field::Bytes(bytes)) => {
            let mut reader = Reader::new(bytes);
            let mut values = Vec::new();
            while !reader.rest.is_empty() {
                values.push(Field::Varint(reader.varint()?));
            }
            Ok(values)
        }
        (_, field) => Ok(vec![field]),
    }
}

/// Text.
pub fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_string())
}

/// JSON within a message: RawExtension, FieldsV1, JSON.
pub fn raw(bytes: &[u8]) -> Result<Value, String> {
    for field in Reader::new(bytes) {
        if let (1, Field::Bytes(json)) = field? {
            return strict::decode_json(json, json.len())
                .map(|decoded| decoded.value)
                .map_err(|error| error.to_string());
        }
    }
    Ok(Value::Null)
}

/// A value that is no object, list or map. `type_name` is the name of its type, where it has one.
pub fn scalar(name: &str, type_name: &str, type_: &Type, field: Field<'_>) -> Result<Value, String> {
    let wrong = || Err(format!("{name} has another form than its type"));
    match (type_, field) {
        (Type::Boolean, Field::Varint(value)) => Ok(Value::Bool(value != 0)),
        (Type::Integer { .. }, Field::Varint(value)) => Ok(Value::from(value as i64)),
        (Type::Number { .. }, Field::Fixed64(bits)) => Ok(double(f64::from_bits(bits))),
        (Type::Number { .. }, Field::Varint(value)) => Ok(Value::from(value as i64)),
        (Type::String { format }, Field::Bytes(bytes)) => match format.as_deref() {
            Some("byte") => Ok(Value::from(STANDARD.encode(bytes))),
            Some("date-time" | "date-time-micro" | "micro-time") => {
                time(type_name.ends_with("MicroTime") || is_micro(format.as_deref()), bytes)
            }
            Some("quantity") => Ok(Value::from(inner_text(bytes)?)),
            _ if type_name.ends_with(".Quantity") => Ok(Value::from(inner_text(bytes)?)),
            _ if type_name.ends_with("MicroTime") => time(true, bytes),
            _ if type_name.ends_with("v1.Time") => time(false, bytes),
            _ => Ok(Value::from(text(bytes)?)),
        },
        (Type::IntOrString, Field::Bytes(bytes)) if type_name.ends_with(".Quantity") => {
            Ok(Value::from(inner_text(bytes)?))
        }
        (Type::IntOrString, Field::Bytes(bytes)) => int_or_string(bytes),
        (Type::Any, Field::Bytes(bytes)) => raw(bytes),
        _ => wrong(),
    }
}

fn is_micro(format: Option<&str>) -> bool {
    matches!(format, Some("date-time-micro" | "micro-time"))
}

/// The only field of a message that wraps a text.
fn inner_text(bytes: &[u8]) -> Result<String, String> {
    for field in Reader::new(bytes) {
        if let (1, Field::Bytes(bytes)) = field? {
            return text(bytes);
        }
    }
    Ok(String::new())
}

fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut own_text) = (false, 0, String::new());
    for field in Reader::new(bytes) {
        match field? {
            (1, Field::Varint(kind)) => is_text = kind == 1,
            (2, Field::Varint(value)) => number = value as i64,
            (3, Field::Bytes(bytes)) => own_text = text(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { own_text.into() } else { number.into() })
}

fn time(micro: bool, bytes: &[u8]) -> Result<Value, String> {
    let (mut seconds, mut nanos) = (0i64, 0i32);
    for field in Reader::new(bytes) {
        match field? {
            (1, Field::Varint(value)) => seconds = value as i64,
            (2, Field::Varint(value)) => nanos = value as i32,
            _ => {}
        }
    }
    // Go's zero time, and nothing at all.
    if seconds <= -62_135_596_800 || bytes.is_empty() {
        return Ok(Value::Null);
    }
    let time = Timestamp::new(seconds, nanos).map_err(|_| "a time is out of range".to_string())?;
    Ok(Value::from(if micro { machinery::meta::format_micro_time(time) } else { machinery::meta::format_time(time) }))
}
