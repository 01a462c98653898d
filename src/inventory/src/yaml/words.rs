//! What the YAML parser found wrong, in the words of whoever wrote the file: the key, and what it takes.

use serde_yaml::{DefaultMessageFormatter, Error, MessageFormatter as _};

use super::suggest;
use crate::error::Place;

/// What the parser says of `text`, in words that name the remedy. A value is never repeated: it may be a secret.
pub(super) fn explain(error: &Error, text: &str, place: Place) -> String {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key `{field}`; {}", suggest(field, expected.iter().copied()))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("unknown value `{variant}`; {}", suggest(variant, expected.iter().copied()))
        }
        _ if is_blank(text) => "the file is empty; the least is `spec: {hosts: [{address: ADDRESS}]}`".to_owned(),
        Error::SerdeMissingField { field, .. } => format!("`{field}` is missing"),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` is there twice"),
        Error::Unexpected { expected, .. } => takes(text, place, structure(expected)),
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. } => {
            takes(text, place, expected)
        }
        Error::InvalidScalar { ty, .. } => takes(text, place, scalar(ty)),
        Error::InvalidBooleanStrict { .. } => takes(text, place, scalar("boolean")),
        Error::NullIntoString { .. } => takes(text, place, "a text"),
        Error::MultipleDocuments { .. } => {
            "a second document begins here; an inventory is one document: put every cluster into a file of its own"
                .to_owned()
        }
        Error::Eof { .. } => "the file ends too early: a bracket or a quote is not closed".to_owned(),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "this alias stands within what it stands for: write the value itself".to_owned()
        }
        other => {
            let said = DefaultMessageFormatter.format_message(other).trim().to_owned();
            // Scanners of YAML have many words for it.
            if said.contains("tabs disallowed") { "a tab cannot indent: use blanks".to_owned() } else { said }
        }
    }
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|line| matches!(line.trim(), "" | "---") || line.trim_start().starts_with('#'))
}

fn structure(expected: &str) -> &str {
    match expected {
        "sequence start" => "a list",
        "mapping start" => "keys with values",
        "string scalar" | "scalar" | "scalar value" => "a single value",
        other => other,
    }
}

fn scalar(kind: &str) -> &str {
    match kind {
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number",
        "boolean" | "bool" => "`true` or `false`",
        other => other,
    }
}

/// The key that the place belongs to, and what it takes.
fn takes(text: &str, place: Place, wanted: &str) -> String {
    let Some(key) = key_before(text, place) else { return format!("expected {wanted} here") };
    let form = match key.as_str() {
        "hosts" => "a list of hosts, each with its `address`",
        "taints" => "a list of texts as kubectl writes them: `key=value:NoSchedule` or `key:NoSchedule`",
        "ref" => "the name of a branch or a tag, or a commit",
        "port" => "a whole number from 1 to 65535",
        "dns" | "ingress" | "metrics" => "keys with values: `{enabled: false}` leaves it out",
        _ => wanted,
    };
    format!("`{key}` takes {form}")
}

/// The last key before a place: the one whose value, or whose list's element, stands there.
fn key_before(text: &str, place: Place) -> Option<String> {
    let (line, column) = (usize::try_from(place.line).ok()?, usize::try_from(place.column).ok()?);
    let before: Vec<&str> = text.lines().take(line).collect();
    before.iter().enumerate().rev().find_map(|(index, whole)| {
        let end = if index + 1 == line { column.saturating_sub(1) } else { usize::MAX };
        let part: String = whole.chars().take(end).collect();
        let part = part.split(" #").next().unwrap_or_default();
        part.match_indices(':').rev().find_map(|(at, _)| {
            let ends = part[at + 1..].chars().next().is_none_or(char::is_whitespace);
            let word = part[..at].rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            (ends && !word.is_empty()).then(|| word.to_owned())
        })
    })
}
