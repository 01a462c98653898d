//! Lists: Kubernetes' `isSorted`, `sum`, `min` and `max`, the list extension of CEL, and sets.

use std::cmp::Ordering;

use super::equal::{compare, equal};
use super::{Evaluated, Function, arithmetic, contains, strings};
use crate::error::EvalError;
use crate::eval::Meter;
use crate::time::Duration;
use crate::value::{List, Value};

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "isSorted" => |_, args| {
            let values = elements(args)?;
            for pair in values.windows(2) {
                if compare(&pair[0], &pair[1])? == Ordering::Greater {
                    return Ok(Value::Bool(false));
                }
            }
            Ok(Value::Bool(true))
        },
        "sum" => sum,
        "min" => |_, args| extreme(args, "min", Ordering::Greater),
        "max" => |_, args| extreme(args, "max", Ordering::Less),
        "indexOf" => |meter, args| match args {
            [Value::String(text), Value::String(part)] => strings::index_of(meter, text, part, None).map(Value::Int),
            [Value::String(text), Value::String(part), Value::Int(offset)] => {
                strings::index_of(meter, text, part, Some(*offset)).map(Value::Int)
            }
            [Value::List(list), value] => place(meter, list, value, false),
            _ => Err(EvalError::no_such_overload()),
        },
        "lastIndexOf" => |meter, args| match args {
            [Value::String(text), Value::String(part)] => {
                strings::last_index_of(meter, text, part, None).map(Value::Int)
            }
            [Value::String(text), Value::String(part), Value::Int(offset)] => {
                strings::last_index_of(meter, text, part, Some(*offset)).map(Value::Int)
            }
            [Value::List(list), value] => place(meter, list, value, true),
            _ => Err(EvalError::no_such_overload()),
        },
        "includes" => |meter, args| match args {
            [Value::List(list), value] => contains(meter, list, value).map(Value::Bool),
            [target, value] => equal(meter, target, value).map(Value::Bool),
            _ => Err(EvalError::no_such_overload()),
        },
        "slice" => slice,
        "flatten" => |meter, args| match args {
            [Value::List(list)] => flatten(meter, list, 1),
            [Value::List(list), Value::Int(depth)] if *depth >= 0 => flatten(meter, list, *depth),
            [Value::List(_), Value::Int(_)] => Err(EvalError::new("level must be non-negative")),
            _ => Err(EvalError::no_such_overload()),
        },
        "distinct" => distinct,
        "reverse" => |meter, args| {
            let mut values = elements(args)?;
            meter.allocate_values(values.len())?;
            values.reverse();
            Ok(Value::from(values))
        },
        "first" => |_, args| end(args, |list| list.get(0)),
        "last" => |_, args| end(args, |list| list.get(list.len().checked_sub(1)?)),
        "lists.range" => |meter, args| match args {
            [Value::Int(count)] => {
                meter.allocate_values(usize::try_from(*count).unwrap_or(0))?;
                Ok(Value::from((0..*count).map(Value::Int).collect::<Vec<_>>()))
            }
            _ => Err(EvalError::no_such_overload()),
        },
        "sort" => |meter, args| {
            let values = elements(args)?;
            sort_by(meter, values.clone(), values)
        },
        "@sortByAssociatedKeys" => |meter, args| match args {
            [Value::List(list), Value::List(keys)] => sort_by(meter, list.to_vec()?, keys.to_vec()?),
            _ => Err(EvalError::no_such_overload()),
        },
        "sets.contains" => |meter, args| {
            let (left, right) = two(args)?;
            includes_all(meter, left, right).map(Value::Bool)
        },
        "sets.equivalent" => |meter, args| {
            let (left, right) = two(args)?;
            Ok(Value::Bool(includes_all(meter, left, right)? && includes_all(meter, right, left)?))
        },
        "sets.intersects" => |meter, args| {
            let (left, right) = two(args)?;
            for value in right.iter() {
                if contains(meter, left, &value?)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        },
        _ => return None,
    })
}

