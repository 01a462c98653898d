//! When values are equal: numbers across their types, lists that are sets or maps by their schema regardless of order.

use std::cmp::Ordering;

use crate::decl::ListKind;
use crate::error::EvalError;
use crate::eval::Meter;
use crate::value::{List, Map, Value};

/// Values within values are compared no deeper; JSON is not deeper either.
const MAX_DEPTH: usize = 256;

/// Whether two values are equal. Values of different types are not.
pub(crate) fn equal(meter: &mut Meter, left: &Value<'_>, right: &Value<'_>) -> Result<bool, EvalError> {
    within(meter, left, right, 0)
}

fn within(meter: &mut Meter, left: &Value<'_>, right: &Value<'_>, depth: usize) -> Result<bool, EvalError> {
    meter.work(1)?;
    if depth > MAX_DEPTH {
        return Err(EvalError::new("values are too deep to be compared"));
    }
    Ok(match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(_) | Value::Uint(_) | Value::Double(_), Value::Int(_) | Value::Uint(_) | Value::Double(_)) => {
            numbers(left, right) == Some(Ordering::Equal)
        }
        (Value::String(left), Value::String(right)) => {
            meter.work(left.len().min(right.len()) as u64 / 64)?;
            **left == **right
        }
        (Value::Bytes(left), Value::Bytes(right)) => {
            meter.work(left.len().min(right.len()) as u64 / 64)?;
            left == right
        }
        (Value::Timestamp(left), Value::Timestamp(right)) => left == right,
        (Value::Duration(left), Value::Duration(right)) => left == right,
        (Value::List(left), Value::List(right)) => lists(meter, left, right, depth)?,
        (Value::Map(left), Value::Map(right)) => maps(meter, left, right, depth)?,
        (Value::Optional(None), Value::Optional(None)) => true,
        (Value::Optional(Some(left)), Value::Optional(Some(right))) => within(meter, left, right, depth + 1)?,
        (Value::Type(left), Value::Type(right)) => left == right,
        (Value::Struct(left), Value::Struct(right)) => {
            if left.name != right.name || left.fields.len() != right.fields.len() {
                return Ok(false);
            }
            for (name, value) in &left.fields {
                match right.fields.get(name) {
                    Some(other) if within(meter, value, other, depth + 1)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Ip(left), Value::Ip(right)) => left == right,
        (Value::Cidr(left), Value::Cidr(right)) => left == right,
        (Value::Url(left), Value::Url(right)) => left == right,
        (Value::Quantity(left), Value::Quantity(right)) => left == right,
        (Value::Semver(left), Value::Semver(right)) => left.compare(right) == Ordering::Equal,
        (Value::Format(left), Value::Format(right)) => left.name == right.name,
        (Value::Authz(left), Value::Authz(right)) => left.is_same(right),
        _ => false,
    })
}

/// Numbers of any of the three types in order; none where one is NaN.
pub(crate) fn numbers(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        (Value::Double(left), right) => with_double(right, *left).map(Ordering::reverse),
        (left, Value::Double(right)) => with_double(left, *right),
        (left, right) => Some(whole(left)?.cmp(&whole(right)?)),
    }
}

fn whole(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::Uint(number) => Some(i128::from(*number)),
        _ => None,
    }
}

/// A whole number against a double, as the nearest double: what two numbers are that no double tells apart is equal.
fn with_double(number: &Value<'_>, double: f64) -> Option<Ordering> {
    (whole(number)? as f64).partial_cmp(&double)
}

fn kind<'l>(list: &'l List<'_>) -> &'l ListKind {
    match list {
        List::Json(_, Some(decl)) => decl.list_kind(),
        _ => &ListKind::Atomic,
    }
}

fn lists(meter: &mut Meter, left: &List<'_>, right: &List<'_>, depth: usize) -> Result<bool, EvalError> {
    if left.len() != right.len() {
        return Ok(false);
    }
    let is_ordered = *kind(left) == ListKind::Atomic && *kind(right) == ListKind::Atomic;
    if is_ordered {
        for (left, right) in left.iter().zip(right.iter()) {
            if !within(meter, &left?, &right?, depth + 1)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    // Elements of sets are unique, and so are those of maps with their keys.
    for value in left.iter() {
        let value = value?;
        let mut found = false;
        for other in right.iter() {
            if within(meter, &value, &other?, depth + 1)? {
                found = true;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps(meter: &mut Meter, left: &Map<'_>, right: &Map<'_>, depth: usize) -> Result<bool, EvalError> {
    let keys = left.keys();
    meter.work(keys.len() as u64)?;
    if keys.len() != right.keys().len() {
        return Ok(false);
    }
    for key in &keys {
        let Some(key) = crate::value::Key::of(key) else { return Ok(false) };
        match (left.get(&key).transpose()?, right.get(&key).transpose()?) {
            (Some(left), Some(right)) if within(meter, &left, &right, depth + 1)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// `left + right` of lists: of a set what it lacks, of a map its keys' new values in place and the rest after.
pub(crate) fn joined<'a>(meter: &mut Meter, left: &List<'a>, right: &List<'a>) -> Result<Vec<Value<'a>>, EvalError> {
    meter.allocate_values(left.len() + right.len())?;
    let mut values = left.to_vec()?;
    match kind(left) {
        ListKind::Atomic => values.extend(right.to_vec()?),
        ListKind::Set => {
            for value in right.iter() {
                let value = value?;
                if !crate::library::contains(meter, left, &value)? {
                    values.push(value);
                }
            }
        }
        ListKind::Map(keys) => {
            for value in right.iter() {
                let value = value?;
                let mut place = None;
                for (index, known) in values.iter().enumerate() {
                    if same_keys(meter, known, &value, keys)? {
                        place = Some(index);
                        break;
                    }
                }
                match place.and_then(|index| values.get_mut(index)) {
                    Some(slot) => *slot = value,
                    None => values.push(value),
                }
            }
        }
    }
    Ok(values)
}

fn same_keys(meter: &mut Meter, left: &Value<'_>, right: &Value<'_>, keys: &[String]) -> Result<bool, EvalError> {
    let (Value::Map(left), Value::Map(right)) = (left, right) else { return Ok(false) };
    for key in keys {
        let key = crate::names::escape(key).unwrap_or_default();
        let same = match (left.field(&key).transpose()?, right.field(&key).transpose()?) {
            (Some(left), Some(right)) => equal(meter, &left, &right)?,
            (None, None) => true,
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The order of two values of one type; numbers across types.
pub(crate) fn compare(left: &Value<'_>, right: &Value<'_>) -> Result<Ordering, EvalError> {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Ok(left.cmp(right)),
        (Value::Int(_) | Value::Uint(_) | Value::Double(_), Value::Int(_) | Value::Uint(_) | Value::Double(_)) => {
            numbers(left, right).ok_or_else(|| EvalError::new("NaN values cannot be ordered"))
        }
        (Value::String(left), Value::String(right)) => Ok((**left).cmp(&**right)),
        (Value::Bytes(left), Value::Bytes(right)) => Ok(left.cmp(right)),
        (Value::Timestamp(left), Value::Timestamp(right)) => Ok(left.cmp(right)),
        (Value::Duration(left), Value::Duration(right)) => Ok(left.cmp(right)),
        _ => Err(EvalError::no_such_overload()),
    }
}
