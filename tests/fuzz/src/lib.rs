//! What the fuzz targets have in common: making objects and texts of a fuzzer's bytes.
//!
//! A target is a function from bytes. Where bytes as they are would hardly ever get past a parser, they choose among
//! what a schema allows instead, with now and then something that it does not.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use machinery::schema::{Definitions, Schema, Type};
use serde_json::{Map, Value};

#[cfg(feature = "objects")]
mod objects;

#[cfg(feature = "objects")]
pub use objects::{complete, object, resource};

/// Generated objects nest no deeper.
const DEPTH_MAX: usize = 10;
/// One in so many values is of another type than its schema says.
const WRONG_ONE_IN: u8 = 24;
/// Longer lists and maps show nothing new.
const ITEMS_MAX: usize = 4;

/// Names and values that mean something somewhere.
const TEXTS: [&str; 40] = [
    "",
    "a",
    "b",
    "x",
    "app",
    "name",
    "type",
    "spec",
    "status",
    "metadata",
    "labels",
    "replicas",
    "containers",
    "ports",
    "Always",
    "None",
    "TCP",
    "ClusterIP",
    "Recreate",
    "True",
    "10.0.0.1",
    "10.0.0.0/24",
    "fd00::/64",
    "25%",
    "80",
    "500m",
    "1Gi",
    "1e3",
    "/p",
    "*",
    "~1",
    "-",
    "$patch",
    "delete",
    "replace",
    "$retainKeys",
    "merge",
    "2026-01-02T03:04:05Z",
    "eA==",
    "metadata.name",
];

/// The parts of an input that stand between zero bytes, as text; none where there are others than `N` or they are not
/// UTF-8.
pub fn parts<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let parts: Vec<&str> = std::str::from_utf8(data).ok()?.splitn(N, '\0').collect();
    parts.try_into().ok()
}

/// A text, mostly one of those that mean something.
pub fn text(u: &mut Unstructured<'_>) -> Result<String> {
    match u.ratio(1, 8)? {
        true => u.arbitrary().map(str::to_string),
        false => u.choose(&TEXTS).map(ToString::to_string),
    }
}

fn number(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match u.int_in_range(0..=3)? {
        0 => u.arbitrary::<i64>()?.into(),
        1 => u.arbitrary::<u64>()?.into(),
        2 => u.arbitrary::<f64>()?.into(),
        _ => u.arbitrary::<i8>()?.into(),
    })
}

fn many(u: &mut Unstructured<'_>) -> Result<usize> {
    u.int_in_range(0..=ITEMS_MAX)
}

/// Any JSON.
pub fn json(u: &mut Unstructured<'_>) -> Result<Value> {
    json_at(u, 0)
}

fn json_at(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    Ok(match u.int_in_range(0..=6)? {
        0 => Value::Null,
        1 => u.arbitrary::<bool>()?.into(),
        2 => number(u)?,
        3 | 4 => text(u)?.into(),
        _ if depth >= DEPTH_MAX => Value::Null,
        5 => (0..many(u)?).map(|_| json_at(u, depth + 1)).collect::<Result<_>>()?,
        _ => Value::Object((0..many(u)?).map(|_| Ok((text(u)?, json_at(u, depth + 1)?))).collect::<Result<_>>()?),
    })
}

/// Something that a schema allows, mostly.
pub fn value(u: &mut Unstructured<'_>, schema: &Schema, definitions: &Definitions) -> Result<Value> {
    value_at(u, schema, definitions, 0)
}

fn value_at(u: &mut Unstructured<'_>, schema: &Schema, definitions: &Definitions, depth: usize) -> Result<Value> {
    if u.ratio(1, WRONG_ONE_IN)? {
        return json_at(u, DEPTH_MAX - 1);
    }
    if !schema.enum_.is_empty() {
        return u.choose(&schema.enum_).cloned();
    }
    Ok(match &definitions.resolve(schema).type_ {
        Type::Any | Type::Reference(_) => json_at(u, depth.max(DEPTH_MAX - 2))?,
        Type::Object { fields, .. } => {
            let mut object = Map::new();
            for (name, field) in fields {
                // Of what is far down there is less, so that the bytes last for the rest.
                if depth < DEPTH_MAX && u.ratio(1, 2 + u8::try_from(depth).unwrap_or(u8::MAX) / 2)? {
                    object.insert(name.clone(), value_at(u, field, definitions, depth + 1)?);
                }
            }
            Value::Object(object)
        }
        Type::Map { values, .. } => Value::Object(
            (0..many(u)?)
                .map(|_| Ok((text(u)?, value_at(u, values, definitions, depth + 1)?)))
                .collect::<Result<_>>()?,
        ),
        Type::List { items, .. } => {
            (0..many(u)?).map(|_| value_at(u, items, definitions, depth + 1)).collect::<Result<_>>()?
        }
        Type::String { format } => match format.as_deref() {
            Some("quantity") => (*u.choose(&["0", "1", "500m", "1Gi", "-1", "0.1n", "9E"])?).into(),
            Some("date-time") => (*u.choose(&["2026-01-02T03:04:05Z", "0001-01-01T00:00:00Z"])?).into(),
            Some("micro-time" | "date-time-micro") => "2026-01-02T03:04:05.000006Z".into(),
            Some("byte") => (*u.choose(&["", "eA==", "/w=="])?).into(),
            _ => text(u)?.into(),
        },
        Type::Integer { .. } => match u.arbitrary()? {
            true => u.arbitrary::<i32>()?.into(),
            false => u.int_in_range(0..=100_i32)?.into(),
        },
        Type::Number { .. } => 0.5.into(),
        Type::Boolean => u.arbitrary::<bool>()?.into(),
        Type::IntOrString if u.arbitrary()? => u.arbitrary::<i32>()?.into(),
        Type::IntOrString => text(u)?.into(),
    })
}
