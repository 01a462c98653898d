//! Named formats: `format.dns1123Label().validate(name)`.

use machinery::names;

use super::url::is_url;
use super::{Evaluated, Function};
use crate::error::EvalError;
use crate::eval::Meter;
use crate::time;
use crate::value::Value;

/// A format: its name, what is wrong with a text, and how long its pattern is, which costs are counted by.
#[derive(Debug)]
pub struct Format {
    pub(crate) name: &'static str,
    check: fn(&str) -> Vec<String>,
    pub(crate) pattern_length: u64,
}

const fn format(name: &'static str, pattern_length: u64, check: fn(&str) -> Vec<String>) -> Format {
    Format { name, check, pattern_length }
}

static FORMATS: [Format; 13] = [
    format("dns1123Label", 30, names::dns1123_label),
    format("dns1123Subdomain", 60, names::dns1123_subdomain),
    format("dns1035Label", 30, names::dns1035_label),
    format("qualifiedName", 60, names::qualified_name),
    format("dns1123LabelPrefix", 30, |text| names::dns1123_label(&as_prefix(text))),
    format("dns1123SubdomainPrefix", 60, |text| names::dns1123_subdomain(&as_prefix(text))),
    format("dns1035LabelPrefix", 30, |text| names::dns1035_label(&as_prefix(text))),
    format("labelValue", 40, names::label_value),
    format("uri", 1103, |text| unless(is_url(text), "invalid URI for request")),
    format("uuid", 83, |text| unless(is_uuid(text), "does not match the UUID format")),
    format("byte", 84, |text| unless(is_base64(text), "invalid base64")),
    format("date", 125, |text| unless(time::read_date(text).is_some(), "invalid date")),
    format("datetime", 125, |text| unless(time::parse_timestamp(text).is_ok(), "invalid datetime")),
];

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "validate" => validate,
        "format.named" => |_, args| match args {
            [Value::String(name)] => match named(name) {
                Some(format) => Ok(Value::some(Value::Format(format))),
                None => Ok(Value::Optional(None)),
            },
            _ => Err(EvalError::no_such_overload()),
        },
        "format.dns1123Label" => |_, _| constant(0),
        "format.dns1123Subdomain" => |_, _| constant(1),
        "format.dns1035Label" => |_, _| constant(2),
        "format.qualifiedName" => |_, _| constant(3),
        "format.dns1123LabelPrefix" => |_, _| constant(4),
        "format.dns1123SubdomainPrefix" => |_, _| constant(5),
        "format.dns1035LabelPrefix" => |_, _| constant(6),
        "format.labelValue" => |_, _| constant(7),
        "format.uri" => |_, _| constant(8),
        "format.uuid" => |_, _| constant(9),
        "format.byte" => |_, _| constant(10),
        "format.date" => |_, _| constant(11),
        "format.datetime" => |_, _| constant(12),
        _ => return None,
    })
}

fn constant<'a>(index: usize) -> Evaluated<'a> {
    FORMATS.get(index).map(Value::Format).ok_or_else(EvalError::no_such_overload)
}

fn named(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

fn validate<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Evaluated<'a> {
    let [Value::Format(format), Value::String(text)] = args else { return Err(EvalError::no_such_overload()) };
    meter.allocate(text.len() as u64)?;
    let wrong = (format.check)(text);
    if wrong.is_empty() {
        return Ok(Value::Optional(None));
    }
    Ok(Value::some(Value::from(wrong.into_iter().map(Value::from).collect::<Vec<_>>())))
}

fn unless(is_valid: bool, message: &str) -> Vec<String> {
    if is_valid { Vec::new() } else { vec![message.to_string()] }
}

/// A prefix may end with a dash, after which a name goes on.
fn as_prefix(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => text.to_string(),
    }
}

fn is_uuid(text: &str) -> bool {
    let bare: String = text.chars().filter(|c| *c != '-').collect();
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    bare.len() == 32
        && bare.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (groups == [8, 4, 4, 4, 12] || groups == [32])
}

fn is_base64(text: &str) -> bool {
    use base64::Engine;
    !text.is_empty() && base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}
