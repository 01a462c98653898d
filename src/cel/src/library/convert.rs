//! `int(...)`, `string(...)` and their like.

use super::arithmetic::{int_overflow, uint_overflow};
use super::{Evaluated, Function, one};
use crate::error::EvalError;
use crate::time::{self, Duration};
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "bool" => |_, args| to_bool(one(args)?),
        "bytes" => |meter, args| match one(args)? {
            Value::String(text) => {
                meter.allocate(text.len() as u64)?;
                Ok(Value::Bytes(text.as_bytes().into()))
            }
            value @ Value::Bytes(_) => Ok(value.clone()),
            _ => Err(EvalError::no_such_overload()),
        },
        "double" => |_, args| to_double(one(args)?),
        "int" => |_, args| to_int(one(args)?),
        "uint" => |_, args| to_uint(one(args)?),
        "string" => |meter, args| {
            let value = one(args)?;
            if let Value::String(_) = value {
                return Ok(value.clone());
            }
            if let Value::Bytes(bytes) = value {
                meter.allocate(bytes.len() as u64)?;
            }
            text_of(value).map(Value::from)
        },
        "duration" => |_, args| match one(args)? {
            Value::String(text) => Duration::parse(text).map(Value::Duration),
            Value::Int(seconds) => {
                Duration::of_seconds(*seconds).map(Value::Duration).ok_or_else(|| EvalError::new("duration overflow"))
            }
            value @ Value::Duration(_) => Ok(value.clone()),
            _ => Err(EvalError::no_such_overload()),
        },
        "timestamp" => |_, args| match one(args)? {
            Value::String(text) => time::parse_timestamp(text).map(Value::Timestamp),
            Value::Int(seconds) => time::from_seconds(*seconds).map(Value::Timestamp),
            value @ Value::Timestamp(_) => Ok(value.clone()),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => return None,
    })
}

fn unconvertible(to: &str) -> EvalError {
    EvalError::new(format!("type conversion error from 'string' to '{to}'"))
}

fn to_bool<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
            _ => Err(unconvertible("bool")),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn to_double<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Double(_) => Ok(value.clone()),
        Value::Int(number) => Ok(Value::Double(*number as f64)),
        Value::Uint(number) => Ok(Value::Double(*number as f64)),
        Value::String(text) => text.parse().map(Value::Double).map_err(|_| unconvertible("double")),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn to_int<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Uint(number) => i64::try_from(*number).map(Value::Int).map_err(|_| int_overflow()),
        // The largest double below 2^63 is the last that fits.
        Value::Double(number) if *number > -9_223_372_036_854_775_808.0 && *number < 9_223_372_036_854_775_808.0 => {
            Ok(Value::Int(*number as i64))
        }
        Value::Double(_) => Err(int_overflow()),
        Value::String(text) => whole(text).map(Value::Int).ok_or_else(|| unconvertible("int")),
        Value::Timestamp(at) => Ok(Value::Int(at.seconds())),
        Value::Duration(duration) => Ok(Value::Int(duration.seconds())),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn whole(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn to_uint<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Uint(_) => Ok(value.clone()),
        Value::Int(number) => u64::try_from(*number).map(Value::Uint).map_err(|_| uint_overflow()),
        Value::Double(number) if *number >= 0.0 && *number < 18_446_744_073_709_551_616.0 => {
            Ok(Value::Uint(*number as u64))
        }
        Value::Double(_) => Err(uint_overflow()),
        Value::String(text) => {
            let number = if text.starts_with('+') { None } else { text.parse().ok() };
            number.map(Value::Uint).ok_or_else(|| unconvertible("uint"))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

/// A value as `string(...)` writes it.
pub(crate) fn text_of(value: &Value<'_>) -> Result<String, EvalError> {
    Ok(match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => double_text(*number),
        Value::String(text) => text.to_string(),
        Value::Bytes(bytes) => std::str::from_utf8(bytes)
            .map(str::to_string)
            .map_err(|_| EvalError::new("invalid UTF-8 in bytes, cannot convert to string"))?,
        Value::Timestamp(at) => time::format_timestamp(*at),
        Value::Duration(duration) => duration.to_string(),
        Value::Ip(ip) => ip.to_string(),
        Value::Cidr(cidr) => cidr.to_string(),
        _ => return Err(EvalError::no_such_overload()),
    })
}

/// The shortest text that reads as the same number, with an exponent where it is far from one.
pub(crate) fn double_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_string();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_string();
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{number}")
}
