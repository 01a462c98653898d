//! `fieldPath` of a rule: `.spec.replicas`, `.labels['a.b']`.

use serde_json::Value as Json;

/// The path as errors show it, where the schema has it.
///
/// # Errors
/// What is wrong with the path.
pub(super) fn resolve(path: &str, schema: &Json) -> Result<String, String> {
    let mut shown = String::new();
    let mut at = schema;
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let name;
        match first {
            '.' => {
                let end = rest[1..].find(['.', '[', ']']).map_or(rest.len(), |end| end + 1);
                name = rest[1..end].to_string();
                if name.is_empty() {
                    return Err("unexpected end of JSON path".to_string());
                }
                rest = &rest[end..];
            }
            '[' => {
                let (quoted, length) = quoted(&rest[1..])?;
                name = quoted;
                rest = &rest[1 + length..];
            }
            _ => return Err(format!("expected [ or . but got: {rest}")),
        }
        let properties = at.get("properties").filter(|properties| properties.is_object());
        if let Some(properties) = properties {
            at = properties.get(&name).ok_or("does not refer to a valid field")?;
            shown.push_str(if shown.is_empty() { "" } else { "." });
            shown.push_str(&name);
        } else {
            let values = at.get("additionalProperties").filter(|values| values.is_object());
            at = values.ok_or("does not refer to a valid field")?;
            shown.push_str(&format!("[{name}]"));
        }
    }
    Ok(shown)
}

/// The text of `'...']`, and how long that is.
fn quoted(text: &str) -> Result<(String, usize), String> {
    let body = text.strip_prefix('\'').ok_or("expected single quoted string")?;
    let mut name = String::new();
    let mut characters = body.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\'' => {
                return match body[at + 1..].strip_prefix(']') {
                    Some(_) => Ok((name, at + 3)),
                    None => Err("expected ]".to_string()),
                };
            }
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('a') => name.push('\u{7}'),
                Some('b') => name.push('\u{8}'),
                Some('f') => name.push('\u{c}'),
                Some('n') => name.push('\n'),
                Some('r') => name.push('\r'),
                Some('t') => name.push('\t'),
                Some('v') => name.push('\u{b}'),
                Some(escaped @ ('\'' | '\\')) => name.push(escaped),
                _ => return Err("invalid string literal".to_string()),
            },
            _ => name.push(character),
        }
    }
    Err("unexpected end of JSON path".to_string())
}
