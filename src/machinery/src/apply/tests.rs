use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::fixture;

fn operation(manager: &str) -> Operation<'_> {
    at(manager, "2026-01-02T03:04:05Z")
}

fn at<'a>(manager: &'a str, time: &str) -> Operation<'a> {
    Operation {
        manager,
        subresource: "",
        api_version: "apps/v1",
        now: time.parse().unwrap(),
        reset: Reset::Fields(&[&["status"]]),
    }
}

fn try_apply(live: Option<&Value>, manager: &str, spec: Value, force: bool) -> Result<Value, Error> {
    let (schema, definitions) = fixture::deployment();
    let patch = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec});
    apply(live, &patch, &operation(manager), force, &schema, &definitions)
}

fn applied(live: Option<&Value>, manager: &str, spec: Value) -> Value {
    try_apply(live, manager, spec, false).unwrap_or_else(|error| panic!("{error}"))
}

fn updated(old: Option<&Value>, mut new: Value, operation: &Operation<'_>) -> Value {
    let (schema, definitions) = fixture::deployment();
    update_managed(old, &mut new, operation, &schema, &definitions);
    new
}

/// `manager operation: paths`, one line an entry.
fn owners(object: &Value) -> Vec<String> {
    let line = |entry: &Value| {
        let set = Set::decode(&entry["fieldsV1"]).unwrap();
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_string();
        format!("{} {}: {}", text("manager"), text("operation"), set.paths().join(" "))
    };
    meta::managed_fields(object).iter().map(line).collect()
}

#[test]
fn field_sets_have_kubernetes_wire_form() {
    let object = applied(
        None,
        "me",
        json!({"replicas": 1, "selector": {"a": "b"}, "containers": [{"name": "x", "command": ["a"], "ports": [{"containerPort": 80}],
            "resources": {}}]}),
    );
    let entry = &object["metadata"]["managedFields"][0];
    assert_eq!(
        *entry,
        json!({"apiVersion": "apps/v1", "fieldsType": "FieldsV1", "manager": "me", "operation": "Apply", "time": "2026-01-02T03:04:05Z",
            "fieldsV1": {"f:spec": {"f:replicas": {}, "f:selector": {}, "f:containers": {
                "k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:command": {}, "f:resources": {}, "f:ports": {
                    "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}})
    );
    let set = Set::decode(&entry["fieldsV1"]).unwrap();
    assert_eq!(set.encode(), entry["fieldsV1"]);
    assert_eq!(
        set.paths().last().unwrap(),
        ".spec.containers[name=\"x\"].ports[containerPort=80,protocol=\"TCP\"].containerPort"
    );
}

#[test]
fn malformed_field_sets_are_refused() {
    for fields in
        [json!([]), json!({"f:a": 1}), json!({"x:a": {}}), json!({"k:{": {}}), json!({"i:x": {}}), json!({"f": {}})]
    {
        assert!(Set::decode(&fields).is_err(), "{fields}");
    }
    let set = Set::decode(&json!({"k:{\"b\":1, \"a\":\"x\"}": {}, "v:\"y\"": {}, "i:3": {}})).unwrap();
    assert_eq!(set.paths(), ["[3]", "[a=\"x\",b=1]", "[=\"y\"]"]);
}

#[test]
fn an_update_owns_what_it_added_and_changed() {
    let first = updated(
        None,
        json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "spec": {"replicas": 1, "paused": true}}),
        &operation("one"),
    );
    assert_eq!(owners(&first), ["one Update: .metadata.labels .metadata.labels.x .spec.paused .spec.replicas"]);
    let mut second = first.clone();
    second["spec"] = json!({"replicas": 2});
    second["metadata"]["labels"]["y"] = json!("2");
    let second = updated(Some(&first), second, &at("two", "2026-01-02T03:05:00Z"));
    assert_eq!(
        owners(&second),
        ["one Update: .metadata.labels .metadata.labels.x", "two Update: .metadata.labels.y .spec.replicas"]
    );
    // The same again changes nothing, not even the time.
    assert_eq!(updated(Some(&second), second.clone(), &at("two", "2026-01-02T09:00:00Z")), second);
    // A client that knows no managedFields keeps them.
    let mut without = second.clone();
    without["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert_eq!(updated(Some(&second), without, &operation("three")), second);
}

#[test]
fn who_creates_owns_what_is_not_always_there() {
    let spec = json!({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}},
        "containers": [{"name": "x", "resources": {"limits": {"cpu": "1"}}}]});
    let made = updated(None, json!({"metadata": {"name": "a"}, "spec": spec}), &operation("one"));
    // A Deployment without a strategy has an empty one, and none without anything in it that is optional.
    assert_eq!(
        made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"],
        json!({"f:strategy": {"f:type": {}, "f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
            "f:containers": {".": {}, "k:{\"name\":\"x\"}": {".": {}, "f:name": {},
                "f:resources": {".": {}, "f:limits": {".": {}, "f:cpu": {}}}}}})
    );
    // The same for who adds and takes away later.
    let mut bare = made.clone();
    bare["spec"].as_object_mut().unwrap().remove("strategy");
    let bare = updated(Some(&made), bare, &operation("two"));
    assert!(!owners(&bare).join(" ").contains("strategy"), "{:?}", owners(&bare));
    let mut again = bare.clone();
    again["spec"]["strategy"] = json!({"type": "Recreate"});
    let again = updated(Some(&bare), again, &operation("two"));
    assert_eq!(owners(&again)[1], "two Update: .spec.strategy.type");
}

#[test]
fn metadata_stay_where_all_that_was_applied_of_them_is_taken_back() {
    let (schema, definitions) = fixture::deployment();
    let run = |live: Option<&Value>, patch: Value| {
        apply(live, &patch, &operation("me"), false, &schema, &definitions).unwrap_or_else(|error| panic!("{error}"))
    };
    let labelled = json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "spec": {"replicas": 1}});
    let mut live = run(None, labelled);
    live["metadata"]["uid"] = json!("u");
    live["metadata"]["generation"] = json!(3);
    for patch in [json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}}), json!({"spec": {"replicas": 1}})] {
        let mut object = run(Some(&live), patch.clone());
        assert_eq!(owners(&object), ["me Apply: .spec.replicas"], "{patch}");
        object["metadata"].as_object_mut().unwrap().remove("managedFields");
        assert_eq!(object["metadata"], json!({"name": "a", "uid": "u", "generation": 3}), "{patch}");
    }
}

