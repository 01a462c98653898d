//! URLs as Go reads them: `url('https://example.com/a?b=c').getHost()`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Evaluated, Function};
use crate::error::EvalError;
use crate::value::{Key, Map, Value};

/// The parts of an absolute URL or an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

pub(super) fn find(name: &str) -> Option<Function> {
    Some(match name {
        "url" => |_, args| match args {
            [Value::String(text)] => Url::parse(text).map(|url| Value::Url(Arc::new(url))).map_err(|why| {
                let message = format!("URL parse error during conversion from string: parse {:?}: {why}", &**text);
                EvalError::new(message)
            }),
            _ => Err(EvalError::no_such_overload()),
        },
        "isURL" => |_, args| match args {
            [Value::String(text)] => Ok(Value::Bool(is_url(text))),
            _ => Err(EvalError::no_such_overload()),
        },
        "getScheme" => |_, args| part(args, |url| url.scheme.clone()),
        "getHost" => |_, args| part(args, |url| url.host.clone()),
        "getHostname" => |_, args| part(args, |url| url.host_and_port().0.to_string()),
        "getPort" => |_, args| part(args, |url| url.host_and_port().1.to_string()),
        "getEscapedPath" => |_, args| part(args, |url| escaped(&url.path)),
        "getQuery" => |meter, args| match args {
            [Value::Url(url)] => {
                meter.allocate(4 * url.query.len() as u64)?;
                Ok(url.query_map())
            }
            _ => Err(EvalError::no_such_overload()),
        },
        _ => return None,
    })
}

fn part<'a>(args: &[Value<'a>], of: fn(&Url) -> String) -> Evaluated<'a> {
    match args {
        [Value::Url(url)] => Ok(Value::from(of(url))),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// Whether a text is an absolute URL or an absolute path.
pub(crate) fn is_url(text: &str) -> bool {
    Url::parse(text).is_ok()
}

impl Url {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("empty url");
        }
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err("net/url: invalid control character in URL");
        }
        let (scheme, rest) = scheme(text)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !rest.starts_with('/') {
            // `mailto:a@b`: it has a scheme and neither host nor path.
            return if scheme.is_empty() {
                Err("invalid URI for request")
            } else {
                Ok(Self { scheme, host: String::new(), path: String::new(), query: query.to_string() })
            };
        }
        let (authority, path) = match rest.strip_prefix("//") {
            Some(after) if !scheme.is_empty() => after.split_at(after.find('/').unwrap_or(after.len())),
            _ => ("", rest),
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        check_host(host)?;
        // A fragment is part of a path here: requests have none. A second look takes it off again.
        unescaped(path)?;
        let path = path.split('#').next().unwrap_or_default();
        let query = query.split('#').next().unwrap_or_default();
        Ok(Self { scheme, host: host.to_string(), path: path.to_string(), query: query.to_string() })
    }

    fn host_and_port(&self) -> (&str, &str) {
        let colon = self.host.rfind(':').filter(|at| self.host[at + 1..].bytes().all(|byte| byte.is_ascii_digit()));
        let (host, port) = match colon {
            Some(at) => (&self.host[..at], &self.host[at + 1..]),
            None => (self.host.as_str(), ""),
        };
        (host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port)
    }

    fn query_map(&self) -> Value<'static> {
        let mut found: BTreeMap<Key, Vec<Value<'static>>> = BTreeMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Ok(key), Ok(value)) = (unescaped(&key.replace('+', " ")), unescaped(&value.replace('+', " "))) else {
                continue;
            };
            found.entry(Key::String(key.into())).or_default().push(Value::from(value));
        }
        Value::Map(Map::Owned(Arc::new(found.into_iter().map(|(key, values)| (key, Value::from(values))).collect())))
    }
}

fn scheme(text: &str) -> Result<(String, &str), &'static str> {
    for (at, character) in text.char_indices() {
        match character {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => return Ok((String::new(), text)),
        }
    }
    Ok((String::new(), text))
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let port = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or("missing ']' in host")?.1,
        None => host.find(':').map_or("", |at| &host[at..]),
    };
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_port {
        return Err("invalid port after host");
    }
    let is_forbidden = |c: char| matches!(c, ' ' | '<' | '>' | '"' | '\\' | '^' | '`' | '{' | '}' | '|' | '#');
    if host.contains(is_forbidden) && !host.contains('#') {
        return Err("invalid character in host name");
    }
    unescaped(host).map(|_| ())
}

/// The text with `%41` decoded.
fn unescaped(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or("invalid URL escape")?);
        rest = &after[2..];
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A path with what a URL cannot have percent-encoded; what is encoded stays.
fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*%[]".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
