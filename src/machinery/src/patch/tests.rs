use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::fixture;
use crate::strict::{MAX_DEPTH, depth};

fn strategic_of(original: Value, patch: Value) -> Result<Value, Error> {
    let (schema, definitions) = fixture::deployment();
    let mut object = original;
    strategic(&mut object, &patch, &schema, &definitions).map(|()| object)
}

#[test]
fn json_patch_does_all_or_nothing() {
    let mut object = json!({"a": {"b": 1}, "l": [1, 2]});
    json(
        &mut object,
        &json!([
            {"op": "test", "path": "/a/b", "value": 1},
            {"op": "test", "path": "/missing", "value": null},
            {"op": "replace", "path": "/a/b", "value": 2},
            {"op": "add", "path": "/l/-", "value": 3},
            {"op": "copy", "from": "/a", "path": "/c"},
            {"op": "move", "from": "/l/0", "path": "/d"},
            {"op": "remove", "path": "/a"},
        ]),
    )
    .unwrap();
    assert_eq!(object, json!({"c": {"b": 2}, "d": 1, "l": [2, 3]}));
    let before = object.clone();
    let error =
        json(&mut object, &json!([{"op": "remove", "path": "/d"}, {"op": "remove", "path": "/x"}])).unwrap_err();
    assert_eq!(error.to_string(), "remove operation does not apply: doc is missing path: /x: missing value");
    assert_eq!(object, before);
}

#[test]
fn json_patch_errors_say_which_kind_they_are() {
    let apply = |patch| json(&mut json!({"a": 1}), &patch).unwrap_err();
    assert!(matches!(apply(json!({})), Error::Malformed(_)));
    assert!(matches!(apply(json!([1])), Error::Malformed(_)));
    for wrong in [
        json!({"op": "jump", "path": "/a"}),
        json!({"op": "add"}),
        json!({"path": "/a"}),
        json!({"op": "move", "path": "/a"}),
        json!({"op": "test", "path": "/missing/deeper", "value": null}),
        json!({"op": "replace", "path": "/missing/deeper", "value": 1}),
        json!({"op": "move", "from": "/missing", "path": "/b"}),
    ] {
        let error = apply(json!([wrong]));
        assert!(matches!(error, Error::Rejected(_) | Error::TestFailed(_)), "{wrong}: {error:?}");
    }
    assert_eq!(
        apply(json!([{"op": "test", "path": "/a", "value": 2}])),
        Error::TestFailed("testing value /a failed: test failed".to_string())
    );
    let many: Vec<Value> = (0..=MAX_OPERATIONS).map(|_| json!({"op": "test", "path": "/a", "value": 1})).collect();
    assert!(matches!(apply(Value::Array(many)), Error::TooLarge(_)));
    // Each doubles the object: 2^60 bytes without a bound.
    let bomb: Vec<Value> = (0..60).map(|n| json!({"op": "copy", "from": "", "path": format!("/x{n}")})).collect();
    assert!(matches!(apply(Value::Array(bomb)), Error::TooLarge(_)));
}

