//! `math.greatest` and its kin.

use std::cmp::Ordering;

use super::equal::numbers;
use super::{Evaluated, Function, one};
use crate::error::EvalError;
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "math.@max" => |_, args| extreme(args, Ordering::Less, "greatest"),
        "math.@min" => |_, args| extreme(args, Ordering::Greater, "least"),
        "math.ceil" => |_, args| double(args, f64::ceil),
        "math.floor" => |_, args| double(args, f64::floor),
        "math.round" => |_, args| double(args, f64::round),
        "math.trunc" => |_, args| double(args, f64::trunc),
        "math.isInf" => |_, args| test(args, f64::is_infinite),
        "math.isNaN" => |_, args| test(args, f64::is_nan),
        "math.isFinite" => |_, args| test(args, f64::is_finite),
        "math.abs" => |_, args| match one(args)? {
            Value::Int(number) => {
                number.checked_abs().map(Value::Int).ok_or_else(|| EvalError::new("integer overflow"))
            }
            Value::Double(number) => Ok(Value::Double(number.abs())),
            value @ Value::Uint(_) => Ok(value.clone()),
            _ => Err(EvalError::no_such_overload()),
        },
        "math.sign" => |_, args| match one(args)? {
            Value::Int(number) => Ok(Value::Int(number.signum())),
            Value::Uint(number) => Ok(Value::Uint((*number).min(1))),
            Value::Double(number) if *number == 0.0 || number.is_nan() => Ok(Value::Double(*number)),
            Value::Double(number) => Ok(Value::Double(number.signum())),
            _ => Err(EvalError::no_such_overload()),
        },
        "math.sqrt" => |_, args| match one(args)? {
            Value::Int(number) => Ok(Value::Double((*number as f64).sqrt())),
            Value::Uint(number) => Ok(Value::Double((*number as f64).sqrt())),
            Value::Double(number) => Ok(Value::Double(number.sqrt())),
            _ => Err(EvalError::no_such_overload()),
        },
        "math.bitAnd" => |_, args| bits(args, |left, right| left & right),
        "math.bitOr" => |_, args| bits(args, |left, right| left | right),
        "math.bitXor" => |_, args| bits(args, |left, right| left ^ right),
        "math.bitNot" => |_, args| match one(args)? {
            Value::Int(number) => Ok(Value::Int(!number)),
            Value::Uint(number) => Ok(Value::Uint(!number)),
            _ => Err(EvalError::no_such_overload()),
        },
        "math.bitShiftLeft" => |_, args| shift(args, |number, by| number << by),
        "math.bitShiftRight" => |_, args| shift(args, |number, by| number >> by),
        _ => return None,
    })
}

fn extreme<'a>(args: &[Value<'a>], replaced: Ordering, name: &str) -> Evaluated<'a> {
    let values = match args {
        [Value::List(list)] => list.to_vec()?,
        values => values.to_vec(),
    };
    let mut found: Option<Value<'a>> = None;
    for value in values {
        if !matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_)) {
            return Err(EvalError::no_such_overload());
        }
        found = Some(match found {
            Some(best) if numbers(&best, &value) != Some(replaced) => best,
            _ => value,
        });
    }
    found.ok_or_else(|| EvalError::new(format!("math.{name}(list) argument must not be empty")))
}

fn double<'a>(args: &[Value<'a>], apply: fn(f64) -> f64) -> Evaluated<'a> {
    match args {
        [Value::Double(number)] => Ok(Value::Double(apply(*number))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn test<'a>(args: &[Value<'a>], holds: fn(f64) -> bool) -> Evaluated<'a> {
    match args {
        [Value::Double(number)] => Ok(Value::Bool(holds(*number))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn bits<'a>(args: &[Value<'a>], join: fn(u64, u64) -> u64) -> Evaluated<'a> {
    match args {
        [Value::Int(left), Value::Int(right)] => Ok(Value::Int(join(*left as u64, *right as u64) as i64)),
        [Value::Uint(left), Value::Uint(right)] => Ok(Value::Uint(join(*left, *right))),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// Shifts of the bits, without keeping the sign; by 64 and more nothing is left.
fn shift<'a>(args: &[Value<'a>], apply: fn(u64, u32) -> u64) -> Evaluated<'a> {
    let (number, by, is_int) = match args {
        [Value::Int(number), Value::Int(by)] => (*number as u64, *by, true),
        [Value::Uint(number), Value::Int(by)] => (*number, *by, false),
        _ => return Err(EvalError::no_such_overload()),
    };
    if by < 0 {
        return Err(EvalError::new(format!("math.bitShift() negative offset: {by}")));
    }
    let shifted = if by > 63 { 0 } else { apply(number, by as u32) };
    Ok(if is_int { Value::Int(shifted as i64) } else { Value::Uint(shifted) })
}
