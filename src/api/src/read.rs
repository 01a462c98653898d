//! Reading fields of objects by dotted paths, for columns, selectors and validation.
//!
//! What is missing or of another type reads as nothing: schemas have been checked before.

use serde_json::{Map, Value};

static NULL: Value = Value::Null;

/// The value at a path of field names joined by dots; `null` where there is none. Keys with dots cannot be named.
pub(crate) fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').try_fold(object, |at, name| at.get(name)).unwrap_or(&NULL)
}

/// The string at `path`, or empty.
pub(crate) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).as_str().unwrap_or_default()
}

/// The whole number at `path`, or 0.
pub(crate) fn int(object: &Value, path: &str) -> i64 {
    at(object, path).as_i64().unwrap_or_default()
}

/// Whether `true` is at `path`.
pub(crate) fn flag(object: &Value, path: &str) -> bool {
    at(object, path) == &Value::Bool(true)
}

/// The list at `path`, or none.
pub(crate) fn list<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    at(object, path).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The strings of the list at `path`.
pub(crate) fn texts<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = &'a str> {
    list(object, path).iter().filter_map(Value::as_str)
}

/// The object at `path`, or an empty one.
pub(crate) fn map<'a>(object: &'a Value, path: &str) -> &'a Map<String, Value> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    at(object, path).as_object().unwrap_or(&EMPTY)
}

/// Whether a field is there: not missing and not `null`.
pub(crate) fn is_set(object: &Value, path: &str) -> bool {
    !at(object, path).is_null()
}

/// The scalar at `path` as field selectors compare it; a missing one is empty.
pub(crate) fn shown(object: &Value, path: &str) -> String {
    scalar(at(object, path))
}

/// A scalar as text; empty for anything else.
pub(crate) fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => String::new(),
    }
}

/// Equality as Kubernetes' controllers see it: what is missing, `null`, empty, zero or `false` is the same.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            left.iter().all(|(name, value)| same(value, right.get(name).unwrap_or(&NULL)))
                && right.iter().all(|(name, value)| left.contains_key(name) || is_zero(value))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (left, right) => left == right || (is_zero(left) && is_zero(right)),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.values().all(is_zero),
    }
}