#[test]
fn json_patch_is_as_lenient_as_the_api_server() {
    let cases = [
        ("replace makes a field", json!({"op": "replace", "path": "/m", "value": 1}), json!({"l": [1, 2, 3], "m": 1})),
        ("no value is null", json!({"op": "add", "path": "/m"}), json!({"l": [1, 2, 3], "m": null})),
        (
            "a copy of nothing is null",
            json!({"op": "copy", "from": "/n", "path": "/m"}),
            json!({"l": [1, 2, 3], "m": null}),
        ),
        ("nothing equals null", json!({"op": "test", "path": "/n"}), json!({"l": [1, 2, 3]})),
        ("-1 is behind the last", json!({"op": "add", "path": "/l/-1", "value": 4}), json!({"l": [1, 2, 3, 4]})),
        ("-4 is before the first", json!({"op": "add", "path": "/l/-4", "value": 0}), json!({"l": [0, 1, 2, 3]})),
        ("-1 is the last", json!({"op": "remove", "path": "/l/-1"}), json!({"l": [1, 2]})),
        ("the last is tested", json!({"op": "test", "path": "/l/-1", "value": 3}), json!({"l": [1, 2, 3]})),
        ("leading zeros", json!({"op": "replace", "path": "/l/01", "value": 9}), json!({"l": [1, 9, 3]})),
        ("names are not places", json!({"op": "add", "path": "/-1", "value": 4}), json!({"l": [1, 2, 3], "-1": 4})),
    ];
    for (rule, operation, expected) in cases {
        let mut object = json!({"l": [1, 2, 3]});
        json(&mut object, &json!([operation])).unwrap_or_else(|error| panic!("{rule}: {error}"));
        assert_eq!(object, expected, "{rule}");
    }
    for beyond in ["/l/-4", "/l/4"] {
        assert!(json(&mut json!({"l": [1, 2, 3]}), &json!([{"op": "remove", "path": beyond}])).is_err(), "{beyond}");
    }
}

#[test]
fn json_patch_nests_nothing_deeper_than_a_body_may() {
    // Each pair puts all that was there one chain deeper.
    let chain = |links: usize| (1..links).fold(json!({}), |inner, _| json!({"n": inner}));
    let bottom = "/n".repeat(90);
    let nesting: Vec<Value> = (0..200)
        .flat_map(|_| {
            [
                json!({"op": "add", "path": "/b", "value": {"n": chain(91)}}),
                json!({"op": "move", "from": "/a", "path": format!("/b{bottom}/a")}),
                json!({"op": "move", "from": "/b", "path": "/a"}),
            ]
        })
        .collect();
    let copies = json!([
        {"op": "add", "path": "/a", "value": chain(60)},
        {"op": "copy", "from": "/a", "path": format!("/a{}/x", "/n".repeat(50))},
    ]);
    let deep = json!([{"op": "add", "path": "/a/b/c", "value": chain(MAX_DEPTH - 2)}]);
    for patch in [Value::Array(nesting), copies, deep] {
        let mut object = json!({"a": {"b": {"c": 1}}});
        let error = json(&mut object, &patch).unwrap_err();
        assert!(matches!(&error, Error::Rejected(text) if text.contains("nested")), "{error}");
        assert_eq!(object, json!({"a": {"b": {"c": 1}}}));
    }
    let mut object = json!({"a": {"b": {"c": 1}}});
    json(&mut object, &json!([{"op": "add", "path": "/a/b/c", "value": chain(MAX_DEPTH - 3)}])).unwrap();
    assert_eq!(depth(&object), MAX_DEPTH);
    // Of what is moved sideways nothing is measured, and nothing becomes deeper.
    json(&mut object, &json!([{"op": "move", "from": "/a", "path": "/z"}])).unwrap();
    let wide: Vec<Value> = (0..100_000).map(|_| json!(0)).collect();
    let back_and_forth: Vec<Value> = (0..500)
        .flat_map(|_| {
            [json!({"op": "move", "from": "/w", "path": "/d/w"}), json!({"op": "move", "from": "/d/w", "path": "/w"})]
        })
        .collect();
    let error = json(&mut json!({"d": {}, "w": wide}), &Value::Array(back_and_forth)).unwrap_err();
    assert!(matches!(error, Error::TooLarge(_)), "{error}");
}

