//! The printed JSON Schema beside what is read: the same keys, and the examples are of its form.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

/// No key is near it, so that the error lists those there are.
const NO_KEY: &str = "0#0#0#0";

/// The schema that a reference or a choice with `null` stands for.
fn meant<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.strip_prefix('#').unwrap_or_else(|| panic!("{name} is no reference into the schema"));
        return meant(root, root.pointer(pointer).unwrap_or_else(|| panic!("{name} leads nowhere")));
    }
    match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([one, null]) if null["type"] == "null" => meant(root, one),
        _ => schema,
    }
}

/// A value at some place of a document: the whole document.
type Put<'a> = &'a dyn Fn(Value) -> Value;

/// Every object with named keys: how its value is put into a whole document, and its keys.
fn objects(root: &Value, schema: &Value, put: Put<'_>, visit: &mut dyn FnMut(Put<'_>, BTreeSet<String>)) {
    let schema = meant(root, schema);
    if let Some(properties) = schema["properties"].as_object() {
        visit(put, properties.keys().cloned().collect());
        for (key, inner) in properties {
            objects(root, inner, &|value| put(json!({ key: value })), visit);
        }
    }
    if schema["items"].is_object() {
        objects(root, &schema["items"], &|value| put(json!([value])), visit);
    }
    if schema["additionalProperties"].is_object() {
        objects(root, &schema["additionalProperties"], &|value| put(json!({ "any": value })), visit);
    }
}

#[test]
fn the_schema_has_exactly_the_keys_that_are_read() {
    let schema = json_schema();
    let mut count = 0;
    objects(&schema, &schema, &|value| value, &mut |put, keys| {
        let text = put(json!({ NO_KEY: 1 })).to_string();
        let problem = problems_of(&text).join("\n");
        let (_, known) = problem.split_once("known here: ").unwrap_or_else(|| panic!("{text}: {problem}"));
        let known: BTreeSet<String> = known.split(", ").map(str::to_owned).collect();
        assert_eq!(keys, known, "{text}");
        count += keys.len();
    });
    assert!(count > 80, "{count} keys were found");
    assert!(!schema.to_string().contains("\"value\""), "places of values leak into the schema");
}

/// What of a value is not of the schema's form. Knows the words that the schema uses, and no others.
fn faults(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let Some(words) = schema.as_object() else { return Vec::new() };
    let mut found = Vec::new();
    for (word, wanted) in words {
        let list = || wanted.as_array().unwrap_or_else(|| panic!("{word} is a list"));
        let is_right = match word.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "format" | "properties" => true,
            "$ref" => {
                found.extend(faults(root, meant(root, schema), value, at));
                true
            }
            "anyOf" => list().iter().any(|one| faults(root, one, value, at).is_empty()),
            "oneOf" => list().iter().filter(|one| faults(root, one, value, at).is_empty()).count() == 1,
            "const" => value == wanted,
            "enum" => list().contains(value),
            "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap_or(f64::MAX)),
            "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap_or(f64::MIN)),
            "type" => wanted.as_array().map_or(vec![wanted], |all| all.iter().collect()).iter().any(|kind| match kind
                .as_str()
                .unwrap_or_default()
            {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                "null" => value.is_null(),
                other => panic!("the schema has a type {other}"),
            }),
            "required" => list().iter().all(|key| value.get(key.as_str().unwrap_or_default()).is_some()),
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                found.extend(items.flat_map(|(index, item)| faults(root, wanted, item, &format!("{at}[{index}]"))));
                true
            }
            "additionalProperties" => {
                for (key, inner) in value.as_object().into_iter().flatten() {
                    let named = schema["properties"].get(key);
                    if named.is_none() && *wanted == json!(false) {
                        found.push(format!("{at}.{key} is not known"));
                    }
                    found.extend(faults(root, named.unwrap_or(wanted), inner, &format!("{at}.{key}")));
                }
                true
            }
            other => panic!("the schema uses {other}, which this test does not know"),
        };
        if !is_right {
            found.push(format!("{at}: {value} is not of {word} {wanted}"));
        }
    }
    found
}

#[test]
fn every_example_is_of_the_schemas_form_and_a_slip_is_not() {
    let schema = json_schema();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../inventories");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let value: Value = serde_yaml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(faults(&schema, &schema, &value, ""), Vec::<String>::new(), "{}", path.display());
    }
    let one = |host: Value| json!({ "spec": { "hosts": [host] } });
    assert!(faults(&schema, &schema, &one(json!({ "address": "192.0.2.1", "ssh": { "port": 22 } })), "").is_empty());
    for slip in [
        json!({ "spec": {} }),
        one(json!({ "adress": "192.0.2.1" })),
        one(json!({ "address": 5 })),
        one(json!({ "address": "192.0.2.1", "role": "controler" })),
        one(json!({ "address": "192.0.2.1", "ssh": { "port": 70000 } })),
        one(json!({ "address": "192.0.2.1", "ssh": { "hostKeys": { "policy": "lax" } } })),
        one(json!({ "address": "192.0.2.1", "labels": { "a": 1 } })),
    ] {
        assert!(!faults(&schema, &schema, &slip, "").is_empty(), "{slip}");
    }
}