#[test]
fn clients_may_stop_and_edit_the_tracking() {
    let first = updated(None, json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}}), &operation("one"));
    let mut reset = first.clone();
    reset["metadata"]["managedFields"] = json!([{}]);
    let reset = updated(Some(&first), reset, &operation("two"));
    assert!(reset["metadata"].get("managedFields").is_none());
    // An apply then meets an owner of everything.
    assert!(matches!(try_apply(Some(&reset), "me", json!({"replicas": 2}), false), Err(Error::Conflicts(_))));
    let mut edited = first.clone();
    edited["metadata"]["managedFields"][0]["manager"] = json!("other");
    assert_eq!(owners(&updated(Some(&first), edited.clone(), &operation("two"))), ["other Update: .spec.replicas"]);
    // Not through a subresource.
    let scale = Operation { subresource: "scale", ..operation("two") };
    assert_eq!(owners(&updated(Some(&first), edited, &scale)), ["one Update: .spec.replicas"]);
}

#[test]
fn lists_as_long_as_bodies_allow_are_applied_in_a_moment() {
    let (schema, definitions) = fixture::deployment();
    let of = |finalizers: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "finalizers": finalizers}});
    let many: Vec<Value> = (0..20_000).map(|n| format!("n{n}").into()).collect();
    let live = updated(None, of(json!(["other"])), &operation("one"));
    let began = std::time::Instant::now();
    let applied = apply(Some(&live), &of(many.into()), &operation("two"), false, &schema, &definitions).unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(applied["metadata"]["finalizers"].as_array().map(Vec::len), Some(20_001));
}