#[test]
fn a_long_list_is_not_pushed_along_for_ever() {
    let list: Vec<Value> = (0..1_000_000).map(Value::from).collect();
    let mut object = json!({"l": list});
    for operation in [
        json!({"op": "add", "path": "/l/0", "value": 1}),
        json!({"op": "remove", "path": "/l/0"}),
        json!({"op": "copy", "from": "/l/9", "path": "/l/0"}),
        json!({"op": "move", "from": "/l/0", "path": "/l/1"}),
    ] {
        let error = json(&mut object, &Value::from(vec![operation; MAX_OPERATIONS])).unwrap_err();
        assert!(matches!(error, Error::TooLarge(_)), "{error}");
    }
    let appended = vec![json!({"op": "add", "path": "/l/-", "value": 1}); MAX_OPERATIONS];
    json(&mut object, &Value::from(appended)).unwrap();
    assert_eq!(object["l"].as_array().map(Vec::len), Some(1_000_000 + MAX_OPERATIONS));
}

#[test]
fn merge_patch_merges_objects_and_replaces_lists() {
    let mut object = json!({"a": {"b": 1, "c": 2}, "l": [1, 2], "s": "x"});
    merge(&mut object, &json!({"a": {"b": null, "d": {"e": null, "f": 1}}, "l": [3], "s": {"t": 1}})).unwrap();
    assert_eq!(object, json!({"a": {"c": 2, "d": {"f": 1}}, "l": [3], "s": {"t": 1}}));
    assert!(matches!(merge(&mut object, &json!([])), Err(Error::Malformed(_))));
}

#[test]
fn strategic_merge_patch_by_example() {
    let two = json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]);
    let spec = |spec: Value| json!({"spec": spec});
    let cases = [
        (
            "fields merge",
            json!({"replicas": 1, "paused": true}),
            json!({"replicas": 2}),
            json!({"replicas": 2, "paused": true}),
        ),
        ("null removes", json!({"replicas": 1}), json!({"replicas": null, "paused": null}), json!({})),
        (
            "list elements merge by key",
            json!({"containers": two}),
            json!({"containers": [{"name": "b", "image": "2"}]}),
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}),
        ),
        (
            "new elements come first",
            json!({"containers": two}),
            json!({"containers": [{"name": "c", "env": [{"name": "x", "value": null}]}]}),
            json!({"containers": [{"name": "c", "env": [{"name": "x"}]}, {"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}),
        ),
        (
            "an element is deleted",
            json!({"containers": two}),
            json!({"containers": [{"$patch": "delete", "name": "a"}]}),
            json!({"containers": [{"name": "b", "image": "1"}]}),
        ),
        (
            "deleting what is not there does nothing",
            json!({"containers": two}),
            json!({"containers": [{"$patch": "delete", "name": "z"}]}),
            json!({"containers": two}),
        ),
        (
            "a list is replaced",
            json!({"containers": two}),
            json!({"containers": [{"$patch": "replace"}, {"name": "c"}]}),
            json!({"containers": [{"name": "c"}]}),
        ),
        (
            "an object is replaced",
            json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}),
            json!({"strategy": {"$patch": "replace", "type": "Recreate"}}),
            json!({"strategy": {"type": "Recreate"}}),
        ),
        (
            "an object is deleted",
            json!({"strategy": {"type": "Recreate"}, "replicas": 1}),
            json!({"strategy": {"$patch": "delete"}}),
            json!({"replicas": 1}),
        ),
        (
            "new elements stand where the patch has them among others that it names",
            json!({"containers": two}),
            json!({"containers": [{"name": "b"}, {"name": "c"}]}),
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}, {"name": "c"}]}),
        ),
        (
            "keys are retained",
            json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}),
            json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}),
            json!({"strategy": {"type": "Recreate"}}),
        ),
        (
            "atomic lists are replaced",
            json!({"containers": [{"name": "a", "command": ["x", "y"]}]}),
            json!({"containers": [{"name": "a", "command": ["z"]}]}),
            json!({"containers": [{"name": "a", "command": ["z"]}]}),
        ),
        (
            "elements take the order that is asked for",
            json!({"containers": two}),
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "image": "2"}]}),
            json!({"containers": [{"name": "b", "image": "1"}, {"name": "a", "image": "2"}]}),
        ),
        (
            "what only the server has keeps its place",
            json!({"containers": [{"name": "a"}, {"name": "sidecar"}, {"name": "b"}]}),
            json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "c"}, {"name": "b"}], "containers": [{"name": "c"}]}),
            json!({"containers": [{"name": "a"}, {"name": "c"}, {"name": "sidecar"}, {"name": "b"}]}),
        ),
        (
            "an order for a list that comes with it",
            json!({}),
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "b"}, {"name": "a"}]}),
            json!({"containers": [{"name": "b"}, {"name": "a"}]}),
        ),
        (
            "directives in what is new leave no trace",
            json!({}),
            json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"},
                "containers": [{"name": "a", "$setElementOrder/env": [{"name": "x"}], "env": [{"name": "x"}]}]}),
            json!({"strategy": {"type": "Recreate"}, "containers": [{"name": "a", "env": [{"name": "x"}]}]}),
        ),
    ];
    for (rule, original, patch, expected) in cases {
        assert_eq!(strategic_of(spec(original), spec(patch)), Ok(spec(expected)), "{rule}");
    }
}