fn elements<'a>(args: &[Value<'a>]) -> Result<Vec<Value<'a>>, EvalError> {
    match args {
        [Value::List(list)] => list.to_vec(),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn two<'v, 'a>(args: &'v [Value<'a>]) -> Result<(&'v List<'a>, &'v List<'a>), EvalError> {
    match args {
        [Value::List(left), Value::List(right)] => Ok((left, right)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn includes_all(meter: &mut Meter, list: &List<'_>, parts: &List<'_>) -> Result<bool, EvalError> {
    for value in parts.iter() {
        if !contains(meter, list, &value?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sum<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    let values = elements(args)?;
    // Nothing sums to the zero of its elements' type, which an empty list does not tell.
    let zero = match values.first() {
        Some(Value::Uint(_)) => Value::Uint(0),
        Some(Value::Double(_)) => Value::Double(0.0),
        Some(Value::Duration(_)) => Value::Duration(Duration(0)),
        _ => Value::Int(0),
    };
    values.into_iter().try_fold(zero, |sum, value| match value {
        Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Timestamp(_) => Err(EvalError::no_such_overload()),
        value => arithmetic::add(meter, &[sum, value]),
    })
}

fn extreme<'a>(args: &[Value<'a>], name: &str, replaced: Ordering) -> Evaluated<'a> {
    let mut found: Option<Value<'a>> = None;
    for value in elements(args)? {
        found = Some(match found {
            Some(best) if compare(&best, &value)? != replaced => best,
            _ => value,
        });
    }
    found.ok_or_else(|| EvalError::new(format!("{name} called on empty list")))
}

fn place<'a>(meter: &mut Meter, list: &List<'a>, value: &Value<'a>, from_end: bool) -> Evaluated<'a> {
    for step in 0..list.len() {
        let index = if from_end { list.len() - 1 - step } else { step };
        if let Some(element) = list.get(index)
            && equal(meter, &element?, value)?
        {
            return Ok(Value::Int(index as i64));
        }
    }
    Ok(Value::Int(-1))
}

fn end<'a>(args: &[Value<'a>], pick: fn(&List<'a>) -> Option<Result<Value<'a>, EvalError>>) -> Evaluated<'a> {
    match args {
        [Value::List(list)] => match pick(list) {
            Some(value) => value.map(Value::some),
            None => Ok(Value::Optional(None)),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn slice<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    let [Value::List(list), Value::Int(start), Value::Int(end)] = args else {
        return Err(EvalError::no_such_overload());
    };
    let failed = |why: String| EvalError::new(format!("cannot slice({start}, {end}), {why}"));
    let (Ok(from), Ok(to)) = (usize::try_from(*start), usize::try_from(*end)) else {
        return Err(failed("negative indexes not supported".to_string()));
    };
    if from > to {
        return Err(failed("start index must be less than or equal to end index".to_string()));
    }
    if to > list.len() {
        return Err(failed(format!("list is length {}", list.len())));
    }
    meter.charge((to - from) as u64)?;
    meter.allocate_values(to - from)?;
    (from..to).filter_map(|index| list.get(index)).collect::<Result<Vec<_>, _>>().map(Value::from)
}

fn flatten<'a>(meter: &mut Meter, list: &List<'a>, depth: i64) -> Evaluated<'a> {
    let mut values = list.to_vec()?;
    for _ in 0..depth {
        if !values.iter().any(|value| matches!(value, Value::List(_))) {
            break;
        }
        let mut flat = Vec::new();
        for value in values {
            match value {
                Value::List(inner) => {
                    meter.allocate_values(inner.len())?;
                    flat.extend(inner.to_vec()?);
                }
                other => flat.push(other),
            }
        }
        values = flat;
    }
    meter.allocate_values(values.len())?;
    Ok(Value::from(values))
}

fn distinct<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    let mut unique: Vec<Value<'a>> = Vec::new();
    for value in elements(args)? {
        let mut seen = false;
        for known in &unique {
            if equal(meter, known, &value)? {
                seen = true;
                break;
            }
        }
        if !seen {
            meter.allocate_values(1)?;
            unique.push(value);
        }
    }
    Ok(Value::from(unique))
}

/// Values in the order of their keys, which are of one type.
fn sort_by<'a>(meter: &mut Meter, values: Vec<Value<'a>>, keys: Vec<Value<'a>>) -> Evaluated<'a> {
    meter.allocate_values(2 * values.len())?;
    let Some(first) = keys.first() else { return Ok(Value::from(values)) };
    if compare(first, first).is_err() && !matches!(first, Value::Double(_)) {
        return Err(EvalError::new("list elements must be comparable"));
    }
    if keys.iter().any(|key| key.type_name() != first.type_name()) {
        return Err(EvalError::new("list elements must have the same type"));
    }
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.into_iter().zip(values).collect();
    meter.work((pairs.len() as u64).saturating_mul(16))?;
    pairs.sort_by(|(left, _), (right, _)| match (left, right) {
        // A total order, whatever is in the list.
        (Value::Double(left), Value::Double(right)) => left.total_cmp(right),
        (left, right) => compare(left, right).unwrap_or(Ordering::Equal),
    });
    Ok(Value::from(pairs.into_iter().map(|(_, value)| value).collect::<Vec<_>>()))
}