#[test]
fn subresources_have_entries_of_their_own() {
    let first = updated(None, json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}}), &operation("one"));
    let mut second = first.clone();
    second["status"] = json!({"replicas": 1, "conditions": [{"type": "Ready", "status": "True"}]});
    let status = Operation { subresource: "status", reset: Reset::Fields(&[&["spec"]]), ..operation("one") };
    let second = updated(Some(&first), second, &status);
    let entries = meta::managed_fields(&second);
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(entries[1]["fieldsV1"]["f:status"]["f:conditions"]["k:{\"type\":\"Ready\"}"]["f:status"], json!({}));
    // What an endpoint resets is owned by no one who writes there, and taken from no one.
    let mut third = second.clone();
    third["status"]["replicas"] = json!(2);
    assert_eq!(owners(&updated(Some(&second), third, &operation("two"))), owners(&second));
    let mut without = second.clone();
    without.as_object_mut().unwrap().remove("status");
    assert_eq!(owners(&updated(Some(&second), without, &operation("two"))), owners(&second));
}

#[test]
fn an_endpoint_for_a_part_takes_that_part_alone() {
    let containers = json!([{"name": "x", "image": "1"}, {"name": "y", "image": "1"}]);
    let first =
        updated(None, json!({"metadata": {"name": "a"}, "spec": {"containers": containers}}), &operation("one"));
    let mut second = first.clone();
    second["spec"]["paused"] = json!(true);
    second["spec"]["containers"][0]["image"] = json!("2");
    second["spec"]["containers"][1]["resources"] = json!({"limits": {"cpu": "1"}});
    let part = Reset::AllBut(&[&["spec", "containers", "*", "resources"]]);
    let resize = Operation { subresource: "resize", reset: part, ..operation("two") };
    let owners = owners(&updated(Some(&first), second, &resize));
    assert!(owners[0].contains("containers[name=\"x\"].image"), "{owners:?}");
    assert!(owners[1].starts_with("two Update: ") && !owners[1].contains("paused"), "{owners:?}");
    assert!(owners[1].contains("resources.limits") && !owners[1].contains("image"), "{owners:?}");
}

#[test]
fn many_updaters_are_merged_oldest_first() {
    let mut object =
        updated(None, json!({"metadata": {"name": "a", "labels": {"m0": "x"}}}), &at("m0", "2026-01-01T00:00:00Z"));
    for n in 1..15 {
        let mut next = object.clone();
        next["metadata"]["labels"][format!("m{n}")] = json!("x");
        object = updated(Some(&object), next, &at(&format!("m{n}"), &format!("2026-01-01T00:00:{n:02}Z")));
    }
    let owners = owners(&object);
    assert_eq!(owners.len(), 10);
    assert!(
        owners[0].starts_with("ancient-changes Update: .metadata.labels .metadata.labels.m0 .metadata.labels.m1"),
        "{owners:?}"
    );
    assert!(owners[9].starts_with("m14 "));
}

