//! Strings, by code points, and regular expressions.

use regex::Regex;

use super::{Evaluated, Function, template};
use crate::error::EvalError;
use crate::eval::Meter;
use crate::literal;
use crate::regexes;
use crate::value::{List, Text, Value};

/// No text that is made is longer.
const MAX_TEXT_BYTES: usize = 16 << 20;

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "contains" => |meter, args| {
            let (text, part) = texts(args)?;
            meter.work(text.len() as u64 / 64)?;
            Ok(Value::Bool(text.contains(part)))
        },
        "startsWith" => |_, args| texts(args).map(|(text, part)| Value::Bool(text.starts_with(part))),
        "endsWith" => |_, args| texts(args).map(|(text, part)| Value::Bool(text.ends_with(part))),
        "matches" => |meter, args| dynamic("matches", meter, args),
        "find" => |meter, args| dynamic("find", meter, args),
        "findAll" => |meter, args| dynamic("findAll", meter, args),
        "charAt" => |_, args| char_at(args),
        "lowerAscii" => |meter, args| mapped(meter, args, str::to_ascii_lowercase),
        "upperAscii" => |meter, args| mapped(meter, args, str::to_ascii_uppercase),
        "trim" => |meter, args| mapped(meter, args, |text| text.trim().to_string()),
        "replace" => replace,
        "split" => split,
        "substring" => substring,
        "join" => join,
        "strings.quote" => |meter, args| mapped(meter, args, literal::quote),
        "format" => |meter, args| match args {
            [Value::String(text), Value::List(list)] => template::format(meter, text, list),
            _ => Err(EvalError::no_such_overload()),
        },
        "jsonpatch.escapeKey" => |meter, args| mapped(meter, args, |text| text.replace('~', "~0").replace('/', "~1")),
        _ => return None,
    })
}

fn texts<'v>(args: &'v [Value<'_>]) -> Result<(&'v str, &'v str), EvalError> {
    match args {
        [Value::String(text), Value::String(other)] => Ok((text, other)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn mapped<'a>(meter: &mut Meter, args: &[Value<'a>], map: fn(&str) -> String) -> Evaluated<'a> {
    match args {
        [Value::String(text)] => {
            meter.allocate(2 * text.len() as u64)?;
            Ok(Value::from(map(text)))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

/// A text about to be made.
pub(super) fn fits(meter: &mut Meter, bytes: usize) -> Result<(), EvalError> {
    if bytes > MAX_TEXT_BYTES {
        return Err(EvalError::new("string is too long"));
    }
    meter.allocate(bytes as u64)
}

fn out_of_range(index: i64) -> EvalError {
    EvalError::new(format!("index out of range: {index}"))
}

/// Where a code point begins, in bytes; the end counts as one.
fn byte_of(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    if text.is_ascii() {
        return (index <= text.len()).then_some(index);
    }
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(index)
}

fn char_at<'a>(args: &[Value<'a>]) -> Evaluated<'a> {
    let [Value::String(text), Value::Int(index)] = args else { return Err(EvalError::no_such_overload()) };
    let at = byte_of(text, *index).ok_or_else(|| out_of_range(*index))?;
    Ok(Value::from(text[at..].chars().next().map(String::from).unwrap_or_default()))
}

/// A part of a text that is borrowed where the text is.
fn part<'a>(text: &Text<'a>, from: usize, to: usize) -> Value<'a> {
    match text {
        Text::Borrowed(text) => Value::String(Text::Borrowed(&text[from..to])),
        Text::Shared(text) => Value::shared(&text[from..to]),
    }
}

fn substring<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    let (text, start, end) = match args {
        [Value::String(text), Value::Int(start)] => (text, *start, None),
        [Value::String(text), Value::Int(start), Value::Int(end)] => (text, *start, Some(*end)),
        _ => return Err(EvalError::no_such_overload()),
    };
    if let Some(end) = end.filter(|end| start > *end) {
        return Err(EvalError::new(format!("invalid substring range. start: {start}, end: {end}")));
    }
    let from = byte_of(text, start).ok_or_else(|| out_of_range(start))?;
    let to = match end {
        Some(end) => byte_of(text, end).ok_or_else(|| out_of_range(end))?,
        None => text.len(),
    };
    meter.allocate((to - from) as u64)?;
    Ok(part(text, from, to))
}

/// `indexOf` of a text from a code point on.
pub(super) fn index_of(meter: &mut Meter, text: &str, part: &str, offset: Option<i64>) -> Result<i64, EvalError> {
    let offset = offset.unwrap_or(0);
    if offset < 0 {
        return Err(out_of_range(offset));
    }
    meter.work(text.len() as u64 / 8)?;
    let length = text.chars().count() as i64;
    if part.is_empty() {
        return Ok(offset.min(length));
    }
    let Some(from) = byte_of(text, offset) else { return Ok(-1) };
    Ok(text[from..].find(part).map_or(-1, |at| offset + text[from..from + at].chars().count() as i64))
}

