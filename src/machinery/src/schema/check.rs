//! Validating a value against everything a schema says: types, required fields, enums and bounds, with the errors
//! that the API server gives for custom resources.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Number, Value};

use super::{Definitions, ListKind, Schema, Type};
use crate::field::{FieldError, FieldErrors, Reason};
use crate::trail::Trail;

/// More errors than this help no one.
const MAX_ERRORS: usize = 100;

/// Everything about a value that its schema forbids. Unknown fields are [`super::prune`]'s.
pub fn check(value: &Value, schema: &Schema, definitions: &Definitions) -> FieldErrors {
    let mut checker = Checker { definitions, errors: Vec::new() };
    checker.value(value, schema, &Trail::Root);
    checker.errors
}

struct Checker<'a> {
    definitions: &'a Definitions,
    errors: FieldErrors,
}

impl Checker<'_> {
    fn value(&mut self, value: &Value, schema: &Schema, trail: &Trail<'_>) {
        let resolved = self.definitions.resolve(schema);
        if value.is_null() && (schema.nullable || resolved.nullable || matches!(resolved.type_, Type::Any)) {
            return;
        }
        if !has_type(value, &resolved.type_) {
            self.wrong_type(value, &resolved.type_, trail);
            return;
        }
        for schema in [Some(schema), (!std::ptr::eq(schema, resolved)).then_some(resolved)].into_iter().flatten() {
            self.enumeration(value, schema, trail);
            self.bounds(value, &schema.bounds, trail);
        }
        match (&resolved.type_, value) {
            (Type::Object { fields, required, .. }, Value::Object(object)) => {
                for name in required.iter().filter(|name| !object.contains_key(*name)) {
                    self.push(FieldError::required(&Trail::Key(trail, name).path(), ""));
                }
                for (name, value) in object {
                    if let Some(field) = fields.get(name) {
                        self.value(value, field, &Trail::Key(trail, name));
                    }
                }
            }
            (Type::Map { values, .. }, Value::Object(object)) => {
                for (key, value) in object {
                    self.value(value, values, &Trail::Key(trail, key));
                }
            }
            (Type::List { items, kind }, Value::Array(list)) => {
                for (index, value) in list.iter().enumerate() {
                    self.value(value, items, &Trail::Index(trail, index));
                }
                self.uniqueness(list, items, kind, trail);
            }
            _ => {}
        }
    }

    fn push(&mut self, error: FieldError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }

    fn wrong_type(&mut self, value: &Value, expected: &Type, trail: &Trail<'_>) {
        let found = type_name_of(value);
        let detail = format!("{} in body must be of type {}: {found:?}", body_name(trail), type_name(expected));
        let reason = if value.is_null() || !trail.is_root() { Reason::Invalid } else { Reason::TypeInvalid };
        self.push(FieldError { path: trail.path(), reason, value: found.into(), detail });
    }

    fn enumeration(&mut self, value: &Value, schema: &Schema, trail: &Trail<'_>) {
        if schema.enum_.is_empty() || schema.enum_.contains(value) {
            return;
        }
        let supported: Vec<String> = schema.enum_.iter().map(ToString::to_string).collect();
        self.push(FieldError {
            path: trail.path(),
            reason: Reason::NotSupported,
            value: value.clone(),
            detail: format!("supported values: {}", supported.join(", ")),
        });
    }

    fn bounds(&mut self, value: &Value, bounds: &BTreeMap<String, Value>, trail: &Trail<'_>) {
        if bounds.is_empty() {
            return;
        }
        let wrong = match value {
            Value::Number(number) => number_bounds(number, bounds),
            Value::String(text) => text_bounds(text, bounds),
            Value::Array(list) => count_bounds(list.len(), bounds, "minItems", "maxItems", "items"),
            Value::Object(object) => count_bounds(object.len(), bounds, "minProperties", "maxProperties", "properties"),
            _ => Vec::new(),
        };
        for (reason, detail) in wrong {
            let detail = format!("{} in body {detail}", body_name(trail));
            let value = if value.is_array() || value.is_object() { Value::Null } else { value.clone() };
            self.push(FieldError { path: trail.path(), reason, value, detail });
        }
    }

    /// Sets hold each value once, maps each key once.
    fn uniqueness(&mut self, list: &[Value], items: &Schema, kind: &ListKind, trail: &Trail<'_>) {
        let item = self.definitions.resolve(items);
        let identity = |value: &Value| -> Option<Value> {
            match kind {
                ListKind::Atomic => None,
                ListKind::Set => Some(value.clone()),
                ListKind::Map(keys) => Some(Value::Object(
                    keys.iter()
                        .filter_map(|key| {
                            let value = value.get(key).or_else(|| field_default(item, key))?;
                            Some((key.clone(), value.clone()))
                        })
                        .collect(),
                )),
            }
        };
        let mut seen = std::collections::HashSet::new();
        for (index, value) in list.iter().enumerate() {
            let Some(identity) = identity(value) else { return };
            if !seen.insert(identity.to_string()) {
                self.push(FieldError::duplicate(&Trail::Index(trail, index).path(), identity));
            }
        }
    }
}

