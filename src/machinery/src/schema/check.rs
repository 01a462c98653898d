//! Validating a value against everything a schema says: types, required fields, enums and bounds, with the errors
//! that the API server gives for custom resources.

mod bounds;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};

use super::{Definitions, ListKind, Logic, Schema, Type};
use crate::field::{FieldError, FieldErrors, Reason};
use crate::trail::Trail;

/// More errors than this help no one.
const MAX_ERRORS: usize = 100;

/// Everything about a value that its schema forbids. Unknown fields are [`super::prune`]'s.
pub fn check(value: &Value, schema: &Schema, definitions: &Definitions) -> FieldErrors {
    check_change(value, None, schema, definitions)
}

/// The same for a changed value: what is as it was in `old` stays allowed, though the schema has become stricter
/// since (KEP-4008). Elements of lists are compared by their keys, those of lists without keys not at all, nor anything
/// within `allOf` and its like.
pub fn check_change(value: &Value, old: Option<&Value>, schema: &Schema, definitions: &Definitions) -> FieldErrors {
    let mut checker = Checker { definitions, errors: Vec::new() };
    checker.value(value, old, schema, &Trail::Root);
    checker.errors
}

struct Checker<'a> {
    definitions: &'a Definitions,
    errors: FieldErrors,
}

impl Checker<'_> {
    fn value(&mut self, value: &Value, old: Option<&Value>, schema: &Schema, trail: &Trail<'_>) {
        if old == Some(value) {
            return;
        }
        let resolved = self.definitions.resolve(schema);
        if value.is_null() && (schema.nullable || resolved.nullable || matches!(resolved.type_, Type::Any)) {
            return;
        }
        let has_type = has_type(value, &resolved.type_);
        if !has_type && !resolved.partial {
            self.wrong_type(value, &resolved.type_, trail);
            return;
        }
        for schema in [Some(schema), (!std::ptr::eq(schema, resolved)).then_some(resolved)].into_iter().flatten() {
            self.enumeration(value, schema, trail);
            self.bounds(value, &schema.bounds, trail);
            if let Some(logic) = &schema.logic {
                self.logic(value, logic, trail);
            }
        }
        if has_type {
            self.within(value, old, resolved, trail);
        }
    }

    /// The fields or elements of a value.
    fn within(&mut self, value: &Value, old: Option<&Value>, resolved: &Schema, trail: &Trail<'_>) {
        match (&resolved.type_, value) {
            (Type::Object { fields, required, .. }, Value::Object(object)) => {
                self.required(required, object, trail);
                for (name, value) in object {
                    if let Some(field) = fields.get(name) {
                        self.value(value, old.and_then(|old| old.get(name)), field, &Trail::Key(trail, name));
                    }
                }
            }
            (Type::Map { values, required, .. }, Value::Object(object)) => {
                self.required(required, object, trail);
                for (key, value) in object {
                    self.value(value, old.and_then(|old| old.get(key)), values, &Trail::Key(trail, key));
                }
            }
            (Type::List { items, kind }, Value::Array(list)) => {
                let old = self.by_key(old, items, kind);
                for (index, value) in list.iter().enumerate() {
                    let key = if old.is_empty() { None } else { self.identity(value, items, kind) };
                    let before = key.and_then(|key| old.get(&key.to_string()).copied());
                    self.value(value, before, items, &Trail::Index(trail, index));
                }
                self.uniqueness(list, items, kind, trail);
            }
            _ => {}
        }
    }

    fn required(&mut self, names: &[String], object: &Map<String, Value>, trail: &Trail<'_>) {
        for name in names.iter().filter(|name| !object.contains_key(*name)) {
            self.push(FieldError::required(&Trail::Key(trail, name).path(), ""));
        }
    }

    /// The elements of a list by their keys; none where it has no keys.
    fn by_key<'v>(&self, list: Option<&'v Value>, items: &Schema, kind: &ListKind) -> HashMap<String, &'v Value> {
        let ListKind::Map(_) = kind else { return HashMap::new() };
        let list = list.and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|value| Some((self.identity(value, items, kind)?.to_string(), value))).collect()
    }

    /// What tells an element from the others of its list.
    fn identity(&self, value: &Value, items: &Schema, kind: &ListKind) -> Option<Value> {
        let item = self.definitions.resolve(items);
        match kind {
            ListKind::Atomic => None,
            ListKind::Set => Some(value.clone()),
            ListKind::Map(keys) => {
                let field = |key: &String| {
                    let value = value.get(key).or_else(|| field_default(item, key))?;
                    Some((key.clone(), value.clone()))
                };
                Some(Value::Object(keys.iter().filter_map(field).collect()))
            }
        }
    }

    /// Without what was there before: a part that is excused would hold where it does not, and `not` and `oneOf` refuse
    /// what holds.
    fn logic(&mut self, value: &Value, logic: &Logic, trail: &Trail<'_>) {
        let definitions = self.definitions;
        let errors_of = |schema: &Schema| {
            let mut checker = Checker { definitions, errors: Vec::new() };
            checker.value(value, None, schema, trail);
            checker.errors
        };
        let holds = |schemas: &[Schema]| schemas.iter().filter(|schema| errors_of(schema).is_empty()).count();
        let mut wrong: Vec<String> = Vec::new();
        if !logic.any_of.is_empty() && holds(&logic.any_of) == 0 {
            wrong.push("validate at least one schema (anyOf)".to_string());
        }
        match holds(&logic.one_of) {
            _ if logic.one_of.is_empty() => {}
            0 => wrong.push("validate one and only one schema (oneOf). Found none valid".to_string()),
            1 => {}
            many => wrong.push(format!("validate one and only one schema (oneOf). Found {many} valid alternatives")),
        }
        if logic.not.as_ref().is_some_and(|schema| errors_of(schema).is_empty()) {
            wrong.push("not validate the schema (not)".to_string());
        }
        let within: Vec<FieldErrors> = logic.all_of.iter().map(errors_of).filter(|errors| !errors.is_empty()).collect();
        match within.len() {
            0 => {}
            count if count == logic.all_of.len() => {
                wrong.push("validate all the schemas (allOf). None validated".to_string());
            }
            _ => wrong.push("validate all the schemas (allOf)".to_string()),
        }
        for why in wrong {
            let detail = format!("{:?} must {why}", body_name(trail));
            self.push(FieldError { path: trail.path(), reason: Reason::Invalid, value: "".into(), detail });
        }
        within.into_iter().flatten().for_each(|error| self.push(error));
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
        for (reason, value, detail) in bounds::exceeded(value, bounds, &body_name(trail)) {
            self.push(FieldError { path: trail.path(), reason, value, detail });
        }
    }

    /// Sets hold each value once, maps each key once.
    fn uniqueness(&mut self, list: &[Value], items: &Schema, kind: &ListKind, trail: &Trail<'_>) {
        let mut seen = HashSet::new();
        for (index, value) in list.iter().enumerate() {
            let Some(identity) = self.identity(value, items, kind) else { return };
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
        Type::Integer { format } => match (whole(value), format.as_deref()) {
            (Some(number), Some("int32")) => i32::try_from(number).is_ok(),
            (Some(_), _) => true,
            (None, _) => false,
        },
        Type::Number { .. } => value.is_number(),
        Type::Boolean => value.is_boolean(),
        Type::IntOrString => value.is_i64() || value.is_string(),
    }
}

/// A number without a fraction, however it is written.
fn whole(value: &Value) -> Option<i64> {
    /// Beyond it not every whole number is a float.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let float = || value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT_MAX);
    value.as_i64().or_else(|| float().map(|float| float as i64))
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
