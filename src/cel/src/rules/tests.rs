//! Rules as users of CRDs write them.

use machinery::field::Path;
use serde_json::{Value as Json, json};

use super::{Validator, check_schema};
use crate::{Allowance, OBJECT_COST_LIMIT};

fn root(spec: Json) -> Json {
    json!({"type": "object", "properties": {"spec": spec}})
}

fn rules(schema: &Json, object: &Json, old: Option<&Json>) -> Vec<String> {
    let validator = Validator::of_resource(schema, &Allowance::default()).expect("there are rules");
    let mut budget = OBJECT_COST_LIMIT;
    validator.validate(&Path::default(), object, old, &mut budget).iter().map(ToString::to_string).collect()
}

fn refused(schema: &Json) -> Vec<String> {
    check_schema(schema, &Path::new("schema"), &Allowance::default()).iter().map(ToString::to_string).collect()
}

#[test]
fn a_rule_that_fails_is_told_at_its_node() {
    let schema = root(json!({"type": "object",
        "x-kubernetes-validations": [{"rule": "self.min <= self.max", "message": "min must not exceed max"}],
        "properties": {"min": {"type": "integer"}, "max": {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 10"}]}},
    }));
    assert!(rules(&schema, &json!({"spec": {"min": 1, "max": 2}}), None).is_empty());
    assert_eq!(
        rules(&schema, &json!({"spec": {"min": 30, "max": 20}}), None),
        [
            "spec: Invalid value: \"object\": min must not exceed max",
            "spec.max: Invalid value: 20: failed rule: self < 10"
        ]
    );
    assert_eq!(
        rules(&schema, &json!({"spec": {"max": 2}}), None),
        ["spec: Invalid value: \"object\": no such key: min evaluating rule: min must not exceed max"]
    );
    assert!(rules(&schema, &json!({}), None).is_empty());
    assert!(refused(&schema).is_empty());
}

#[test]
fn reasons_paths_and_messages_are_the_rules_own() {
    let schema = root(json!({"type": "object",
        "x-kubernetes-validations": [
            {"rule": "has(self.name)", "reason": "FieldValueRequired", "fieldPath": ".name", "message": "give a name"},
            {"rule": "!has(self.labels) || !('a.b' in self.labels)", "reason": "FieldValueForbidden", "fieldPath": ".labels['a.b']",
             "message": "static", "messageExpression": "'label a.b is ' + self.labels['a.b']"},
            {"rule": "!has(self.dup)", "reason": "FieldValueDuplicate", "messageExpression": "'  '", "message": "fallback"},
        ],
        "properties": {"name": {"type": "string"}, "dup": {"type": "string"},
            "labels": {"type": "object", "maxProperties": 5, "additionalProperties": {"type": "string", "maxLength": 9}}},
    }));
    assert_eq!(refused(&schema), Vec::<String>::new());
    assert_eq!(
        rules(&schema, &json!({"spec": {"dup": "x", "labels": {"a.b": "c"}}}), None),
        [
            "spec.name: Required value: give a name",
            "spec.labels[a.b]: Forbidden: label a.b is c",
            "spec: Duplicate value: \"object\": fallback",
        ]
    );
}

#[test]
fn transition_rules_see_what_the_node_was() {
    let schema = root(json!({"type": "object", "properties": {
        "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]},
        "grows": {"type": "integer", "x-kubernetes-validations": [
            {"rule": "!oldSelf.hasValue() || self >= oldSelf.value()", "optionalOldSelf": true, "message": "must not shrink"}]},
        "ports": {"type": "array", "maxItems": 4, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {"type": "object", "properties": {
                "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"},
                "target": {"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "target stays"}]}}}},
    }}));
    assert_eq!(refused(&schema), Vec::<String>::new());
    let old = json!({"spec": {"fixed": "a", "grows": 5, "ports": [
        {"port": 80, "protocol": "TCP", "target": 1}, {"port": 81, "protocol": "UDP", "target": 2}]}});
    let new = json!({"spec": {"fixed": "b", "grows": 4, "ports": [
        {"port": 81, "protocol": "UDP", "target": 3}, {"port": 80, "target": 1}, {"port": 82, "target": 9}]}});
    assert_eq!(
        rules(&schema, &new, Some(&old)),
        [
            "spec.fixed: Invalid value: \"b\": is immutable",
            "spec.grows: Invalid value: 4: must not shrink",
            "spec.ports[0].target: Invalid value: 3: target stays",
        ]
    );
    assert!(rules(&schema, &new, None).is_empty(), "what is new has no past");
    assert!(rules(&schema, &old, Some(&old)).is_empty());
}

#[test]
fn rules_reach_lists_maps_roots_and_all_of() {
    let schema = json!({"type": "object",
        "x-kubernetes-validations": [{"rule": "self.metadata.name.startsWith('x')", "fieldPath": ".spec"}],
        "properties": {"spec": {"type": "object", "properties": {
            "list": {"type": "array", "maxItems": 9, "items": {"type": "string", "maxLength": 9,
                "x-kubernetes-validations": [{"rule": "self != 'bad'"}]}},
            "map": {"type": "object", "maxProperties": 9, "additionalProperties": {"type": "integer",
                "x-kubernetes-validations": [{"rule": "self > 0"}]}},
            "size": {"type": "integer", "allOf": [{"x-kubernetes-validations": [{"rule": "self % 2 == 0"}]}]},
            "odd name": {"type": "integer", "x-kubernetes-validations": [{"rule": "self == 1"}]},
        }}},
    });
    assert_eq!(refused(&schema), Vec::<String>::new());
    let object = json!({"metadata": {"name": "abc"}, "spec": {"list": ["ok", "bad"], "map": {"a.b": 0}, "size": 3, "odd name": 2}});
    assert_eq!(
        rules(&schema, &object, None),
        [
            "spec: Invalid value: \"object\": failed rule: self.metadata.name.startsWith('x')",
            "spec.list[1]: Invalid value: \"bad\": failed rule: self != 'bad'",
            "spec.map[a.b]: Invalid value: 0: failed rule: self > 0",
            "spec.odd name: Invalid value: 2: failed rule: self == 1",
            "spec.size: Invalid value: 3: failed rule: self % 2 == 0",
        ]
    );
}

#[test]
fn the_budget_of_an_object_ends_its_rules() {
    let schema = root(json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "integer",
        "x-kubernetes-validations": [{"rule": "self >= 0", "message": "m"}]}}}}));
    let validator = Validator::of_resource(&schema, &Allowance::default()).expect("there are rules");
    let object = json!({"spec": {"list": [1, 2, 3, 4, 5]}});
    let mut budget = 5;
    let told: Vec<String> =
        validator.validate(&Path::default(), &object, None, &mut budget).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "spec.list[2]: Invalid value: \"integer\": validation failed due to running out of cost budget, no further validation rules will be run"
        ]
    );
    let mut budget = OBJECT_COST_LIMIT;
    assert!(validator.validate(&Path::default(), &object, None, &mut budget).is_empty());
    assert_eq!(OBJECT_COST_LIMIT - budget, 10, "each rule costs a name and a comparison");
}

