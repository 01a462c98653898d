use serde_json::json;

use super::*;
use crate::schema::{Definitions, check, check_change, default, prune_structural};

fn crontab() -> Schema {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["image"], "properties": {
            "image": {"type": "string", "maxLength": 10},
            "cron": {"type": "string", "pattern": "^[a-z]+$"},
            "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
            "maybe": {"type": "string", "nullable": true},
            "port": {"x-kubernetes-int-or-string": true},
            "when": {"type": "string", "format": "date-time"},
            "mode": {"type": "string", "enum": ["a", "b"]},
            "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set", "maxItems": 2},
            "rules": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {
                    "k": {"type": "string"}, "v": {"type": "integer", "default": 7, "maximum": 9}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"known": {"type": "object"}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}, "required": ["l"]},
            "price": {"type": "number", "multipleOf": 0.01},
            "even": {"type": "integer", "multipleOf": 2},
            "either": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        }},
    }});
    object_schema(&schema, "Meta")
}

#[test]
fn values_are_pruned_and_defaulted() {
    let (schema, definitions) = (crontab(), Definitions::default());
    let mut value = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "a"}, "extra": 1, "spec": {
        "image": "i", "cron": null, "maybe": null, "replicas": null, "typo": 1,
        "free": {"other": {"deep": 1}, "known": {"x": 1}}, "rules": [{"k": "a", "z": 1}], "labels": {"l": "x", "n": null}}});
    let unknown = prune_structural(&mut value, &schema, &definitions);
    assert_eq!(unknown, ["extra", "spec.free.known.x", "spec.rules[0].z", "spec.typo"]);
    default(&mut value, &schema, &definitions);
    assert_eq!(
        value["spec"],
        json!({"image": "i", "maybe": null, "replicas": 1, "free": {"other": {"deep": 1}, "known": {}},
            "rules": [{"k": "a", "v": 7}], "labels": {"l": "x"}})
    );
}

#[test]
fn wrong_values_are_refused_in_kubernetes_words() {
    let (schema, definitions) = (crontab(), Definitions::default());
    let errors = |spec: Value| -> Vec<String> {
        check(&json!({"spec": spec}), &schema, &definitions).iter().map(ToString::to_string).collect()
    };
    let cases = [
        (json!({"image": "i", "port": "http", "replicas": 2.0, "either": {"a": "x"}}), None),
        (json!({}), Some("spec.image: Required value")),
        (json!({"image": "i", "labels": {"l": ""}}), None),
        (json!({"image": "i", "labels": {"m": "x"}}), Some("spec.labels.l: Required value")),
        (json!({"image": "i", "price": 4.35, "even": 9_007_199_254_740_994_i64}), None),
        (
            json!({"image": "i", "price": 4.355}),
            Some("spec.price: Invalid value: 4.355: spec.price in body should be a multiple of 0.01"),
        ),
        (
            json!({"image": "i", "even": 9_007_199_254_740_993_i64}),
            Some("spec.even: Invalid value: 9007199254740993: spec.even in body should be a multiple of 2"),
        ),
        (json!({"image": "12345678901"}), Some("spec.image: Too long: may not be more than 10 bytes")),
        (
            json!({"image": "i", "replicas": "x"}),
            Some("spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\""),
        ),
        (
            json!({"image": "i", "replicas": 11}),
            Some("spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10"),
        ),
        (
            json!({"image": "i", "cron": "A"}),
            Some("spec.cron: Invalid value: \"A\": spec.cron in body should match '^[a-z]+$'"),
        ),
        (
            json!({"image": "i", "mode": "c"}),
            Some("spec.mode: Unsupported value: \"c\": supported values: \"a\", \"b\""),
        ),
        (json!({"image": "i", "tags": ["x", "x"]}), Some("spec.tags[1]: Duplicate value: \"x\"")),
        (json!({"image": "i", "tags": ["x", "y", "z"]}), Some("spec.tags: Too many: 3: must have at most 2 items")),
        (
            json!({"image": "i", "when": "now"}),
            Some("spec.when: Invalid value: \"now\": spec.when in body must be of type date-time: \"now\""),
        ),
        (
            json!({"image": "i", "either": {}}),
            Some(
                "spec.either: Invalid value: \"\": \"spec.either\" must validate one and only one schema (oneOf). \
                 Found none valid",
            ),
        ),
        (
            json!({"image": "i", "tags": [null]}),
            Some("spec.tags[0]: Invalid value: \"null\": spec.tags[0] in body must be of type string: \"null\""),
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(errors(spec.clone()), expected.into_iter().collect::<Vec<_>>(), "{spec}");
    }
}

#[test]
fn what_was_wrong_before_may_stay_as_it_was() {
    let (schema, definitions) = (crontab(), Definitions::default());
    let old = json!({"spec": {"image": "12345678901", "rules": [{"k": "a", "v": 10}], "mode": "c"}});
    let mut new = json!({"spec": {"image": "12345678901", "rules": [{"k": "b"}, {"k": "a", "v": 10}], "mode": "c"}});
    assert_eq!(check_change(&new, Some(&old), &schema, &definitions), Vec::new());
    new["spec"]["mode"] = json!("d");
    let errors = check_change(&new, Some(&old), &schema, &definitions);
    assert_eq!(errors.len(), 1);
}

#[test]
fn within_conditions_nothing_is_excused_by_what_was_there() {
    let one = |color: &str| json!({"properties": {"color": {"enum": [color]}}});
    let schema = json!({"type": "object", "properties": {
        "color": {"type": "string"}, "size": {"type": "integer"}, "part": {"type": "object", "properties": {
            "a": {"type": "integer"}, "b": {"type": "integer"}}, "not": {"properties": {"a": {"maximum": 1}}}}},
        "oneOf": [one("red"), one("blue")]});
    let (schema, definitions) = (read(&schema, "Meta"), Definitions::default());
    let change = |new: Value, old: Value| -> Vec<String> {
        check_change(&new, Some(&old), &schema, &definitions).iter().map(ToString::to_string).collect()
    };
    // The colour is as it was, which makes it neither both colours nor none.
    assert_eq!(change(json!({"color": "red", "size": 2}), json!({"color": "red", "size": 1})), Vec::<String>::new());
    assert_eq!(change(json!({"color": "green", "size": 2}), json!({"color": "green", "size": 1})).len(), 1);
    let part = |b: i64| json!({"color": "red", "part": {"a": 5, "b": b}});
    assert_eq!(change(part(2), part(1)), Vec::<String>::new());
    // A whole value that is as it was stays good.
    let green = json!({"color": "green"});
    assert_eq!(change(green.clone(), green), Vec::<String>::new());
}

#[test]
fn patterns_mean_what_go_makes_of_them() {
    for (pattern, text, is_valid) in [
        (r"^\d+$", "123", true),
        (r"^\d+$", "١٢٣", false),
        (r"^\w+$", "ä", false),
        ("^[[]$", "[", true),
        ("^a{$", "a{", true),
        (r"^\Qa.b\E$", "axb", false),
    ] {
        let schema = read(&json!({"type": "string", "pattern": pattern}), "");
        let errors = check(&json!(text), &schema, &Definitions::default());
        assert_eq!(errors.is_empty(), is_valid, "{pattern} on {text}: {errors:?}");
    }
}
