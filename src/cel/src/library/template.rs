//! `'%s has %d'.format([name, count])`

use super::strings::fits;
use super::{Evaluated, text_of};
use crate::error::EvalError;
use crate::eval::Meter;
use crate::value::{List, Value};

/// Digits after the point that are asked for where none are.
const DEFAULT_PRECISION: usize = 6;
const MAX_PRECISION: usize = 1000;
/// Lists within lists in one `%s`.
const MAX_DEPTH: usize = 128;

/// The template with its clauses filled from the list.
pub(super) fn format<'a>(meter: &mut Meter, template: &str, args: &List<'a>) -> Evaluated<'a> {
    let mut text = String::new();
    let mut rest = template;
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let (precision, after) = precision(rest)?;
        let verb = after.chars().next().ok_or_else(|| EvalError::new("unexpected end of string"))?;
        rest = &after[verb.len_utf8()..];
        let value = args.get(next).unwrap_or_else(|| Err(EvalError::new(format!("index {next} out of range"))))?;
        next += 1;
        clause(meter, verb, precision, &value, &mut text)?;
        fits(meter, text.len() / 16 + 16)?;
    }
    text.push_str(rest);
    fits(meter, text.len())?;
    Ok(Value::from(text))
}

/// `.3` and what follows.
fn precision(text: &str) -> Result<(Option<usize>, &str), EvalError> {
    let Some(after) = text.strip_prefix('.') else { return Ok((None, text)) };
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    let number: usize =
        after[..end].parse().map_err(|_| EvalError::new("could not find end of precision specifier"))?;
    if number > MAX_PRECISION {
        return Err(EvalError::new("precision specifier is too large"));
    }
    Ok((Some(number), &after[end..]))
}

fn refused(what: &str, value: &Value<'_>) -> EvalError {
    EvalError::new(format!("error during formatting: {what}, was given {}", value.type_name()))
}

fn clause(
    meter: &mut Meter,
    verb: char,
    precision: Option<usize>,
    value: &Value<'_>,
    text: &mut String,
) -> Result<(), EvalError> {
    match (verb, value) {
        ('s', value) => plain(meter, value, text, 0)?,
        ('d', Value::Int(_) | Value::Uint(_)) => text.push_str(&text_of(value)?),
        ('d', _) => return Err(refused("decimal clause can only be used on integers", value)),
        ('f' | 'e', value) => {
            let number = match value {
                Value::Double(number) => *number,
                Value::String(special) if &**special == "NaN" => f64::NAN,
                Value::String(special) if &**special == "Infinity" => f64::INFINITY,
                Value::String(special) if &**special == "-Infinity" => f64::NEG_INFINITY,
                _ if verb == 'f' => return Err(refused("fixed-point clause can only be used on doubles", value)),
                _ => return Err(refused("scientific clause can only be used on doubles", value)),
            };
            text.push_str(&floating(number, verb, precision.unwrap_or(DEFAULT_PRECISION)));
        }
        ('b', Value::Int(number)) => text.push_str(&signed(*number, |number| format!("{number:b}"))),
        ('b', Value::Uint(number)) => text.push_str(&format!("{number:b}")),
        ('b', Value::Bool(value)) => text.push(if *value { '1' } else { '0' }),
        ('b', _) => return Err(refused("only integers and bools can be formatted as binary", value)),
        ('o', Value::Int(number)) => text.push_str(&signed(*number, |number| format!("{number:o}"))),
        ('o', Value::Uint(number)) => text.push_str(&format!("{number:o}")),
        ('o', _) => return Err(refused("octal clause can only be used on integers", value)),
        ('x' | 'X', value) => {
            let hex = hex(meter, value)?;
            text.push_str(&if verb == 'X' { hex.to_uppercase() } else { hex });
        }
        _ => {
            return Err(EvalError::new(format!(
                "could not parse formatting clause: unrecognized formatting clause \"{verb}\""
            )));
        }
    }
    Ok(())
}

fn signed(number: i64, digits: fn(u64) -> String) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", digits(number.unsigned_abs()))
}

fn hex(meter: &mut Meter, value: &Value<'_>) -> Result<String, EvalError> {
    let bytes = match value {
        Value::Int(number) => return Ok(signed(*number, |number| format!("{number:x}"))),
        Value::Uint(number) => return Ok(format!("{number:x}")),
        Value::String(text) => text.as_bytes(),
        Value::Bytes(bytes) => bytes,
        _ => return Err(refused("only integers, byte buffers, and strings can be formatted as hex", value)),
    };
    fits(meter, 2 * bytes.len())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn floating(number: f64, verb: char, precision: usize) -> String {
    if number.is_nan() {
        return "NaN".to_string();
    }
    if number.is_infinite() {
        return if number > 0.0 { "\u{221e}" } else { "-\u{221e}" }.to_string();
    }
    if verb == 'f' {
        return grouped(&format!("{number:.precision$}"));
    }
    let text = format!("{number:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}\u{202f}\u{d7}\u{202f}10{}", power(exponent))
}

fn power(exponent: i32) -> String {
    const DIGITS: [char; 10] = [
        '\u{2070}', '\u{b9}', '\u{b2}', '\u{b3}', '\u{2074}', '\u{2075}', '\u{2076}', '\u{2077}', '\u{2078}',
        '\u{2079}',
    ];
    let sign = if exponent < 0 { "\u{207b}" } else { "" };
    let digits: String =
        format!("{:02}", exponent.abs()).bytes().map(|digit| DIGITS[usize::from(digit - b'0') % 10]).collect();
    format!("{sign}{digits}")
}

/// `1,234,567.5`
fn grouped(text: &str) -> String {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut grouped = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

/// What `%s` makes of a value.
fn plain(meter: &mut Meter, value: &Value<'_>, text: &mut String, depth: usize) -> Result<(), EvalError> {
    fits(meter, 16)?;
    if depth > MAX_DEPTH {
        return Err(EvalError::new("value is too deep to be formatted"));
    }
    let quote = |inner: &str| if depth > 0 { format!("\"{inner}\"") } else { inner.to_string() };
    match value {
        Value::Null => text.push_str("null"),
        Value::String(inner) => text.push_str(&quote(inner)),
        Value::Double(number) if number.is_finite() && depth > 0 => text.push_str(&format!("{number:.6}")),
        Value::Double(number) if number.is_nan() => text.push_str(&quote("NaN")),
        Value::Double(number) if number.is_infinite() => {
            text.push_str(&quote(if *number > 0.0 { "Infinity" } else { "-Infinity" }));
        }
        Value::Timestamp(_) if depth > 0 => text.push_str(&format!("timestamp({})", quote(&text_of(value)?))),
        Value::Duration(_) if depth > 0 => text.push_str(&format!("duration({})", quote(&text_of(value)?))),
        Value::Type(name) => text.push_str(name),
        Value::Bytes(bytes) => text.push_str(&String::from_utf8_lossy(bytes)),
        Value::List(list) => {
            text.push('[');
            for (index, element) in list.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                plain(meter, &element?, text, depth + 1)?;
            }
            text.push(']');
        }
        Value::Map(map) => {
            text.push('{');
            for (index, key) in map.keys().iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                plain(meter, key, text, depth + 1)?;
                text.push_str(": ");
                if let Some(value) = crate::value::Key::of(key).and_then(|key| map.get(&key)) {
                    plain(meter, &value?, text, depth + 1)?;
                }
            }
            text.push('}');
        }
        value => {
            let what = "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps";
            text.push_str(&text_of(value).map_err(|_| refused(what, value))?);
        }
    }
    Ok(())
}
