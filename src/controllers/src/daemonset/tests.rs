use serde_json::Value;

use super::*;

fn daemon(strategy: Value, spec: Value) -> DaemonSet {
    serde_json::from_value(json!({"metadata": {"name": "agent", "namespace": "n", "uid": "u", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "updateStrategy": strategy,
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": spec}}}))
    .unwrap()
}

fn node(name: &str, taint: Option<(&str, &str)>) -> Arc<Node> {
    let taints: Vec<Value> = taint.map(|(key, effect)| json!({"key": key, "effect": effect})).into_iter().collect();
    let labels = json!({"kubernetes.io/hostname": name});
    Arc::new(
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}}))
            .unwrap(),
    )
}

fn pod(name: &str, node: &str, hash: &str, ready: bool) -> Arc<Pod> {
    let status = if ready { "True" } else { "False" };
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "labels": {"app": "agent", HASH_LABEL: hash}},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}))
        .unwrap(),
    )
}

fn look(daemon: &DaemonSet, nodes: &[Arc<Node>], pods: &[Arc<Pod>]) -> (Vec<String>, Vec<String>, Plan) {
    let now = "2026-01-02T00:00:00Z".parse().unwrap();
    let plan = plan(&Observed { daemon, nodes, pods, hash: "new", now });
    (plan.create.clone(), plan.delete.iter().map(|pod| pod.name_any()).collect(), plan)
}

fn plain() -> Value {
    json!({"containers": []})
}

#[test]
fn one_pod_on_each_node_that_may_have_it() {
    let nodes = [
        node("a", None),
        node("b", Some(("x", "NoSchedule"))),
        node("c", Some(("x", "NoExecute"))),
        node("d", Some(("node.kubernetes.io/unschedulable", "NoSchedule"))),
        node("e", Some(("node.kubernetes.io/unreachable", "NoExecute"))),
    ];
    let set = daemon(json!({}), plain());
    let (create, delete, plan) = look(&set, &nodes, &[pod("pb", "b", "new", true), pod("pc", "c", "new", true)]);
    assert_eq!(create, ["a", "d", "e"]);
    assert_eq!(delete, ["pc"], "a pod that is there stays through NoSchedule, not through NoExecute");
    let status = plan.status;
    assert_eq!((status.desired_number_scheduled, status.number_misscheduled, status.number_ready), (3, 2, 0));
    let chosen = daemon(json!({}), json!({"containers": [], "nodeSelector": {"kubernetes.io/hostname": "a"}}));
    assert_eq!(look(&chosen, &nodes, &[pod("pb", "b", "new", true)]).0, ["a"]);
    assert_eq!(look(&chosen, &nodes, &[pod("pb", "b", "new", true)]).1, ["pb"]);
}

#[test]
fn doubles_and_failed_pods_go_and_a_leaving_pod_is_waited_for() {
    let nodes = [node("a", None)];
    let set = daemon(json!({}), plain());
    let (create, delete, _) = look(&set, &nodes, &[pod("1", "a", "new", true), pod("2", "a", "new", true)]);
    assert_eq!((create.len(), delete), (0, vec!["2".to_string()]));
    let mut failed = pod("f", "a", "new", false).as_ref().clone();
    failed.status.as_mut().unwrap().phase = Some("Failed".into());
    assert_eq!(look(&set, &nodes, &[Arc::new(failed.clone())]).1, ["f"]);
    let just_now: Timestamp = "2026-01-01T23:59:55Z".parse().unwrap();
    failed.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(just_now));
    let (_, delete, plan) = look(&set, &nodes, &[Arc::new(failed)]);
    assert_eq!((delete.len(), plan.again_at), (0, Some("2026-01-02T00:00:05Z".parse().unwrap())), "not so soon");
    let mut leaving = pod("l", "a", "old", true).as_ref().clone();
    leaving.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
    let (create, delete, _) = look(&set, &nodes, &[Arc::new(leaving)]);
    assert!(create.is_empty() && delete.is_empty());
}

#[test]
fn updates_replace_as_many_as_may_be_missing() {
    let nodes = [node("a", None), node("b", None), node("c", None), node("d", None)];
    let rolling = |unavailable: i32, surge: i32| {
        let numbers = json!({"maxUnavailable": unavailable, "maxSurge": surge});
        daemon(json!({"type": "RollingUpdate", "rollingUpdate": numbers}), plain())
    };
    let old = |ready: bool| {
        [
            pod("pa", "a", "old", true),
            pod("pb", "b", "old", ready),
            pod("pc", "c", "old", true),
            pod("pd", "d", "old", true),
        ]
    };
    assert_eq!(look(&rolling(1, 0), &nodes, &old(true)).1, ["pa"]);
    assert_eq!(
        look(&rolling(2, 0), &nodes, &old(true)).1,
        ["pa", "pc"].map(|name| if name == "pc" { "pb" } else { name })
    );
    assert_eq!(look(&rolling(1, 0), &nodes, &old(false)).1, ["pb"], "the one that does not work anyway");
    assert_eq!(look(&daemon(json!({"type": "OnDelete"}), plain()), &nodes, &old(true)).1, Vec::<String>::new());
    let (create, delete, _) = look(&rolling(0, 2), &nodes, &old(true));
    assert_eq!((create, delete.len()), (vec!["a".to_string(), "b".to_string()], 0));
    let mut beside = old(true).to_vec();
    beside.extend([pod("na", "a", "new", true), pod("nb", "b", "new", false)]);
    let (create, delete, plan) = look(&rolling(0, 2), &nodes, &beside);
    assert_eq!((create, delete), (vec!["c".to_string()], vec!["pa".to_string()]));
    assert_eq!((plan.status.updated_number_scheduled, plan.status.number_available), (Some(2), Some(4)));
}

#[test]
fn a_pod_is_tied_to_its_node_and_tolerates_what_drives_others_away() {
    let template = Pod { spec: Some(Default::default()), ..Pod::default() };
    let pod = nodes::pod_for(&template, "a");
    assert_eq!(nodes::target(&pod).as_deref(), Some("a"));
    assert_eq!(pod.spec.unwrap().tolerations.unwrap().len(), 6);
}

#[test]
fn the_history_has_each_template_once_in_the_order_of_use() {
    let first = daemon(json!({}), plain());
    let created = revisions::plan(&first, &mut [], &[]);
    let one = Arc::new(*created.create.unwrap());
    assert_eq!((one.revision, one.name_any()), (Some(1), format!("agent-{}", created.hash)));
    let mut second = daemon(json!({}), json!({"containers": [{"name": "c"}]}));
    second.spec.revision_history_limit = Some(0);
    let changed = revisions::plan(&second, &mut [one.clone()], std::slice::from_ref(&created.hash));
    assert!(changed.delete.is_empty(), "pods of it still run");
    let two = Arc::new(*changed.create.unwrap());
    assert_eq!(two.revision, Some(2));
    let back = revisions::plan(&first, &mut [two.clone(), one.clone()], &[]);
    assert_eq!((back.hash.as_str(), back.renumber), (created.hash.as_str(), Some((one.name_any(), 3))));
    assert_eq!(revisions::plan(&second, &mut [one.clone(), two], &[]).delete, [one.name_any()]);
}
