use super::*;

fn resource() -> ServerResource {
    ServerResource {
        group: String::new(),
        version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        namespaced: true,
        verbs: vec!["list".into(), "watch".into(), "delete".into()],
    }
}

fn object(uid: &str, owners: &[(&str, bool)], finalizers: &[&str], deleting: bool) -> ObjectMeta {
    let owners: Vec<Value> = owners
        .iter()
        .map(|(uid, blocks)| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": uid, "uid": uid, "blockOwnerDeletion": blocks})
        })
        .collect();
    let mut value =
        json!({"name": uid, "namespace": "n", "uid": uid, "ownerReferences": owners, "finalizers": finalizers});
    if deleting {
        value["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    serde_json::from_value(value).unwrap()
}

#[test]
fn what_somebody_owns_stays_and_what_nobody_owns_goes() {
    use OwnerState::{Absent, Solid, Waiting};
    let two = object("x", &[("a", false), ("b", true)], &[], false);
    let background = Verdict::Delete(PropagationPolicy::Background);
    let foreground = Verdict::Delete(PropagationPolicy::Foreground);
    for (states, has_dependents, expected) in [
        ([Solid, Solid], false, Verdict::Keep),
        ([Absent, Absent], true, background.clone()),
        ([Absent, Waiting], false, background.clone()),
        ([Waiting, Absent], true, foreground),
    ] {
        assert_eq!(plan::verdict(&two, &states, has_dependents), expected, "{states:?}");
    }
    for left in [Absent, Waiting] {
        let Verdict::Drop(kept) = plan::verdict(&two, &[left, Solid], false) else { panic!("{left:?}") };
        assert_eq!(kept.into_iter().map(|owner| owner.uid).collect::<Vec<_>>(), ["b"]);
    }
    let orphaning = object("x", &[("a", false)], &[ORPHAN], false);
    assert_eq!(plan::verdict(&orphaning, &[Absent], false), Verdict::Delete(PropagationPolicy::Orphan));
}

#[test]
fn the_graph_knows_dependents_and_who_waits_for_them() {
    let mut graph = Graph::default();
    graph.set(&resource(), &object("child", &[("parent", true)], &[], false));
    assert!(graph.has_unknown_owner("child"));
    graph.set(&resource(), &object("parent", &[], &[FOREGROUND], true));
    graph.set(&resource(), &object("cousin", &[("parent", false)], &[], false));
    assert!(!graph.has_unknown_owner("child") && graph.has_waiting_owner("child"));
    assert!(graph.is_in_question("child") && graph.is_in_question("parent"));
    graph.set(&resource(), &object("stranger", &[], &[], false));
    assert!(!graph.is_in_question("stranger"));
    assert_eq!(graph.blocking_dependents("parent"), ["child"]);
    assert_eq!(graph.dependents("parent").len(), 2);
    assert_eq!(graph.remove("child"), (vec![], vec!["parent".to_string()]), "the parent must be looked at again");
    assert!(graph.blocking_dependents("parent").is_empty());
    assert_eq!(graph.set(&resource(), &object("cousin", &[], &[], false)), Some(vec!["parent".to_string()]));
    assert_eq!(graph.remove("parent").0, Vec::<String>::new());
}

#[test]
fn only_what_can_be_watched_and_deleted_is_followed() {
    let mut review = resource();
    review.plural = "tokenreviews".into();
    review.verbs = vec!["create".into()];
    let mut events = resource();
    events.plural = "events".into();
    let discovered = Discovered { resources: vec![resource(), review, events], failed: vec![] };
    assert_eq!(followable(&discovered), [resource()]);
}