#[test]
fn rules_that_may_cost_too_much_are_refused() {
    let nested = |bound: Option<u64>| {
        let mut list = json!({"type": "array", "items": {"type": "string"},
            "x-kubernetes-validations": [{"rule": "self.all(a, self.all(b, a == b))"}]});
        if let Some(bound) = bound {
            list["maxItems"] = bound.into();
            list["items"]["maxLength"] = 10.into();
        }
        root(list)
    };
    let hint = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
    let told = refused(&nested(None));
    assert_eq!(
        told[0],
        format!(
            "schema.properties[spec].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x {hint}"
        )
    );
    assert_eq!(
        told[1],
        "schema.properties[spec].x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
    );
    assert!(told[2].starts_with("schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x"), "{told:?}");
    assert!(refused(&nested(Some(50))).is_empty());

    // A rule counts as often as there may be nodes that it applies to.
    let many = root(json!({"type": "array", "items": {"type": "object", "properties": {"v": {"type": "string"}},
        "x-kubernetes-validations": [{"rule": "self.v.contains('abc')"}]}}));
    assert!(refused(&many)[0].contains("estimated rule cost exceeds budget"), "{:?}", refused(&many));
}

#[test]
fn rules_that_say_nothing_of_use_are_refused() {
    let of = |rule: Json| {
        refused(&root(
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-validations": [rule]}),
        ))
    };
    let at = "schema.properties[spec].x-kubernetes-validations[0]";
    for (rule, expected) in [
        (json!({"rule": " "}), format!("{at}.rule: Required value: rule is not specified")),
        (
            json!({"rule": "true", "message": " "}),
            format!("{at}.message: Invalid value: \" \": must be non-empty if specified"),
        ),
        (
            json!({"rule": "true", "message": "a\nb"}),
            format!("{at}.message: Invalid value: \"a\\nb\": must not contain line breaks"),
        ),
        (
            json!({"rule": "true\n&& true"}),
            format!("{at}.message: Required value: message must be specified if rule contains line breaks"),
        ),
        (
            json!({"rule": "true", "fieldPath": ".b"}),
            format!("{at}.fieldPath: Invalid value: \".b\": must be a valid path"),
        ),
        (
            json!({"rule": "true", "reason": "Nope"}),
            format!(
                "{at}.reason: Unsupported value: \"Nope\": supported values: \"FieldValueDuplicate\", \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\""
            ),
        ),
        (
            json!({"rule": "self.a"}),
            format!("{at}.rule: Invalid value: \"self.a\": cel expression must evaluate to a bool"),
        ),
        (
            json!({"rule": "true", "messageExpression": "1"}),
            format!("{at}.messageExpression: Invalid value: \"1\": messageExpression must evaluate to a string"),
        ),
        (
            json!({"rule": "true", "optionalOldSelf": true}),
            format!("{at}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"),
        ),
        (
            json!({"rule": "self.b"}),
            format!(
                "{at}.rule: Invalid value: \"self.b\": compilation failed: ERROR: <input>:1:5: undefined field 'b'\n | self.b\n | ....^"
            ),
        ),
    ] {
        assert_eq!(of(rule.clone()), [expected], "{rule}");
    }
    let within_list = root(json!({"type": "array", "maxItems": 3, "items": {"type": "integer",
        "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}));
    assert_eq!(
        refused(&within_list),
        [
            "schema.properties[spec].items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within schema.properties[spec]"
        ]
    );
}

#[test]
fn what_an_update_leaves_as_it_was_may_break_rules() {
    let schema = root(json!({"type": "object", "properties": {
        "a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 5"}]},
        "b": {"type": "integer", "x-kubernetes-validations": [{"rule": "self >= oldSelf"}]},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
            "type": "object", "x-kubernetes-validations": [{"rule": "self.v < 5"}],
            "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "list": {"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 5"}]}},
    }}));
    let old = json!({"spec": {"a": 9, "b": 1, "map": [{"k": "x", "v": 9}], "list": [9]}});
    let mut new = old.clone();
    new["metadata"] = json!({"labels": {"a": "b"}});
    new["spec"]["map"] = json!([{"k": "y", "v": 1}, {"k": "x", "v": 9}]);
    assert!(rules(&schema, &new, Some(&old)).is_empty());
    new["spec"] = json!({"a": 8, "b": 0, "map": [{"k": "x", "v": 8}], "list": [9, 1]});
    assert_eq!(
        rules(&schema, &new, Some(&old)),
        [
            "spec.a: Invalid value: 8: failed rule: self < 5",
            "spec.b: Invalid value: 0: failed rule: self >= oldSelf",
            "spec.list[0]: Invalid value: 9: failed rule: self < 5",
            "spec.map[0]: Invalid value: \"object\": failed rule: self.v < 5",
        ]
    );
}

/// A definition whose spec has this many rules.
fn many_rules(count: usize, rule: impl Fn(usize) -> String) -> Json {
    let rules: Vec<Json> = (0..count).map(|number| json!({"rule": rule(number)})).collect();
    root(
        json!({"type": "object", "properties": {"text": {"type": "string", "maxLength": 5}}, "x-kubernetes-validations": rules}),
    )
}

#[test]
fn all_rules_of_a_definition_share_a_bound() {
    // What is left of it when other rules have taken most.
    let little = || {
        let allowance = Allowance::default();
        allowance.take_pattern(31 << 20).expect("there is more");
        allowance.take_nodes(400_000).expect("there are more");
        allowance
    };
    let refused_within = |schema: &Json| -> Vec<String> {
        check_schema(schema, &Path::new("schema"), &little()).iter().map(ToString::to_string).collect()
    };
    let patterns = |count| many_rules(count, |number| format!("self.text.matches('^\\\\pL{{{}}}$')", 1 + number % 3));
    assert_eq!(refused_within(&patterns(3)), Vec::<String>::new());
    let told = refused_within(&patterns(300));
    assert!(told.iter().any(|told| told.contains("patterns too large: together they take more than")), "{told:?}");
    assert!(told.len() <= 101, "{}", told.len());
    // What is called on is there twice in what an `optMap` becomes.
    let doubled = |count| {
        many_rules(count, |_| format!("[self.text]{}.size() >= 0", "[?0].optMap(x, [x]).orValue([''])".repeat(9)))
    };
    assert_eq!(refused_within(&doubled(1)), Vec::<String>::new());
    let told = refused_within(&doubled(40));
    assert!(told.iter().any(|told| told.contains("expressions too large: together they have more than")), "{told:?}");
    // One that is in the store since there was no bound is not obeyed in part.
    let validator = Validator::of_resource(&patterns(300), &little()).expect("there are rules");
    let told =
        validator.validate(&Path::default(), &json!({"spec": {"text": "a"}}), None, &mut OBJECT_COST_LIMIT.clone());
    assert!(told.iter().any(|told| told.detail.contains("patterns too large")), "{told:?}");
}

#[test]
fn unchanged_elements_are_compared_once() {
    let items = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "x-kubernetes-validations": [{"rule": "self.n < 0"}]});
    let schema = root(
        json!({"type": "object", "properties": {"list": {"type": "array", "items": items}, "other": {"type": "integer"}}}),
    );
    let object = |other: u32| {
        let list: Vec<Json> = (0..20_000).map(|number| json!({"n": number})).collect();
        json!({"spec": {"list": list, "other": other}})
    };
    let began = std::time::Instant::now();
    assert_eq!(rules(&schema, &object(2), Some(&object(1))), Vec::<String>::new());
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    // What an object has wrong is told up to a bound.
    let told = rules(&schema, &object(1), None);
    assert_eq!(told.len(), 101);
    assert!(told[100].ends_with("more than 100 rules fail, no further validation rules will be run"), "{}", told[100]);
}

#[test]
fn a_value_that_its_type_does_not_fit_any_more_may_stay() {
    let schema = root(json!({"type": "object", "properties": {
        "wait": {"type": "string", "format": "duration", "x-kubernetes-validations": [{"rule": "self < duration('1h')"}]},
        "other": {"type": "integer"}}}));
    let object = |wait: &str, other: u32| json!({"spec": {"wait": wait, "other": other}});
    assert_eq!(rules(&schema, &object("long", 2), Some(&object("long", 1))), Vec::<String>::new());
    assert_eq!(rules(&schema, &object("longer", 1), Some(&object("long", 1))).len(), 1);
}
