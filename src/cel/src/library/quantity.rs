//! `quantity('1.5Gi')` and what is asked of it.

use std::cmp::Ordering;
use std::str::FromStr;
use std::sync::Arc;

use machinery::quantity::Quantity;

use super::semver::Semver;
use super::{Evaluated, Function};
use crate::error::EvalError;
use crate::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "quantity" => |_, args| match args {
            [Value::String(text)] => Quantity::from_str(text)
                .map(|quantity| Value::Quantity(Arc::new(quantity)))
                .map_err(|error| EvalError::new(error.to_string())),
            _ => Err(EvalError::no_such_overload()),
        },
        "isQuantity" => |_, args| match args {
            [Value::String(text)] => Ok(Value::Bool(Quantity::from_str(text).is_ok())),
            _ => Err(EvalError::no_such_overload()),
        },
        "sign" => |_, args| {
            receiver(args).map(|quantity| {
                Value::Int(if quantity.is_zero() {
                    0
                } else if quantity.is_negative() {
                    -1
                } else {
                    1
                })
            })
        },
        "isInteger" => |_, args| receiver(args).map(|quantity| Value::Bool(as_integer(quantity).is_some())),
        "asInteger" => |_, args| {
            let number = as_integer(receiver(args)?);
            number.map(Value::Int).ok_or_else(|| EvalError::new("cannot convert value to integer"))
        },
        "asApproximateFloat" => |_, args| receiver(args).map(|quantity| Value::Double(quantity.to_f64())),
        "isGreaterThan" => |_, args| order(args).map(|order| Value::Bool(order == Ordering::Greater)),
        "isLessThan" => |_, args| order(args).map(|order| Value::Bool(order == Ordering::Less)),
        "compareTo" => |_, args| order(args).map(|order| Value::Int(order as i64)),
        "add" => |_, args| combined(args, |left, right| left + right),
        "sub" => |_, args| combined(args, |left, right| left - right),
        _ => return None,
    })
}

fn receiver(args: &[Value<'_>]) -> Result<Quantity, EvalError> {
    match args {
        [Value::Quantity(quantity)] => Ok(**quantity),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// The whole number of units, where it is one of 64 bits.
fn as_integer(quantity: Quantity) -> Option<i64> {
    let number = quantity.to_units();
    (Quantity::from_units(number) == quantity).then_some(number)
}

/// The order of quantities, and of versions, whose methods have the same names.
fn order(args: &[Value<'_>]) -> Result<Ordering, EvalError> {
    match args {
        [Value::Quantity(left), Value::Quantity(right)] => Ok(left.cmp(right)),
        [Value::Semver(left), Value::Semver(right)] => Ok(Semver::compare(left, right)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn combined<'a>(args: &[Value<'a>], combine: fn(Quantity, Quantity) -> Quantity) -> Evaluated<'a> {
    let (left, right) = match args {
        [Value::Quantity(left), Value::Quantity(right)] => (**left, **right),
        [Value::Quantity(left), Value::Int(right)] => (**left, Quantity::from_units(*right)),
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Quantity(Arc::new(combine(left, right))))
}
