use jiff::SignedDuration;
use serde_json::Value;

use super::*;

fn node(status: &str, taints: Value, more: Value) -> Node {
    let mut node = json!({"metadata": {"name": "n"}, "spec": {"taints": taints}, "status": {"conditions": [
        {"type": "Ready", "status": status, "lastHeartbeatTime": "2026-01-01T00:00:00Z"},
        {"type": "DiskPressure", "status": "False"}]}});
    for (key, value) in more.as_object().unwrap() {
        node["spec"][key] = value.clone();
    }
    serde_json::from_value(node).unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn keys(taints: Option<Vec<k8s_openapi::api::core::v1::Taint>>) -> Option<Vec<String>> {
    taints.map(|taints| {
        taints
            .into_iter()
            .map(|taint| format!("{}:{}", taint.key.replace("node.kubernetes.io/", ""), taint.effect))
            .collect()
    })
}

#[test]
fn taints_follow_conditions_and_leave_others_alone() {
    let none = json!([]);
    let lost = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
        {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}, {"key": "mine", "effect": "NoSchedule"}]);
    for (what, node, may_evict, expected) in [
        ("ready", node("True", none.clone(), json!({})), true, None),
        (
            "not ready",
            node("False", none.clone(), json!({})),
            true,
            Some(vec!["not-ready:NoSchedule", "not-ready:NoExecute"]),
        ),
        (
            "silent",
            node("Unknown", none.clone(), json!({})),
            true,
            Some(vec!["unreachable:NoSchedule", "unreachable:NoExecute"]),
        ),
        ("all are silent", node("Unknown", none.clone(), json!({})), false, Some(vec!["unreachable:NoSchedule"])),
        (
            "all fell silent",
            node("Unknown", lost.clone(), json!({})),
            false,
            Some(vec!["unreachable:NoSchedule", "mine:NoSchedule"]),
        ),
        ("back", node("True", lost.clone(), json!({})), true, Some(vec!["mine:NoSchedule"])),
        ("still silent", node("Unknown", lost, json!({})), true, None),
        ("cordoned", node("True", none, json!({"unschedulable": true})), true, Some(vec!["unschedulable:NoSchedule"])),
    ] {
        let expected = expected.map(|keys| keys.into_iter().map(str::to_string).collect::<Vec<_>>());
        assert_eq!(keys(health::taints(&node, may_evict, now())), expected, "{what}");
    }
}

#[test]
fn a_silent_nodes_conditions_become_unknown_once() {
    let conditions = health::unknown(&node("True", json!([]), json!({})), now()).unwrap();
    let said: Vec<_> = conditions.iter().map(|c| (c.type_.as_str(), c.reason.as_deref().unwrap())).collect();
    let expected = [
        ("Ready", "NodeStatusUnknown"),
        ("MemoryPressure", "NodeStatusNeverUpdated"),
        ("DiskPressure", "NodeStatusUnknown"),
        ("PIDPressure", "NodeStatusNeverUpdated"),
    ];
    assert_eq!(said, expected);
    let mut quiet = node("True", json!([]), json!({}));
    quiet.status.as_mut().unwrap().conditions = Some(conditions);
    assert_eq!(health::unknown(&quiet, now()), None);
    assert_eq!(health::heartbeat(&quiet), Some("2026-01-01T00:00:00Z".parse().unwrap()));
}

#[test]
fn pods_leave_as_they_tolerate() {
    let taint = json!([{"key": "k", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}]);
    let node = node("True", taint, json!({}));
    let added: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let pod = |tolerations: Value, created: &str| -> Pod {
        serde_json::from_value(json!({"metadata": {"creationTimestamp": created},
            "spec": {"containers": [], "tolerations": tolerations}}))
        .unwrap()
    };
    let tolerate = |seconds: Value| json!([{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
    let early = "2025-01-01T00:00:00Z";
    assert_eq!(evict::plan(&node, &pod(json!([]), early)), Eviction::At(added));
    assert_eq!(evict::plan(&node, &pod(tolerate(Value::Null), early)), Eviction::Never);
    let later = added + SignedDuration::from_secs(300);
    assert_eq!(evict::plan(&node, &pod(tolerate(json!(300)), early)), Eviction::At(later));
    let after = Eviction::At(added + SignedDuration::from_secs(360));
    assert_eq!(evict::plan(&node, &pod(tolerate(json!(300)), "2026-01-01T00:01:00Z")), after, "came after the taint");
    // Any number of seconds may be tolerated.
    assert_eq!(evict::plan(&node, &pod(tolerate(json!(i64::MAX)), early)), Eviction::At(Timestamp::MAX));
    assert!(evict::repels(&node));
}

#[test]
fn the_more_of_a_zone_is_silent_the_fewer_pods_leave() {
    use zones::Disruption::{Full, Little, Partial};
    for (ready, silent, expected) in [
        (3, 0, Little),
        (2, 1, Little),
        (1, 2, Little),
        (1, 3, Partial),
        (2, 3, Partial),
        (3, 3, Little),
        (45, 55, Partial),
        (46, 54, Little),
        (0, 1, Full),
        (0, 4, Full),
        (0, 0, Little),
    ] {
        assert_eq!(zones::disruption(ready, silent), expected, "{ready} ready, {silent} silent");
    }
}

#[test]
fn each_zone_has_its_pace_and_none_where_all_are_silent() {
    let in_zone = |zone: &str, ready: usize, silent: usize| -> Vec<Arc<Node>> {
        let words = std::iter::repeat_n("True", ready).chain(std::iter::repeat_n("Unknown", silent));
        let named = words.map(|word| {
            let mut node = node(word, json!([]), json!({}));
            let labels = node.metadata.labels.get_or_insert_default();
            labels.insert("topology.kubernetes.io/zone".to_string(), zone.to_string());
            Arc::new(node)
        });
        named.collect()
    };
    let (normal, slow) = (Pace::OneIn(Duration::from_secs(10)), Pace::OneIn(Duration::from_secs(100)));
    for (what, a, b, expected) in [
        ("all is well", (3, 0), (3, 0), (normal, normal)),
        ("one is silent", (2, 1), (3, 0), (normal, normal)),
        ("most of a small zone", (1, 3), (3, 0), (Pace::Nobody, normal)),
        ("most of a large zone", (20, 31), (3, 0), (slow, normal)),
        ("a whole zone", (0, 3), (3, 0), (normal, normal)),
        ("both zones", (0, 3), (0, 1), (Pace::Nobody, Pace::Nobody)),
        ("one zone and most of the other", (0, 3), (1, 3), (normal, Pace::Nobody)),
    ] {
        let all = [in_zone("a", a.0, a.1), in_zone("b", b.0, b.1)].concat();
        let paces = zones::paces(&all);
        assert_eq!((paces["/a"], paces["/b"]), expected, "{what}");
    }
    assert!(zones::paces(&[]).is_empty());
    assert!(health::drives_away(&node(
        "Unknown",
        json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]),
        json!({})
    )));
    assert!(!health::drives_away(&node("Unknown", json!([{"key": "k", "effect": "NoExecute"}]), json!({}))));
}