/// `lastIndexOf` of a text, beginning at a code point at the latest.
pub(super) fn last_index_of(meter: &mut Meter, text: &str, part: &str, offset: Option<i64>) -> Result<i64, EvalError> {
    if let Some(offset) = offset.filter(|offset| *offset < 0) {
        return Err(out_of_range(offset));
    }
    meter.work(text.len() as u64 / 8)?;
    let length = text.chars().count() as i64;
    if part.is_empty() {
        return Ok(offset.unwrap_or(length).min(length));
    }
    if offset.is_some_and(|offset| offset >= length) {
        return Ok(-1);
    }
    let until = match offset.and_then(|offset| byte_of(text, offset)) {
        Some(start) => text.len().min(start + part.len()),
        None => text.len(),
    };
    // The last place may lie within a code point that the part does not reach.
    let until = (until..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let found = text[..until].rfind(part);
    Ok(found.map_or(-1, |at| text[..at].chars().count() as i64))
}

fn replace<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    let (text, from, to, limit) = match args {
        [Value::String(text), Value::String(from), Value::String(to)] => (text, from, to, usize::MAX),
        [Value::String(text), Value::String(from), Value::String(to), Value::Int(limit)] => {
            (text, from, to, usize::try_from(*limit).unwrap_or(usize::MAX))
        }
        _ => return Err(EvalError::no_such_overload()),
    };
    meter.work(text.len() as u64 / 8)?;
    let count = text.matches(&**from).take(limit).count();
    fits(meter, text.len().saturating_add(count.saturating_mul(to.len())))?;
    Ok(Value::from(text.replacen(&**from, to, limit)))
}

fn split<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    let (text, by, limit) = match args {
        [Value::String(text), Value::String(by)] => (text, by, -1),
        [Value::String(text), Value::String(by), Value::Int(limit)] => (text, by, *limit),
        _ => return Err(EvalError::no_such_overload()),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Ok(Value::from(Vec::new()));
    }
    let mut bounds = Vec::new();
    let mut start = 0;
    if by.is_empty() {
        // Every code point by itself, the rest in the last part.
        for (at, character) in text.char_indices() {
            meter.allocate_values(1)?;
            if bounds.len() + 1 == limit {
                start = text.len();
                bounds.push((at, text.len()));
                break;
            }
            start = at + character.len_utf8();
            bounds.push((at, start));
        }
        debug_assert_eq!(start, text.len());
    } else {
        while bounds.len() + 1 < limit
            && let Some(at) = text[start..].find(&**by)
        {
            meter.allocate_values(1)?;
            bounds.push((start, start + at));
            start += at + by.len();
        }
        bounds.push((start, text.len()));
    }
    meter.allocate(text.len() as u64)?;
    let values: Vec<Value<'a>> = bounds.into_iter().map(|(from, to)| part(text, from, to)).collect();
    Ok(Value::from(values))
}

fn join<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    let (list, by) = match args {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::String(by)] => (list, &**by),
        _ => return Err(EvalError::no_such_overload()),
    };
    let mut joined = String::new();
    for (index, value) in list.iter().enumerate() {
        let Value::String(text) = value? else { return Err(EvalError::no_such_overload()) };
        let by = if index > 0 { by } else { "" };
        fits(meter, by.len() + text.len())?;
        if joined.len() + by.len() + text.len() > MAX_TEXT_BYTES {
            return Err(EvalError::new("string is too long"));
        }
        joined.push_str(by);
        joined.push_str(&text);
    }
    // The cost of joining is that of its result, which is known only now.
    meter.charge((joined.chars().count() as f64 * 0.2).ceil() as u64)?;
    Ok(Value::from(joined))
}

fn dynamic<'a>(name: &str, meter: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    let Some(Value::String(pattern)) = args.get(1) else { return Err(EvalError::no_such_overload()) };
    let regex = regexes::compile_dynamic(meter, pattern)?;
    with_regex(name, &regex, args, meter)
}

/// `matches`, `find` and `findAll` with their pattern compiled.
pub(crate) fn with_regex<'a>(name: &str, regex: &Regex, args: &[Value<'a>], meter: &mut Meter) -> Evaluated<'a> {
    let Some(Value::String(text)) = args.first() else { return Err(EvalError::no_such_overload()) };
    match (name, args) {
        ("matches", [_, Value::String(_)]) => Ok(Value::Bool(regex.is_match(text))),
        ("find", [_, Value::String(_)]) => Ok(match regex.find(text) {
            Some(found) => part(text, found.start(), found.end()),
            None => Value::from(String::new()),
        }),
        ("findAll", [_, Value::String(_), limit @ ..]) => {
            let limit = match limit {
                [] => usize::MAX,
                [Value::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
                _ => return Err(EvalError::no_such_overload()),
            };
            let mut found = Vec::new();
            for place in regex.find_iter(text).take(limit) {
                meter.allocate_values(1)?;
                found.push(part(text, place.start(), place.end()));
            }
            Ok(Value::List(List::Owned(found.into())))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}