#[test]
fn conflicts_are_worded_as_kubectl_prints_them() {
    let live = updated(
        None,
        json!({"metadata": {"name": "a"}, "spec": {"replicas": 1, "paused": false}}),
        &operation("kubectl-client-side-apply"),
    );
    let error = try_apply(Some(&live), "me", json!({"replicas": 2}), false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    let Error::Conflicts(conflicts) = error else { panic!("no conflict") };
    assert_eq!(conflicts.0[0].message(), "conflict with \"kubectl-client-side-apply\" using apps/v1");
    assert_eq!(conflicts.0[0].path, ".spec.replicas");

    let live = applied(Some(&live), "other", json!({"containers": [{"name": "x", "image": "1"}]}));
    let error = try_apply(
        Some(&live),
        "me",
        json!({"replicas": 2, "paused": true, "containers": [{"name": "x", "image": "2"}]}),
        false,
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "Apply failed with 3 conflicts: conflicts with \"kubectl-client-side-apply\" using apps/v1:\n- .spec.paused\n- \
         .spec.replicas\nconflicts with \"other\":\n- .spec.containers[name=\"x\"].image"
    );
}

#[test]
fn the_same_value_is_shared_and_force_takes_fields() {
    let live = applied(None, "one", json!({"replicas": 1}));
    let shared = applied(Some(&live), "two", json!({"replicas": 1}));
    assert_eq!(owners(&shared), ["one Apply: .spec.replicas", "two Apply: .spec.replicas"]);
    let forced = try_apply(Some(&shared), "two", json!({"replicas": 2}), true).unwrap();
    assert_eq!(forced["spec"]["replicas"], 2);
    assert_eq!(owners(&forced), ["two Apply: .spec.replicas"]);
}

#[test]
fn what_is_no_longer_applied_goes_unless_someone_else_owns_it() {
    let live = applied(
        None,
        "one",
        json!({"replicas": 1, "paused": true, "containers": [
        {"name": "x", "image": "1", "env": [{"name": "A", "value": "1"}]}, {"name": "y"}]}),
    );
    let live = applied(Some(&live), "two", json!({"containers": [{"name": "y", "image": "9"}]}));
    let live = applied(Some(&live), "one", json!({"replicas": 1, "containers": [{"name": "x", "image": "1"}]}));
    assert_eq!(
        live["spec"],
        json!({"replicas": 1, "containers": [{"name": "x", "image": "1"}, {"name": "y", "image": "9"}]})
    );
    let live = applied(Some(&live), "two", json!({}));
    assert_eq!(live["spec"], json!({"replicas": 1, "containers": [{"name": "x", "image": "1"}]}));
    assert_eq!(
        owners(&live),
        [
            "one Apply: .spec.replicas .spec.containers[name=\"x\"] .spec.containers[name=\"x\"].image \
          .spec.containers[name=\"x\"].name",
            "two Apply: .spec"
        ]
    );
}

#[test]
fn what_no_one_owned_stays() {
    let live = applied(None, "one", json!({"containers": [{"name": "x", "image": "1"}]}));
    let mut defaulted = live.clone();
    defaulted["spec"]["replicas"] = json!(1);
    defaulted["spec"]["containers"][0]["command"] = json!(["a"]);
    let again = applied(Some(&defaulted), "one", json!({"containers": [{"name": "x", "image": "2"}]}));
    assert_eq!(again["spec"], json!({"replicas": 1, "containers": [{"name": "x", "image": "2", "command": ["a"]}]}));
}

#[test]
fn an_element_goes_with_its_owner_even_where_others_changed_something_in_it() {
    let live = applied(None, "one", json!({"containers": [{"name": "x", "image": "1"}]}));
    let mut set_image = live.clone();
    set_image["spec"]["containers"][0]["image"] = json!("2");
    let live = updated(Some(&live), set_image, &operation("kubectl-set"));
    let live = applied(Some(&live), "one", json!({"replicas": 1}));
    assert_eq!(live["spec"], json!({"replicas": 1}));
    assert_eq!(owners(&live), ["one Apply: .spec.replicas"]);
}

#[test]
fn atomic_values_are_owned_whole() {
    let live = applied(None, "one", json!({"selector": {"a": "1"}}));
    let error = try_apply(Some(&live), "two", json!({"selector": {"b": "2"}}), false).unwrap_err();
    assert!(error.to_string().ends_with("conflict with \"one\": .spec.selector"), "{error}");
    let forced = try_apply(Some(&live), "two", json!({"selector": {"b": "2"}}), true).unwrap();
    assert_eq!(forced["spec"]["selector"], json!({"b": "2"}));
}

#[test]
fn elements_keep_the_order_of_the_configuration() {
    let names =
        |names: &[&str]| json!({"containers": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
    let cases: &[(&[&str], &[&str], &[&str])] = &[
        (&["a", "b"], &["b", "a"], &["b", "a"]),
        (&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]),
        (&["a", "b", "c", "d"], &["c", "a"], &["b", "c", "d", "a"]),
        (&["a", "s", "b"], &["a", "n", "b"], &["a", "s", "n", "b"]),
        (&["a"], &["b"], &["a", "b"]),
        (&[], &["b", "a"], &["b", "a"]),
    ];
    let (schema, definitions) = fixture::deployment();
    for (live, patch, expected) in cases {
        let live = updated(None, json!({"metadata": {"name": "a"}, "spec": names(live)}), &operation("other"));
        let merged =
            apply(Some(&live), &json!({"spec": names(patch)}), &operation("me"), false, &schema, &definitions).unwrap();
        assert_eq!(merged["spec"], names(expected), "{live} {patch:?}");
    }
}

#[test]
fn sets_of_scalars_have_an_owner_an_element() {
    let (schema, definitions) = fixture::deployment();
    let run = |live: Option<&Value>, manager: &str, list: Value| {
        apply(live, &json!({"metadata": {"finalizers": list}}), &operation(manager), false, &schema, &definitions)
            .unwrap()
    };
    let live = run(None, "one", json!(["a", "b"]));
    let live = run(Some(&live), "two", json!(["b", "c"]));
    assert_eq!(live["metadata"]["finalizers"], json!(["a", "b", "c"]));
    let live = run(Some(&live), "one", json!(["a"]));
    assert_eq!(live["metadata"]["finalizers"], json!(["a", "b", "c"]));
    let live = run(Some(&live), "two", json!(["c"]));
    assert_eq!(live["metadata"]["finalizers"], json!(["a", "c"]));
}

#[test]
fn configurations_that_fit_no_object_are_refused() {
    let error = |spec: Value| try_apply(None, "me", spec, false).unwrap_err().to_string();
    assert_eq!(
        error(json!({"containers": [{"name": "x"}, {"name": "x"}]})),
        ".spec.containers: duplicate entries for key [name=\"x\"]"
    );
    assert!(error(json!({"containers": [{"image": "x"}]})).contains("omits key field \"name\""));
    let (schema, definitions) = fixture::deployment();
    let spec = json!({"replica": 1, "containers": [{"name": "x", "imagee": "i", "ports": [{"containerPort": 80, "odd": 1}]}, {"name": "x"}]});
    let found = faults(&json!({"spec": spec, "specc": {}}), &schema, &definitions);
    assert_eq!(
        found,
        [
            ".spec.containers[name=\"x\"].imagee: field not declared in schema",
            ".spec.containers[name=\"x\"].ports[containerPort=80,protocol=\"TCP\"].odd: field not declared in schema",
            ".spec.containers: duplicate entries for key [name=\"x\"]",
            ".spec.replica: field not declared in schema",
            ".specc: field not declared in schema",
        ]
    );
    let managed = json!({"metadata": {"managedFields": [{}]}});
    let error = apply(None, &managed, &operation("me"), false, &schema, &definitions).unwrap_err();
    assert_eq!(error.to_string(), "metadata.managedFields must be nil");
}

#[test]
fn kubectl_takes_over_what_client_side_apply_had_set() {
    let last =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 1, "paused": true}}).to_string();
    let live = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "a", "annotations": {LAST_APPLIED_ANNOTATION: last}}, "spec": {"replicas": 1, "paused": false}});
    let live = updated(None, live, &operation("kubectl-client-side-apply"));
    // Replicas still have the applied value; paused was changed since.
    let taken = applied(Some(&live), "kubectl", json!({"replicas": 3}));
    assert_eq!(taken["spec"]["replicas"], 3);
    let annotation = meta::annotation(&taken, LAST_APPLIED_ANNOTATION).unwrap();
    assert!(annotation.contains("\"replicas\":3") && annotation.ends_with("}\n"), "{annotation}");
    let error = try_apply(Some(&live), "kubectl", json!({"replicas": 3, "paused": true}), false).unwrap_err();
    assert!(error.to_string().ends_with(": .spec.paused"), "{error}");
    assert!(try_apply(Some(&live), "other", json!({"replicas": 3}), false).is_err());
}

