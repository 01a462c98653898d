//! The hash of a generated object's content that ends its name.

use machinery::meta;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::resource::Resource;

/// Ends the names of generated objects with their hashes.
pub(crate) fn add(resources: &mut [Resource]) {
    for resource in resources.iter_mut().filter(|resource| resource.needs_hash) {
        resource.remember();
        let name = format!("{}-{}", meta::name(&resource.object), of(&resource.object));
        meta::set_name(&mut resource.object, &name);
    }
}

/// Ten characters out of the SHA-256 of the content, in an alphabet that makes no words.
pub(crate) fn of(object: &Value) -> String {
    let field = |name: &str| object.get(name).filter(|value| !value.is_null()).cloned().unwrap_or_else(|| "".into());
    let mut content = Map::new();
    let kind = meta::kind(object);
    content.insert("kind".to_string(), kind.into());
    // kustomize hashes a name too, and never finds it.
    content.insert("name".to_string(), "".into());
    content.insert("data".to_string(), wrapped(field("data"), kind == "Secret"));
    let extra = if kind == "Secret" { "stringData" } else { "binaryData" };
    if object.get(extra).is_some_and(Value::is_object) {
        content.insert(extra.to_string(), wrapped(field(extra), kind != "Secret"));
    }
    if kind == "Secret" {
        content.insert("type".to_string(), field("type"));
    }
    let sum = Sha256::digest(go_json(&json!(content)).as_bytes());
    let hex: String = sum.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    hex.chars()
        .map(|c| match c {
            '0' => 'g',
            '1' => 'h',
            '3' => 'k',
            'a' => 'm',
            'e' => 't',
            c => c,
        })
        .collect()
}

/// kustomize hashes base64 as it writes it: in lines of 70 characters where there is more than one.
fn wrapped(data: Value, is_base64: bool) -> Value {
    const LINE_LENGTH: usize = 70;
    let Value::Object(fields) = data else { return data };
    let wrap = |value: Value| match value {
        Value::String(text) if is_base64 && text.len() >= LINE_LENGTH => {
            let lines = text.as_bytes().chunks(LINE_LENGTH);
            Value::String(lines.map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect())
        }
        value => value,
    };
    Value::Object(fields.into_iter().map(|(key, value)| (key, wrap(value))).collect())
}

/// JSON as Go writes it, which escapes what HTML would read.
fn go_json(value: &Value) -> String {
    value
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kustomize() {
        let cases = [
            (json!({"kind": "ConfigMap"}), "6ct58987ht"),
            (json!({"kind": "ConfigMap", "data": {"one": ""}}), "9g67k2htb6"),
            (json!({"kind": "ConfigMap", "data": {"two": 2, "one": "", "three": 3}}), "7757f9kkct"),
            (json!({"kind": "ConfigMap", "binaryData": {"one": ""}}), "6mtk2m274t"),
            (json!({"kind": "ConfigMap", "data": {"one": ""}, "binaryData": {"two": ""}}), "698h7c7t9m"),
            (json!({"kind": "Secret", "type": "my-type"}), "5gmgkf8578"),
            (json!({"kind": "Secret", "type": "my-type", "data": {"one": ""}}), "74bd68bm66"),
            (json!({"kind": "Secret", "type": "my-type", "data": {"two": 2, "one": "", "three": 3}}), "4gf75c7476"),
            (json!({"kind": "Secret", "type": "my-type", "data": {"one": ""}, "stringData": {"two": 2}}), "c4h4264gdb"),
        ];
        for (object, hash) in cases {
            assert_eq!(of(&object), hash, "{object}");
        }
    }
}
