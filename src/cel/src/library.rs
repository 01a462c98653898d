//! What functions do, by their names. Each looks at the kinds of its arguments itself, since `dyn` is known only here.

mod arithmetic;
mod convert;
pub(crate) mod equal;
pub(crate) mod format;
mod lists;
mod math;
pub(crate) mod net;
mod quantity;
pub(crate) mod semver;
pub(crate) mod strings;
mod template;
mod timestamps;
pub(crate) mod url;

use std::sync::Arc;

use crate::error::EvalError;
use crate::eval::Meter;
use crate::value::{Key, List, Map, Value};

pub(crate) use convert::text_of;

/// A function on evaluated arguments, the receiver first.
pub(crate) type Function = for<'a> fn(&mut Meter, &[Value<'a>]) -> Result<Value<'a>, EvalError>;

type Evaluated<'a> = Result<Value<'a>, EvalError>;

/// The function of a name.
pub(crate) fn find(name: &str) -> Option<Function> {
    let found: Function = match name {
        "!_" => not,
        "_==_" => |meter, args| equality(meter, args, true),
        "_!=_" => |meter, args| equality(meter, args, false),
        "@in" => membership,
        "size" => size,
        "type" => |_, args| one(args).map(|value| Value::Type(value.type_name().into())),
        "dyn" => |_, args| one(args).cloned(),
        "cel.@mapInsert" => map_insert,
        "optional.of" => |_, args| one(args).cloned().map(Value::some),
        "optional.none" => |_, _| Ok(Value::Optional(None)),
        "optional.ofNonZeroValue" => |_, args| {
            let value = one(args)?;
            Ok(if is_zero(value) { Value::Optional(None) } else { Value::some(value.clone()) })
        },
        "optional.unwrap" | "unwrapOpt" => unwrap,
        "value" => optional_value,
        "hasValue" => |_, args| match args {
            [Value::Optional(value)] => Ok(Value::Bool(value.is_some())),
            _ => Err(EvalError::no_such_overload()),
        },
        "serviceAccount" => |_, args| authorization("serviceAccount", args),
        "path" => |_, args| authorization("path", args),
        "group" => |_, args| authorization("group", args),
        "resource" => |_, args| authorization("resource", args),
        "subresource" => |_, args| authorization("subresource", args),
        "namespace" => |_, args| authorization("namespace", args),
        "name" => |_, args| authorization("name", args),
        "fieldSelector" => |_, args| authorization("fieldSelector", args),
        "labelSelector" => |_, args| authorization("labelSelector", args),
        "check" => |_, args| authorization("check", args),
        "allowed" => |_, args| authorization("allowed", args),
        "reason" => |_, args| authorization("reason", args),
        "errored" => |_, args| authorization("errored", args),
        "error" => |_, args| authorization("error", args),
        _ => {
            return arithmetic::find(name)
                .or_else(|| convert::find(name))
                .or_else(|| strings::find(name))
                .or_else(|| lists::find(name))
                .or_else(|| timestamps::find(name))
                .or_else(|| quantity::find(name))
                .or_else(|| semver::find(name))
                .or_else(|| net::find(name))
                .or_else(|| url::find(name))
                .or_else(|| format::find(name))
                .or_else(|| math::find(name));
        }
    };
    Some(found)
}

pub(crate) fn one<'v, 'a>(args: &'v [Value<'a>]) -> Result<&'v Value<'a>, EvalError> {
    match args {
        [value] => Ok(value),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn not<'a>(_: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [Value::Bool(value)] => Ok(Value::Bool(!value)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn equality<'a>(meter: &mut Meter, args: &[Value<'a>], wanted: bool) -> Evaluated<'a> {
    match args {
        [left, right] => Ok(Value::Bool(equal::equal(meter, left, right)? == wanted)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn membership<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [value, Value::List(list)] => Ok(Value::Bool(contains(meter, list, value)?)),
        [value, Value::Map(map)] => {
            Ok(Value::Bool(Key::to_find(value).and_then(|key| map.get(&key)).transpose()?.is_some()))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

pub(crate) fn contains(meter: &mut Meter, list: &List<'_>, value: &Value<'_>) -> Result<bool, EvalError> {
    for element in list.iter() {
        if equal::equal(meter, &element?, value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn size<'a>(_: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [value @ (Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_))] => {
            Ok(Value::Int(value.size() as i64))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

/// Puts entries into the map that a macro makes: a key and a value, or a map of entries.
fn map_insert<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    let Some((Value::Map(Map::Owned(entries)), inserts)) = args.split_first() else {
        return Err(EvalError::no_such_overload());
    };
    let inserts: Vec<(Value<'a>, Value<'a>)> = match inserts {
        [key, value] => vec![(key.clone(), value.clone())],
        [Value::Map(map)] => map
            .keys()
            .into_iter()
            .filter_map(|key| {
                let value = map.get(&Key::of(&key)?)?;
                Some(value.map(|value| (key, value)))
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(EvalError::no_such_overload()),
    };
    meter.allocate_values(2 * (entries.len() + inserts.len()))?;
    let mut entries = entries.as_ref().clone();
    for (key, value) in inserts {
        let key = Key::of(&key).ok_or_else(|| EvalError::new(format!("unsupported key type: {}", key.type_name())))?;
        if entries.contains_key(&key) {
            return Err(EvalError::new(format!("insert failed: key {} already exists", text_of(&key.to_value())?)));
        }
        entries.insert(key, value);
    }
    Ok(Value::Map(Map::Owned(Arc::new(entries))))
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Int(0) | Value::Uint(0) | Value::Optional(None) => true,
        Value::Double(number) => *number == 0.0,
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(list) => list.len() == 0,
        Value::Map(map) => map.len() == 0,
        Value::Duration(duration) => duration.0 == 0,
        Value::Struct(object) => object.fields.is_empty(),
        _ => false,
    }
}

fn unwrap<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    let [Value::List(list)] = args else { return Err(EvalError::no_such_overload()) };
    meter.allocate_values(list.len())?;
    let mut values = Vec::new();
    for element in list.iter() {
        match element? {
            Value::Optional(Some(value)) => values.push((*value).clone()),
            Value::Optional(None) => {}
            _ => return Err(EvalError::no_such_overload()),
        }
    }
    Ok(Value::from(values))
}

fn optional_value<'a>(_: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [Value::Optional(Some(value))] => Ok((**value).clone()),
        [Value::Optional(None)] => Err(EvalError::new("optional.none() dereference")),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn authorization<'a>(function: &str, args: &[Value<'a>]) -> Evaluated<'a> {
    let Some((Value::Authz(receiver), texts)) = args.split_first() else { return Err(EvalError::no_such_overload()) };
    let texts: Option<Vec<&str>> = texts
        .iter()
        .map(|text| match text {
            Value::String(text) => Some(&**text),
            _ => None,
        })
        .collect();
    receiver.call(function, &texts.ok_or_else(EvalError::no_such_overload)?)
}
