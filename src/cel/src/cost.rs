//! What calls cost when they are evaluated, in Kubernetes' units: objects that were accepted with one version must be
//! accepted with the next, so these numbers are part of the API.

use crate::error::EvalError;
use crate::eval::Meter;
use crate::value::{List, Map, Value};

pub(crate) const LIST_CREATE: u64 = 10;
pub(crate) const MAP_CREATE: u64 = 30;
pub(crate) const STRUCT_CREATE: u64 = 40;
/// Looking at a text once, for each code point.
pub(crate) const TRAVERSAL: f64 = 0.1;
/// A pattern, for each code point.
pub(crate) const PATTERN: f64 = 0.25;
/// A question to the authorizer: two fit into one expression.
pub(crate) const AUTHORIZATION: u64 = 350_000;
/// A requirement of a selector is at least two characters long, and takes a list and a struct.
pub(crate) const PER_SELECTOR_CHARACTER: f64 = 0.5;
pub(crate) const PER_REQUIREMENT: f64 = (LIST_CREATE + STRUCT_CREATE) as f64;

/// Elementary steps of looking at a value on the way to all that is in it.
const LOOK_STEPS: u64 = 10;

fn scaled(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// The cost of a call with these arguments, the receiver first. `join` and `slice` add what their results cost.
///
/// # Errors
/// Where finding out what it costs is itself too much.
pub(crate) fn call(meter: &mut Meter, function: &str, args: &[Value<'_>]) -> Result<u64, EvalError> {
    match (function, args) {
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes", [first, ..]) => {
            whole(meter, first, 0)
        }
        _ => Ok(by_size(function, args)),
    }
}

fn by_size(function: &str, args: &[Value<'_>]) -> u64 {
    let size = |index: usize| args.get(index).map_or(1, Value::size);
    let traversal = |index: usize, times: f64| scaled(size(index), times * TRAVERSAL);
    match function {
        "check" => AUTHORIZATION,
        "fieldSelector" | "labelSelector" => {
            let requirements = scaled(size(1), PER_SELECTOR_CHARACTER);
            LIST_CREATE + traversal(1, 1.0) + scaled(requirements, PER_REQUIREMENT)
        }
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "jsonpatch.escapeKey"
        | "startsWith"
        | "endsWith"
        | "strings.quote"
        | "format"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "quantity"
        | "isQuantity"
        | "semver"
        | "isSemver" => traversal(0, 1.0),
        "replace" | "split" | "ip.isCanonical" => traversal(0, 2.0),
        "join" => 0,
        "bytes" | "string" => match args.first() {
            Some(Value::String(_) | Value::Bytes(_)) if is_conversion(function, args) => traversal(0, 1.0),
            _ => 1,
        },
        "matches" | "find" | "findAll" => {
            let text = ((1.0 + size(0) as f64) * TRAVERSAL).ceil() as u64;
            text.saturating_mul(scaled(size(1), PATTERN))
        }
        "contains" => traversal(0, 1.0).saturating_mul(traversal(1, 1.0)),
        "ip" if matches!(args.first(), Some(Value::String(_))) => traversal(0, 1.0),
        "containsIP" | "containsCIDR" => {
            let parsed = if matches!(args.get(1), Some(Value::String(_))) { traversal(1, 1.0) } else { 0 };
            let masked = if function == "containsCIDR" { traversal(0, 1.0) + 1 } else { 0 };
            traversal(0, 2.0) + parsed + masked
        }
        "validate" => match args.first() {
            Some(Value::Format(format)) => {
                let text = ((1.0 + size(1) as f64) * TRAVERSAL).ceil() as u64;
                text.saturating_mul(scaled(format.pattern_length, PATTERN))
            }
            _ => 1,
        },
        "@in" => match args.get(1) {
            Some(Value::List(list)) => list.len() as u64,
            _ => 1,
        },
        "_==_" if is_opaque(args.first()) => 1,
        "_==_" | "_!=_" => scaled(size(0).min(size(1)), TRAVERSAL),
        "_<_" | "_<=_" | "_>_" | "_>=_" => match args.first() {
            Some(Value::String(_) | Value::Bytes(_)) => scaled(size(0).min(size(1)), TRAVERSAL),
            _ => 1,
        },
        "_+_" => match args.first() {
            Some(Value::String(_) | Value::Bytes(_)) => scaled(size(0) + size(1), TRAVERSAL),
            _ => 1,
        },
        "slice" | "reverse" => LIST_CREATE + 1 + if function == "reverse" { size(0) } else { 0 },
        "lists.range" => match args.first() {
            Some(Value::Int(count)) => (LIST_CREATE + 1).saturating_add(u64::try_from(*count).unwrap_or(0)),
            _ => 1,
        },
        "flatten" => {
            let depth = match args.get(1) {
                Some(Value::Int(depth)) => u64::try_from(*depth).unwrap_or(0),
                _ => 1,
            };
            size(0).saturating_mul(depth).saturating_add(LIST_CREATE + 1)
        }
        "distinct" | "sort" => self_compare(args.first()),
        "@sortByAssociatedKeys" => self_compare(args.get(1)),
        _ => sets(function, args).unwrap_or(1),
    }
}

/// A text to bytes or back, and not to itself.
fn is_conversion(function: &str, args: &[Value<'_>]) -> bool {
    matches!((function, args.first()), ("bytes", Some(Value::String(_))) | ("string", Some(Value::Bytes(_))))
}

fn sets(function: &str, args: &[Value<'_>]) -> Option<u64> {
    let (left, right) = (args.first()?.size(), args.get(1)?.size());
    let pairs = left.saturating_mul(right);
    match function {
        "sets.contains" | "sets.intersects" => Some(pairs.saturating_add(1)),
        "sets.equivalent" => Some(pairs.saturating_mul(2).saturating_add(1)),
        _ => None,
    }
}

/// Every element with every other.
fn self_compare(list: Option<&Value<'_>>) -> u64 {
    let Some(Value::List(list)) = list else { return 1 };
    let factor = match list.get(0) {
        Some(Ok(Value::String(_) | Value::Bytes(_))) => 2.0 + TRAVERSAL,
        _ => 2.0,
    };
    let size = list.len() as u64;
    ((size.saturating_mul(size) as f64 * factor) as u64).saturating_add(LIST_CREATE + 1)
}

fn is_opaque(value: Option<&Value<'_>>) -> bool {
    matches!(
        value,
        Some(
            Value::Quantity(_)
                | Value::Ip(_)
                | Value::Cidr(_)
                | Value::Format(_)
                | Value::Url(_)
                | Value::Semver(_)
                | Value::Authz(_)
        )
    )
}

/// Looking at everything in a value once. A value that holds another twice looks at it twice, so that a short
/// expression makes what nobody could look at to its end.
fn whole(meter: &mut Meter, value: &Value<'_>, depth: usize) -> Result<u64, EvalError> {
    meter.work(LOOK_STEPS)?;
    let mut cost = 0_u64;
    match value {
        Value::String(text) => cost = (text.len() as f64 * TRAVERSAL) as u64,
        Value::Bytes(bytes) => cost = (bytes.len() as f64 * TRAVERSAL) as u64,
        _ if depth > 128 => cost = 1,
        Value::List(list @ (List::Json(..) | List::Owned(_))) => {
            for element in list.iter() {
                let element = element.map_or(Ok(1), |element| whole(meter, &element, depth + 1))?;
                cost = cost.saturating_add(element);
            }
        }
        Value::Map(map @ (Map::Json(..) | Map::Owned(_))) => {
            for key in map.keys().iter() {
                let value = crate::value::Key::of(key).and_then(|key| map.get(&key));
                let value =
                    value.map_or(Ok(0), |value| value.map_or(Ok(1), |value| whole(meter, &value, depth + 1)))?;
                cost = cost.saturating_add(whole(meter, key, depth + 1)?).saturating_add(value);
            }
        }
        _ => cost = 1,
    }
    Ok(cost)
}
