//! What decoding into typed structs would check and change: JSON types, and the canonical form of quantities and
//! times. Errors have the words of Go's decoder, since those are what kubectl's users know.

use jiff::Timestamp;
use serde_json::Value;

use super::{Definitions, Schema, Type};
use crate::meta;
use crate::quantity::Quantity;
use crate::trail::Trail;

/// A value of another type than its field's. The first that is found; decoding ends there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Another JSON type, or a number out of range.
    #[error("json: cannot unmarshal {found} into Go {target} of type {expected}")]
    Type {
        /// `string`, `number 1.5`, `object`.
        found: String,
        /// `struct field DeploymentSpec.spec.replicas`; `value` at the root.
        target: String,
        /// `int32`, `[]v1.Container`.
        expected: String,
    },
    /// No quantity.
    #[error(transparent)]
    Quantity(#[from] crate::quantity::ParseError),
    /// No base64.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// No point in time.
    #[error("parsing time {0:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse it")]
    Time(String),
}

/// Checks that every value has its field's type, and brings quantities and times into canonical form.
///
/// Run [`super::prune`] first: unknown fields are passed over and nulls taken for absent.
pub fn decode(value: &mut Value, schema: &Schema, definitions: &Definitions) -> Result<(), DecodeError> {
    Decoder { definitions }.value(value, schema, "", &Trail::Root)
}

struct Decoder<'a> {
    definitions: &'a Definitions,
}

impl Decoder<'_> {
    /// `owner` is the Go name of the struct whose field this is.
    fn value(&self, value: &mut Value, schema: &Schema, owner: &str, trail: &Trail<'_>) -> Result<(), DecodeError> {
        let resolved = self.definitions.resolve(schema);
        match (&resolved.type_, &mut *value) {
            (Type::Any, _) | (_, Value::Null) => return Ok(()),
            (Type::Object { fields, .. }, Value::Object(object)) => {
                let name = go_name(schema);
                for (key, value) in object.iter_mut() {
                    if let Some(field) = fields.get(key) {
                        self.value(value, field, name, &Trail::Key(trail, key))?;
                    }
                }
                return Ok(());
            }
            (Type::Map { values, .. }, Value::Object(object)) => {
                for (key, value) in object.iter_mut() {
                    self.value(value, values, owner, &Trail::Key(trail, key))?;
                }
                return Ok(());
            }
            (Type::List { items, .. }, Value::Array(list)) => {
                for (index, value) in list.iter_mut().enumerate() {
                    self.value(value, items, owner, &Trail::Index(trail, index))?;
                }
                return Ok(());
            }
            (Type::String { format }, _) => match format.as_deref() {
                Some("quantity") if value.is_string() || value.is_number() => return quantity(value),
                Some("byte") if value.is_string() => return base64_text(value.as_str().unwrap_or_default()),
                Some("date-time") if value.is_string() => return time(value, schema),
                _ if value.is_string() => return Ok(()),
                _ => {}
            },
            (Type::Boolean, Value::Bool(_)) | (Type::IntOrString, Value::String(_)) => return Ok(()),
            (Type::Integer { format }, Value::Number(number)) if fits(number, format.as_deref()) => return Ok(()),
            (Type::IntOrString, Value::Number(number)) if fits(number, Some("int32")) => return Ok(()),
            (Type::Number { .. }, Value::Number(_)) => return Ok(()),
            _ => {}
        }
        let target = match owner {
            "" => "value".to_string(),
            owner => format!("struct field {owner}.{}", trail.names()),
        };
        Err(DecodeError::Type { found: json_name(value), target, expected: self.go_type(schema) })
    }

    fn go_type(&self, schema: &Schema) -> String {
        let resolved = self.definitions.resolve(schema);
        match &resolved.type_ {
            Type::Object { .. } => qualified_go_name(schema),
            Type::Map { values, .. } => format!("map[string]{}", self.go_type(values)),
            Type::List { items, .. } => format!("[]{}", self.go_type(items)),
            Type::String { .. } => "string".to_string(),
            Type::Integer { format } => format.as_deref().unwrap_or("int64").to_string(),
            Type::Number { .. } => "float64".to_string(),
            Type::Boolean => "bool".to_string(),
            Type::IntOrString => "intstr.IntOrString".to_string(),
            Type::Any | Type::Reference(_) => "interface {}".to_string(),
        }
    }
}

/// `PodSpec` of `io.k8s.api.core.v1.PodSpec`; `Object` for a type without a name.
fn go_name(schema: &Schema) -> &str {
    match &schema.type_ {
        Type::Reference(name) => name.rsplit('.').next().unwrap_or(name),
        _ => "Object",
    }
}

/// `v1.PodSpec` of `io.k8s.api.core.v1.PodSpec`.
fn qualified_go_name(schema: &Schema) -> String {
    match &schema.type_ {
        Type::Reference(name) => {
            let mut parts = name.rsplitn(3, '.');
            match (parts.next(), parts.next()) {
                (Some(kind), Some(package)) => format!("{package}.{kind}"),
                _ => name.to_string(),
            }
        }
        _ => "map[string]interface {}".to_string(),
    }
}

fn json_name(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Bool(_) => "bool".to_string(),
        Value::Number(number) => match number.as_i64() {
            Some(number) if i32::try_from(number).is_ok() => "number".to_string(),
            _ => format!("number {number}"),
        },
        Value::String(_) => "string".to_string(),
        Value::Array(_) => "array".to_string(),
        Value::Object(_) => "object".to_string(),
    }
}

fn fits(number: &serde_json::Number, format: Option<&str>) -> bool {
    match (number.as_i64(), format) {
        (Some(number), Some("int32")) => i32::try_from(number).is_ok(),
        (Some(_), _) => true,
        (None, _) => false,
    }
}

fn quantity(value: &mut Value) -> Result<(), DecodeError> {
    let canonical = match &*value {
        Value::String(text) => text.parse::<Quantity>()?.to_string(),
        other => other.to_string().parse::<Quantity>()?.to_string(),
    };
    if value.as_str() != Some(canonical.as_str()) {
        *value = Value::String(canonical);
    }
    Ok(())
}

/// Standard base64 with padding. The position is that of the first byte that does not belong.
fn base64_text(text: &str) -> Result<(), DecodeError> {
    use base64::Engine;
    // Go's decoder passes over line ends.
    let decoded = if text.contains(['\r', '\n']) {
        base64::engine::general_purpose::STANDARD.decode(text.replace(['\r', '\n'], ""))
    } else {
        base64::engine::general_purpose::STANDARD.decode(text)
    };
    match decoded {
        Ok(_) => Ok(()),
        Err(base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _)) => {
            Err(DecodeError::Base64(at))
        }
        Err(_) => Err(DecodeError::Base64(text.len() / 4 * 4)),
    }
}

/// Clients write as many decimals as they like; what is kept and compared has those of the field's type.
fn time(value: &mut Value, schema: &Schema) -> Result<(), DecodeError> {
    let Some(text) = value.as_str() else { return Ok(()) };
    let time: Timestamp = text.parse().map_err(|_| DecodeError::Time(text.to_string()))?;
    let canonical = match &schema.type_ {
        Type::Reference(name) if name.ends_with(".MicroTime") => meta::format_micro_time(time),
        _ => meta::format_time(time),
    };
    if text != canonical {
        *value = Value::String(canonical);
    }
    Ok(())
}