/// The default of a field of an object's schema.
fn field_default<'a>(schema: &'a Schema, name: &str) -> Option<&'a Value> {
    match &schema.type_ {
        Type::Object { fields, .. } => fields.get(name)?.default.as_ref(),
        _ => None,
    }
}

fn has_type(value: &Value, type_: &Type) -> bool {
    match type_ {
        Type::Any | Type::Reference(_) => true,
        Type::Object { .. } | Type::Map { .. } => value.is_object(),
        Type::List { .. } => value.is_array(),
        Type::String { format } => value.is_string() || (format.as_deref() == Some("quantity") && value.is_number()),
        Type::Integer { format } => match (value.as_i64(), format.as_deref()) {
            (Some(number), Some("int32")) => i32::try_from(number).is_ok(),
            (Some(_), _) => true,
            (None, _) => false,
        },
        Type::Number { .. } => value.is_number(),
        Type::Boolean => value.is_boolean(),
        Type::IntOrString => value.is_i64() || value.is_string(),
    }
}

fn type_name(type_: &Type) -> &'static str {
    match type_ {
        Type::Any | Type::Reference(_) => "any",
        Type::Object { .. } | Type::Map { .. } => "object",
        Type::List { .. } => "array",
        Type::String { .. } => "string",
        Type::Integer { .. } => "integer",
        Type::Number { .. } => "number",
        Type::Boolean => "boolean",
        Type::IntOrString => "integer,string",
    }
}

fn type_name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn body_name(trail: &Trail<'_>) -> String {
    if trail.is_root() { "<root>".to_string() } else { trail.to_string() }
}

type Wrong = Vec<(Reason, String)>;

fn number_bounds(number: &Number, bounds: &BTreeMap<String, Value>) -> Wrong {
    let mut wrong = Wrong::new();
    let value = number.as_f64().unwrap_or_default();
    let is_set = |name: &str| bounds.get(name).and_then(Value::as_bool) == Some(true);
    if let Some(limit) = bounds.get("maximum") {
        let bound = limit.as_f64().unwrap_or(f64::INFINITY);
        match is_set("exclusiveMaximum") {
            true if value >= bound => wrong.push((Reason::Invalid, format!("should be less than {limit}"))),
            false if value > bound => wrong.push((Reason::Invalid, format!("should be less than or equal to {limit}"))),
            _ => {}
        }
    }
    if let Some(limit) = bounds.get("minimum") {
        let bound = limit.as_f64().unwrap_or(f64::NEG_INFINITY);
        match is_set("exclusiveMinimum") {
            true if value <= bound => wrong.push((Reason::Invalid, format!("should be greater than {limit}"))),
            false if value < bound => {
                wrong.push((Reason::Invalid, format!("should be greater than or equal to {limit}")));
            }
            _ => {}
        }
    }
    if let Some(factor) = bounds.get("multipleOf") {
        let quotient = value / factor.as_f64().filter(|factor| *factor != 0.0).unwrap_or(1.0);
        if quotient.fract() != 0.0 {
            wrong.push((Reason::Invalid, format!("should be a multiple of {factor}")));
        }
    }
    wrong
}

fn text_bounds(text: &str, bounds: &BTreeMap<String, Value>) -> Wrong {
    let mut wrong = Wrong::new();
    let length = text.chars().count() as u64;
    if let Some(limit) = bounds.get("maxLength").and_then(Value::as_u64).filter(|limit| length > *limit) {
        wrong.push((Reason::TooLong, format!("should be at most {limit} chars long")));
    }
    if let Some(limit) = bounds.get("minLength").and_then(Value::as_u64).filter(|limit| length < *limit) {
        wrong.push((Reason::Invalid, format!("should be at least {limit} chars long")));
    }
    if let Some(pattern) = bounds.get("pattern").and_then(Value::as_str) {
        // A pattern that is no regular expression is refused where the schema comes in.
        if Regex::new(pattern).is_ok_and(|regex| !regex.is_match(text)) {
            wrong.push((Reason::Invalid, format!("should match '{pattern}'")));
        }
    }
    wrong
}

fn count_bounds(count: usize, bounds: &BTreeMap<String, Value>, least: &str, most: &str, what: &str) -> Wrong {
    let mut wrong = Wrong::new();
    let limit = |name: &str| bounds.get(name).and_then(Value::as_u64);
    if let Some(limit) = limit(most).filter(|limit| count as u64 > *limit) {
        wrong.push((Reason::TooMany, format!("should have at most {limit} {what}")));
    }
    if let Some(limit) = limit(least).filter(|limit| (count as u64) < *limit) {
        wrong.push((Reason::Invalid, format!("should have at least {limit} {what}")));
    }
    wrong
}