#[test]
fn strategic_merge_of_scalar_lists() {
    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    let patched = |patch: Value| strategic_of(finalizers(json!(["a", "b"])), json!({"metadata": patch}));
    assert_eq!(patched(json!({"finalizers": ["b", "c"]})), Ok(finalizers(json!(["a", "b", "c"]))));
    assert_eq!(patched(json!({"finalizers": ["c", "d"]})), Ok(finalizers(json!(["c", "d", "a", "b"]))));
    assert_eq!(
        patched(json!({"$setElementOrder/finalizers": ["c", "a"], "finalizers": ["c"]})),
        Ok(finalizers(json!(["c", "a", "b"])))
    );
    assert_eq!(patched(json!({"$deleteFromPrimitiveList/finalizers": ["a"]})), Ok(finalizers(json!(["b"]))));
    assert_eq!(
        patched(
            json!({"$setElementOrder/finalizers": ["c", "b"], "$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]})
        ),
        Ok(finalizers(json!(["c", "b"])))
    );
}

#[test]
fn strategic_merge_refuses_what_makes_no_sense() {
    let cases = [
        (json!({"containers": [{"image": "x"}]}), "does not contain declared merge key: name"),
        (json!({"strategy": {"$patch": "explode"}}), "unknown patch type: \"explode\""),
        (json!({"strategy": {"$patch": "merge", "type": "y"}}), "unknown patch type: \"merge\""),
        (json!({"$setElementOrder/containers": [{"x": 1}]}), "does not contain declared merge key: name"),
        (json!({"$setElementOrder/zz": [{"name": "a"}]}), "unable to find api field"),
        (json!({"$setElementOrder/strategy": ["a"]}), "expected slice or array type"),
        (json!({"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}), "invalid patch format of retainKeys"),
        (json!({"$setElementOrder/containers": 1}), "invalid patch format of setElementOrder list"),
        (
            json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}),
            "doesn't match $setElementOrder list",
        ),
        (json!({"$deleteFromPrimitiveList/containers": 1}), "invalid patch format of primitive list"),
    ];
    let original = json!({"spec": {"strategy": {"type": "x"}, "containers": [{"name": "a"}]}});
    for (patch, message) in cases {
        let error = strategic_of(original.clone(), json!({"spec": patch})).unwrap_err().to_string();
        assert!(error.contains(message), "{patch}: {error}");
    }
    assert!(strategic_of(original, json!([])).is_err());
}

/// As many as a body of 3 MiB could hold take a moment, and hours where each is looked for among all.
const MANY: usize = 20_000;
/// What a machine under load takes for it, and a slow algorithm does not.
const A_MOMENT: std::time::Duration = std::time::Duration::from_secs(30);

#[test]
fn lists_as_long_as_bodies_allow_are_merged_in_a_moment() {
    let texts = |from: usize| -> Vec<Value> { (from..from + MANY).map(|n| format!("n{n}").into()).collect() };
    let objects = |from: usize| -> Vec<Value> { texts(from).into_iter().map(|name| json!({"name": name})).collect() };
    let deletions = |from: usize| -> Vec<Value> {
        texts(from).into_iter().map(|name| json!({"name": name, "$patch": "delete"})).collect()
    };
    let fields: serde_json::Map<String, Value> = (0..MANY).map(|n| (format!("n{n}"), Value::from(n))).collect();
    let object = json!({"metadata": {"finalizers": texts(0)}, "spec": {"containers": objects(0), "raw": fields}});
    for (patch, finalizers, containers) in [
        (json!({"metadata": {"finalizers": texts(MANY / 2)}}), MANY + MANY / 2, MANY),
        (json!({"metadata": {"$deleteFromPrimitiveList/finalizers": texts(1)}}), 1, MANY),
        (json!({"spec": {"containers": objects(MANY / 2)}}), MANY, MANY + MANY / 2),
        (json!({"spec": {"containers": objects(1), "$setElementOrder/containers": objects(1)}}), MANY, MANY + 1),
        (json!({"spec": {"containers": deletions(1)}}), MANY, 1),
        (json!({"spec": {"raw": {"$retainKeys": texts(0)}}}), MANY, MANY),
    ] {
        let began = std::time::Instant::now();
        let merged = strategic_of(object.clone(), patch).unwrap();
        assert!(began.elapsed() < A_MOMENT, "{:?}", began.elapsed());
        let length = |list: &Value| list.as_array().map_or(0, Vec::len);
        assert_eq!(
            (length(&merged["metadata"]["finalizers"]), length(&merged["spec"]["containers"])),
            (finalizers, containers)
        );
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..5).prop_map(Value::from)];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_deployment() -> impl Strategy<Value = Value> {
    let container =
        ("[a-d]", prop::option::of("[0-9]"), prop::collection::vec("[xy]", 0..2)).prop_map(|(name, image, command)| {
            match image {
                Some(image) => json!({"name": name, "image": image, "command": command}),
                None => json!({"name": name}),
            }
        });
    (prop::collection::vec(container, 0..4), prop::option::of(0..5)).prop_map(|(mut containers, replicas)| {
        let mut seen = std::collections::BTreeSet::new();
        containers.retain(|container| seen.insert(container["name"].to_string()));
        json!({"spec": {"containers": containers, "replicas": replicas.unwrap_or(0)}})
    })
}

proptest! {
    #[test]
    fn a_merge_patch_twice_is_a_merge_patch_once(object in any_json(), patch in any_json()) {
        let patch = json!({"p": patch});
        let mut once = object;
        merge(&mut once, &patch).unwrap();
        let mut twice = once.clone();
        merge(&mut twice, &patch).unwrap();
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn a_strategic_patch_twice_is_a_strategic_patch_once(object in any_deployment(), patch in any_deployment()) {
        let once = strategic_of(object, patch.clone()).unwrap();
        let twice = strategic_of(once.clone(), patch.clone()).unwrap();
        prop_assert_eq!(&once, &twice);
        for container in patch["spec"]["containers"].as_array().unwrap() {
            let merged = once["spec"]["containers"].as_array().unwrap();
            prop_assert!(merged.iter().any(|merged| merged["name"] == container["name"]));
        }
    }

    #[test]
    fn any_patch_is_carried_out_or_refused(object in any_json(), patch in any_json()) {
        let (schema, definitions) = fixture::deployment();
        for object in [object.clone(), json!({"spec": {"containers": object}})] {
            let _ = json(&mut object.clone(), &patch);
            let _ = strategic(&mut object.clone(), &patch, &schema, &definitions);
            let _ = strategic(&mut object.clone(), &json!({"spec": {"containers": patch.clone()}}), &schema, &definitions);
        }
    }
}