fn any_spec() -> impl Strategy<Value = Value> {
    let env = prop::collection::btree_map("[AB]", "[12]", 0..3);
    let container = (prop::option::of("[12]"), env, prop::collection::vec("[xy]", 0..2));
    let containers = prop::collection::btree_map("[a-c]", container, 0..3);
    (prop::option::of(0..3), prop::option::of(any::<bool>()), containers).prop_map(|(replicas, paused, containers)| {
        let mut spec = json!({});
        if let Some(replicas) = replicas {
            spec["replicas"] = json!(replicas);
        }
        if let Some(paused) = paused {
            spec["paused"] = json!(paused);
        }
        let containers: Vec<Value> = containers
            .into_iter()
            .map(|(name, (image, env, command))| {
                let env: Vec<Value> =
                    env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
                let mut container = json!({"name": name, "command": command});
                if let Some(image) = image {
                    container["image"] = json!(image);
                }
                if !env.is_empty() {
                    container["env"] = json!(env);
                }
                container
            })
            .collect();
        if !containers.is_empty() {
            spec["containers"] = json!(containers);
        }
        spec
    })
}

/// Only `keep` of a spec's fields, so that two managers share none.
fn part(spec: &Value, keep: &[&str], containers: &[&str]) -> Value {
    let mut part = json!({});
    for name in keep {
        if let Some(value) = spec.get(*name) {
            part[*name] = value.clone();
        }
    }
    let kept: Vec<Value> = spec["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|container| containers.iter().any(|name| container["name"] == **name))
        .cloned()
        .collect();
    if !kept.is_empty() {
        part["containers"] = json!(kept);
    }
    part
}

fn sorted(mut object: Value) -> Value {
    if let Some(list) = object["spec"]["containers"].as_array_mut() {
        list.sort_by_key(|container| container["name"].to_string());
    }
    object
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(first in any_spec(), second in any_spec()) {
        let live = applied(None, "me", first);
        let once = applied(Some(&live), "me", second.clone());
        let twice = applied(Some(&once), "me", second.clone());
        prop_assert_eq!(&once, &twice);
        // Alone, a manager gets exactly what it applied.
        prop_assert_eq!(&sorted(once)["spec"], &sorted(json!({"spec": second}))["spec"]);
    }

    #[test]
    fn the_order_of_managers_with_different_fields_does_not_matter(a in any_spec(), b in any_spec()) {
        let (a, b) = (part(&a, &["replicas"], &["a"]), part(&b, &["paused"], &["b", "c"]));
        let one = applied(Some(&applied(None, "one", a.clone())), "two", b.clone());
        let other = applied(Some(&applied(None, "two", b)), "one", a);
        prop_assert_eq!(sorted(one), sorted(other));
    }

    #[test]
    fn force_always_gives_what_was_applied(a in any_spec(), b in any_spec(), c in any_spec()) {
        let live = applied(None, "one", a);
        let live = updated(Some(&live), {
            let mut next = live.clone();
            next["spec"] = b;
            next
        }, &operation("two"));
        let forced = try_apply(Some(&live), "three", c.clone(), true).unwrap();
        for name in ["replicas", "paused"] {
            if let Some(value) = c.get(name) {
                prop_assert_eq!(&forced["spec"][name], value);
            }
        }
        for container in c["containers"].as_array().into_iter().flatten() {
            let merged = forced["spec"]["containers"].as_array().into_iter().flatten()
                .find(|merged| merged["name"] == container["name"]).unwrap();
            prop_assert_eq!(&merged["command"], &container["command"]);
        }
    }

    #[test]
    fn ownership_is_of_fields_that_are_there(a in any_spec(), b in any_spec()) {
        let (schema, definitions) = fixture::deployment();
        let live = updated(None, json!({"spec": a}), &operation("one"));
        let live = try_apply(Some(&live), "two", b, true).unwrap();
        let walker = Walker { definitions: &definitions };
        let mut owned = Managers::decode(meta::managed_fields(&live)).unwrap().union();
        let mut present = walker.with_named_fields(walker.compare(None, &live, &schema).changed(), &schema);
        present.add(&walker.field_set(&live, &schema));
        owned.take(&present);
        prop_assert!(owned.is_empty(), "{:?}", owned.paths());
    }
}
