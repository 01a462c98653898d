use jiff::SignedDuration;
use serde_json::json;

use super::*;

fn pod(name: &str, ready: Option<i64>, more: Value) -> Arc<Pod> {
    let conditions: Vec<Value> = ready
        .map(|second| {
            let at = Timestamp::from_second(second).unwrap();
            json!({"type": "Ready", "status": "True", "lastTransitionTime": machinery::meta::format_time(at)})
        })
        .into_iter()
        .collect();
    let mut pod = json!({"metadata": {"name": name, "uid": name, "labels": {"app": "web"}},
        "spec": {"containers": [], "nodeName": "n"}, "status": {"phase": "Running", "conditions": conditions}});
    machinery_merge(&mut pod, more);
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn machinery_merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                machinery_merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn set(replicas: i32, min_ready_seconds: i32) -> Set {
    let object: ReplicaSet = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "n", "uid": "u", "generation": 3},
        "spec": {"replicas": replicas, "minReadySeconds": min_ready_seconds,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web", "tier": "x"}}, "spec": {"containers": []}}}}))
    .unwrap();
    object.set().unwrap()
}

#[test]
fn the_number_of_pods_is_made_right() {
    let now = Timestamp::from_second(1_000).unwrap();
    let leaving = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let failed = json!({"status": {"phase": "Failed"}});
    for (what, replicas, pods, create, delete) in [
        ("none yet", 3, vec![], 3, vec![]),
        ("one short", 2, vec![pod("a", None, json!({}))], 1, vec![]),
        ("right", 1, vec![pod("a", None, json!({}))], 0, vec![]),
        ("one leaves and is replaced", 1, vec![pod("a", Some(1), leaving.clone())], 1, vec![]),
        ("one failed and is replaced", 1, vec![pod("a", Some(1), failed)], 1, vec![]),
        ("too many: the unready goes", 1, vec![pod("a", Some(1), json!({})), pod("b", None, json!({}))], 0, vec!["b"]),
        ("scaled to none", 0, vec![pod("a", Some(1), json!({}))], 0, vec!["a"]),
    ] {
        let plan = plan(&set(replicas, 0), &pods, now);
        let names: Vec<_> = plan.delete.iter().map(|pod| pod.metadata.name.as_deref().unwrap()).collect();
        assert_eq!((plan.create, names), (create, delete), "{what}");
    }
}

#[test]
fn the_status_counts_ready_and_available_and_looks_again_when_one_becomes_available() {
    let now = Timestamp::from_second(1_000).unwrap();
    let labelled = json!({"metadata": {"labels": {"tier": "x"}}});
    let pods = [pod("a", Some(100), labelled), pod("b", Some(995), json!({})), pod("c", None, json!({}))];
    let plan = plan(&set(3, 10), &pods, now);
    let expected =
        Status { replicas: 3, fully_labeled: 1, ready: 2, available: 1, observed_generation: 3, failure: None };
    assert_eq!(plan.status, expected);
    assert_eq!(plan.again_at, Some(now + SignedDuration::from_secs(5)));
}

#[test]
fn pods_are_taken_in_and_let_go_by_labels() {
    let owner = set(1, 0);
    let reference = |uid: &str| {
        json!({"metadata": {"ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": uid, "controller": true}]}})
    };
    let mut stray = reference("u");
    stray["metadata"]["labels"] = json!({"app": "other"});
    let pods = vec![
        pod("mine", None, reference("u")),
        pod("theirs", None, reference("v")),
        pod("orphan", None, json!({})),
        pod("stray", None, stray),
        pod("unrelated", None, json!({"metadata": {"labels": {"app": "other"}}})),
        pod("leaving", None, json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
    ];
    let names =
        |pods: &[Arc<Pod>]| -> Vec<String> { pods.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect() };
    let claims = owners::claim(&owner.metadata, &owner.selector, pods.clone());
    assert_eq!(names(&claims.owned), ["mine"]);
    assert_eq!(names(&claims.adopt), ["orphan"]);
    assert_eq!(names(&claims.release), ["stray"]);
    let mut deleted = owner.metadata.clone();
    deleted.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
    let claims = owners::claim(&deleted, &owner.selector, pods);
    assert!(claims.adopt.is_empty() && claims.release.is_empty());
}

#[test]
fn a_failure_keeps_its_first_message_until_it_is_over() {
    let text = |text: &str| Some(text.to_string());
    for (old, failed, expected) in
        [(None, None, None), (None, text("a"), text("a")), (text("a"), text("b"), text("a")), (text("a"), None, None)]
    {
        assert_eq!(lasting(old, failed), expected);
    }
}
