use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::fixtures::{cluster, cpu_pod, node, node_with, place, pod};
use crate::pod::PodInfo;
use crate::schedule::schedule;

fn zoned() -> Cluster {
    let node = |name, zone: &str| node_with(name, "4", "8Gi", json!({"topology.kubernetes.io/zone": zone}), json!({}));
    cluster(&[node("a1", "a"), node("a2", "a"), node("b1", "b")])
}

fn refusal(pod: &PodInfo, cluster: &Cluster) -> String {
    schedule(pod, cluster, 0).unwrap_err().message()
}

fn plain(name: &str, more: Value) -> PodInfo {
    cpu_pod(name, "100m", more)
}

#[test]
fn what_is_against_each_node_is_counted_in_kubernetes_words() {
    let taint = json!({"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]});
    let cluster =
        cluster(&[node_with("cp1", "4", "8Gi", json!({}), taint), node("w1", "1", "1Gi"), node("w2", "1", "1Gi")]);
    assert_eq!(
        refusal(&cpu_pod("big", "3", json!({})), &cluster),
        "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, \
         2 Insufficient cpu."
    );
    let tolerant = json!({"tolerations": [{"operator": "Exists"}]});
    assert_eq!(schedule(&cpu_pod("big", "3", tolerant), &cluster, 0).unwrap(), "cp1");
    assert_eq!(
        refusal(&pod("any", json!({"containers": []})), &Cluster::default()),
        "no nodes available to schedule pods"
    );
    let claims = json!({"containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]});
    assert_eq!(
        refusal(&pod("db", claims), &cluster),
        "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    );
}

#[test]
fn a_node_itself_can_refuse() {
    let cordoned = json!({"unschedulable": true});
    let soft = json!({"taints": [{"key": "k", "value": "v", "effect": "NoExecute"}]});
    for (spec, more, expected) in [
        (cordoned.clone(), json!({}), "1 node(s) were unschedulable."),
        (json!({}), json!({"nodeSelector": {"disk": "ssd"}}), "1 node(s) didn't match Pod's node affinity/selector."),
        (soft.clone(), json!({}), "1 node(s) had untolerated taint {k: v}."),
        (
            soft.clone(),
            json!({"tolerations": [{"key": "k", "operator": "Equal", "value": "w"}]}),
            "1 node(s) had untolerated taint {k: v}.",
        ),
        (json!({}), json!({"nodeName": "other"}), "1 node(s) didn't match the requested node name."),
    ] {
        let cluster = cluster(&[node_with("n", "4", "8Gi", json!({}), spec)]);
        let text = refusal(&plain("p", more), &cluster);
        assert_eq!(text, format!("0/1 nodes are available: {expected}"));
    }
    for (spec, more) in [
        (cordoned, json!({"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]})),
        (soft, json!({"tolerations": [{"key": "k", "value": "v", "effect": "NoExecute"}]})),
        (json!({}), json!({"nodeSelector": {"kubernetes.io/hostname": "n"}})),
    ] {
        let cluster = cluster(&[node_with("n", "4", "8Gi", json!({}), spec)]);
        assert_eq!(schedule(&plain("p", more), &cluster, 0).unwrap(), "n");
    }
}

#[test]
fn room_is_cpu_memory_pods_ports_and_anything_else_that_is_counted() {
    let mut cluster = cluster(&[node("n", "1", "1Gi")]);
    let with = |requests: Value| pod("p", json!({"containers": [{"name": "c", "resources": {"requests": requests}}]}));
    let ports = |ip: &str| {
        pod("p", json!({"containers": [{"name": "c", "ports": [{"hostPort": 80, "hostIP": ip, "containerPort": 1}]}]}))
    };
    assert!(schedule(&with(json!({"cpu": "1", "memory": "1Gi"})), &cluster, 0).is_ok());
    assert!(refusal(&with(json!({"memory": "2Gi"})), &cluster).contains("1 Insufficient memory."));
    assert!(refusal(&with(json!({"example.com/gpu": "1"})), &cluster).contains("1 Insufficient example.com/gpu."));
    let both = refusal(&with(json!({"cpu": "2", "memory": "2Gi"})), &cluster);
    assert!(both.contains("1 Insufficient cpu, 1 Insufficient memory."), "{both}");
    place(&mut cluster, ports("10.0.0.1"), "n");
    assert!(schedule(&ports("10.0.0.2"), &cluster, 0).is_ok());
    for ip in ["", "0.0.0.0", "10.0.0.1"] {
        let text = refusal(&ports(ip), &cluster);
        assert!(text.contains("1 node(s) didn't have free ports for the requested pod ports."), "{text}");
    }
    for n in 0..109 {
        place(&mut cluster, pod(&format!("x-{n}"), json!({"containers": []})), "n");
    }
    assert!(refusal(&plain("p", json!({})), &cluster).contains("1 Too many pods."));
}

fn term(app: &str, key: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key})
}

fn near(kind: &str, app: &str, key: &str) -> Value {
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term(app, key)]}}})
}

const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";

#[test]
fn pods_that_want_company_join_it_and_the_first_may_begin() {
    let mut cluster = zoned();
    let text = refusal(&plain("web", near("podAffinity", "db", ZONE)), &cluster);
    assert_eq!(text, "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
    assert!(schedule(&plain("db", near("podAffinity", "db", ZONE)), &cluster, 0).is_ok(), "the first of its kind");
    place(&mut cluster, plain("db-1", json!({})), "b1");
    assert_eq!(schedule(&plain("web", near("podAffinity", "db", ZONE)), &cluster, 0).unwrap(), "b1");
}

#[test]
fn pods_that_want_to_be_alone_are_and_keep_others_away() {
    let mut cluster = zoned();
    let alone = || near("podAntiAffinity", "web", HOST);
    for (n, node) in ["a1", "a2", "b1"].iter().enumerate() {
        let web = plain(&format!("web-{n}"), alone());
        let chosen = schedule(&web, &cluster, 0).unwrap();
        assert!(cluster.nodes[&chosen].pods.is_empty(), "{node}");
        place(&mut cluster, web, &chosen);
    }
    let both = refusal(&plain("web-9", alone()), &cluster);
    assert_eq!(both, "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.");
    let theirs = refusal(&plain("web-9", json!({})), &cluster);
    assert_eq!(theirs, "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules.");
    assert!(schedule(&plain("db", json!({})), &cluster, 0).is_ok(), "strangers are not kept away");
}

#[test]
fn hard_spread_keeps_the_skew_and_needs_the_label() {
    let mut cluster = zoned();
    let constraint = |skew: i32, key: &str, min: i32| {
        json!({"topologySpreadConstraints": [{"maxSkew": skew, "topologyKey": key, "minDomains": min,
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]})
    };
    place(&mut cluster, plain("web-1", json!({})), "a1");
    assert_eq!(schedule(&plain("web-2", constraint(1, ZONE, 1)), &cluster, 7).unwrap(), "b1");
    let text = refusal(&plain("web-2", constraint(1, "rack", 1)), &cluster);
    assert_eq!(
        text,
        "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints (missing required label)."
    );
    place(&mut cluster, plain("web-2", json!({})), "b1");
    let text = refusal(&plain("web-3", constraint(1, ZONE, 3)), &cluster);
    assert_eq!(text, "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints.");
    assert!(schedule(&plain("web-3", constraint(1, ZONE, 2)), &cluster, 0).is_ok());
}

#[test]
fn scores_spread_a_controllers_pods_and_follow_wishes() {
    let owned = |name: &str| PodInfo { owner: Some("rs".into()), ..plain(name, json!({})) };
    let mut state = zoned();
    for n in 0..6 {
        let pod = owned(&format!("web-{n}"));
        let chosen = schedule(&pod, &state, n).unwrap();
        place(&mut state, pod, &chosen);
    }
    for node in state.known_nodes() {
        assert!((1..=3).contains(&node.pods.len()), "{} has {}", node.name, node.pods.len());
    }
    let wish = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "preference": {"matchExpressions": [{"key": HOST, "operator": "In", "values": ["a2"]}]}}]}}});
    assert_eq!(schedule(&plain("p", wish), &zoned(), 5).unwrap(), "a2");
    let mut state = zoned();
    place(&mut state, plain("db-1", json!({})), "b1");
    let drawn = json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "podAffinityTerm": term("db", HOST)}]}}});
    assert_eq!(schedule(&plain("web", drawn), &state, 5).unwrap(), "b1");
    place(&mut state, cpu_pod("hog", "3", json!({})), "a1");
    assert_eq!(schedule(&cpu_pod("new", "1", json!({})), &state, 0).unwrap(), "a2", "the emptiest");
    let soft = json!({"taints": [{"key": "k", "effect": "PreferNoSchedule"}]});
    let tainted = cluster(&[node_with("n1", "4", "8Gi", json!({}), soft), node("n2", "4", "8Gi")]);
    assert_eq!(schedule(&plain("p", json!({})), &tainted, 0).unwrap(), "n2");
}
