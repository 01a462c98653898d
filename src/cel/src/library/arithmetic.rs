//! `+ - * / %` and comparisons. Nothing wraps around: what does not fit is an error.

use std::cmp::Ordering;

use super::{Evaluated, Function, equal};
use crate::error::EvalError;
use crate::eval::Meter;
use crate::time::{self, Duration};
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "_+_" => add,
        "_-_" => |_, args| subtract(args),
        "_*_" => |_, args| numeric(args, i64::checked_mul, u64::checked_mul, |left, right| Ok(left * right)),
        "_/_" => |_, args| {
            nonzero(args, "division by zero")?;
            numeric(args, i64::checked_div, u64::checked_div, |left, right| Ok(left / right))
        },
        "_%_" => |_, args| {
            nonzero(args, "modulus by zero")?;
            numeric(args, i64::checked_rem, u64::checked_rem, |_, _| Err(EvalError::no_such_overload()))
        },
        "-_" => |_, args| match args {
            [Value::Int(number)] => number.checked_neg().map(Value::Int).ok_or_else(int_overflow),
            [Value::Double(number)] => Ok(Value::Double(-number)),
            [Value::Duration(duration)] => {
                duration.0.checked_neg().map(|nanos| Value::Duration(Duration(nanos))).ok_or_else(duration_overflow)
            }
            _ => Err(EvalError::no_such_overload()),
        },
        "_<_" => |_, args| ordered(args, |order| order == Ordering::Less),
        "_<=_" => |_, args| ordered(args, |order| order != Ordering::Greater),
        "_>_" => |_, args| ordered(args, |order| order == Ordering::Greater),
        "_>=_" => |_, args| ordered(args, |order| order != Ordering::Less),
        _ => return None,
    })
}

pub(super) fn int_overflow() -> EvalError {
    EvalError::new("integer overflow")
}

pub(super) fn uint_overflow() -> EvalError {
    EvalError::new("unsigned integer overflow")
}

fn duration_overflow() -> EvalError {
    EvalError::new("duration overflow")
}

fn nonzero(args: &[Value<'_>], message: &'static str) -> Result<(), EvalError> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => Err(EvalError::new(message)),
        _ => Ok(()),
    }
}

fn numeric<'a>(
    args: &[Value<'a>],
    int: fn(i64, i64) -> Option<i64>,
    uint: fn(u64, u64) -> Option<u64>,
    double: fn(f64, f64) -> Result<f64, EvalError>,
) -> Evaluated<'a> {
    match args {
        [Value::Int(left), Value::Int(right)] => int(*left, *right).map(Value::Int).ok_or_else(int_overflow),
        [Value::Uint(left), Value::Uint(right)] => uint(*left, *right).map(Value::Uint).ok_or_else(uint_overflow),
        [Value::Double(left), Value::Double(right)] => double(*left, *right).map(Value::Double),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// `left + right`, which `sum` uses too.
pub(super) fn add<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [Value::String(left), Value::String(right)] => {
            meter.allocate((left.len() + right.len()) as u64)?;
            Ok(Value::from([&**left, &**right].concat()))
        }
        [Value::Bytes(left), Value::Bytes(right)] => {
            meter.allocate((left.len() + right.len()) as u64)?;
            Ok(Value::Bytes([&**left, &**right].concat().into()))
        }
        [Value::List(left), Value::List(right)] => Ok(Value::from(equal::joined(meter, left, right)?)),
        [Value::Duration(left), Value::Duration(right)] => {
            left.0.checked_add(right.0).map(|nanos| Value::Duration(Duration(nanos))).ok_or_else(duration_overflow)
        }
        [Value::Timestamp(at), Value::Duration(by)] | [Value::Duration(by), Value::Timestamp(at)] => {
            time::shift(*at, i128::from(by.0)).map(Value::Timestamp)
        }
        args => numeric(args, i64::checked_add, u64::checked_add, |left, right| Ok(left + right)),
    }
}

fn subtract<'a>(args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [Value::Duration(left), Value::Duration(right)] => {
            left.0.checked_sub(right.0).map(|nanos| Value::Duration(Duration(nanos))).ok_or_else(duration_overflow)
        }
        [Value::Timestamp(at), Value::Duration(by)] => time::shift(*at, -i128::from(by.0)).map(Value::Timestamp),
        [Value::Timestamp(left), Value::Timestamp(right)] => time::between(*left, *right).map(Value::Duration),
        args => numeric(args, i64::checked_sub, u64::checked_sub, |left, right| Ok(left - right)),
    }
}

fn ordered<'a>(args: &[Value<'a>], holds: fn(Ordering) -> bool) -> Evaluated<'a> {
    match args {
        // Nothing is less or greater than what is no number.
        [Value::Double(left), _] if left.is_nan() => Ok(Value::Bool(false)),
        [_, Value::Double(right)] if right.is_nan() => Ok(Value::Bool(false)),
        [left, right] => equal::compare(left, right).map(|order| Value::Bool(holds(order))),
        _ => Err(EvalError::no_such_overload()),
    }
}
