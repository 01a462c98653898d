use super::super::testing::{Asked, Cluster, create, run};
use super::*;
use crate::request::User;
use serde_json::json;

fn by_node(mut asked: Asked, operation: Operation, name: &str, old: Option<Value>) -> Asked {
    asked.user = User::new("system:node:w1", &["system:nodes"]);
    (asked.operation, asked.name, asked.old) = (operation, name.to_string(), old);
    asked
}

#[test]
fn labels_of_the_cluster_are_not_the_agents() {
    for (label, expected) in [
        ("kubernetes.io/hostname", true),
        ("topology.kubernetes.io/zone", true),
        ("node.kubernetes.io/anything", true),
        ("example.com/x", true),
        ("plain", true),
        ("node-role.kubernetes.io/control-plane", false),
        ("node-restriction.kubernetes.io/x", false),
        ("a.node-restriction.kubernetes.io/x", false),
        ("x.k8s.io/y", false),
    ] {
        assert_eq!(may_set(label), expected, "{label}");
    }
}

#[tokio::test]
async fn an_agent_changes_its_own_node_without_taints_and_foreign_labels() {
    let cluster = Cluster::new();
    let plugin = NodeRestriction(cluster.live.clone());
    let node = |name: &str, labels: Value, taints: Value| json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}});
    let old = node("w1", json!({}), json!([]));
    let change = |new: Value| {
        let name = text(&new, "/metadata/name").to_string();
        let asked = by_node(create("", "nodes", ""), Operation::Update, &name, Some(old.clone()));
        (asked, new)
    };
    for (new, message) in [
        (node("w1", json!({"kubernetes.io/os": "linux"}), json!([])), None),
        (
            node("w2", json!({}), json!([])),
            Some("nodes \"w2\" is forbidden: node \"w1\" is not allowed to modify node \"w2\""),
        ),
        (
            node("w1", json!({"node-role.kubernetes.io/x": ""}), json!([])),
            Some(
                "nodes \"w1\" is forbidden: node \"w1\" is not allowed to modify the following labels: node-role.kubernetes.io/x",
            ),
        ),
        (
            node("w1", json!({}), json!([{"key": "a"}])),
            Some("nodes \"w1\" is forbidden: node \"w1\" is not allowed to modify taints"),
        ),
    ] {
        let (asked, new) = change(new);
        let found = run(&plugin, &asked, Some(new)).await.err();
        assert_eq!(found.as_ref().map(Status::message), message);
    }
}

#[tokio::test]
async fn an_agent_makes_mirror_pods_alone_and_touches_only_its_pods() {
    let cluster = Cluster::new();
    let pod = |name: &str, node: &str| json!({"apiVersion": "v1", "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}")}, "spec": {"nodeName": node}});
    cluster.put("pods", pod("mine", "w1")).await;
    cluster.put("pods", pod("other", "w2")).await;
    let plugin = NodeRestriction(cluster.live.clone());
    for (name, allowed) in [("mine", true), ("other", false), ("gone", true)] {
        let asked = by_node(create("", "pods", "ns"), Operation::Delete, name, None);
        assert_eq!(run(&plugin, &asked, None).await.is_ok(), allowed, "{name}");
        let mut asked = by_node(create("", "pods", "ns"), Operation::Update, name, None);
        asked.subresource = "status";
        assert_eq!(run(&plugin, &asked, Some(json!({}))).await.is_ok(), allowed, "{name}");
    }
    cluster.put("nodes", json!({"apiVersion": "v1", "metadata": {"name": "w1", "uid": "uid-w1"}})).await;
    let owner = |kind: &str, name: &str, uid: &str, controller: bool| json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": controller}]);
    let mirror = json!({"metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "x"},
        "ownerReferences": owner("Node", "w1", "uid-w1", true)}, "spec": {"nodeName": "w1"}});
    let asked = || by_node(create("", "pods", "ns"), Operation::Create, "m", None);
    assert!(run(&plugin, &asked(), Some(mirror.clone())).await.is_ok());
    for (pointer, value) in [
        ("/metadata/annotations", json!({})),
        ("/metadata/ownerReferences", json!([])),
        ("/metadata/ownerReferences", owner("Node", "w1", "uid-of-another", true)),
        ("/metadata/ownerReferences", owner("Node", "w2", "uid-w1", true)),
        ("/metadata/ownerReferences", owner("Pod", "w1", "uid-w1", true)),
        ("/metadata/ownerReferences", owner("Node", "w1", "uid-w1", false)),
        ("/spec/nodeName", json!("w2")),
        ("/spec", json!({"nodeName": "w1", "serviceAccountName": "a"})),
        ("/spec", json!({"nodeName": "w1", "volumes": [{"secret": {"secretName": "s"}}]})),
    ] {
        let mut changed = mirror.clone();
        *changed.pointer_mut(pointer).expect("is there") = value;
        assert!(run(&plugin, &asked(), Some(changed.clone())).await.is_err(), "{changed}");
    }
}

fn token(bound: &Value, audiences: &[&str]) -> (Asked, Value) {
    let mut asked = by_node(create("", "serviceaccounts", "ns"), Operation::Create, "default", None);
    asked.subresource = "token";
    (asked, json!({"spec": {"boundObjectRef": bound, "audiences": audiences}}))
}

fn with_volumes(name: &str, node: &str, volumes: Value) -> Value {
    json!({"apiVersion": "v1", "metadata": {"name": name, "namespace": "ns", "uid": "u"},
        "spec": {"nodeName": node, "volumes": volumes}})
}

fn token_volume(audience: &str) -> Value {
    json!({"name": "t", "projected": {"sources": [{"configMap": {"name": "x"}},
        {"serviceAccountToken": {"audience": audience, "path": "token"}}]}})
}

#[tokio::test]
async fn an_agent_gets_tokens_for_pods_on_its_node() {
    let cluster = Cluster::new();
    cluster.put("pods", with_volumes("p", "w1", json!([token_volume("")]))).await;
    cluster.put("pods", with_volumes("q", "w2", json!([token_volume("")]))).await;
    let plugin = NodeRestriction(cluster.live.clone());
    for (bound, allowed) in [
        (json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "u"}), true),
        (json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "v"}), false),
        (json!({"kind": "Pod", "apiVersion": "v1", "name": "p"}), false),
        (json!({"kind": "Pod", "apiVersion": "v1", "name": "q", "uid": "u"}), false),
        (json!({"kind": "Pod", "apiVersion": "v1", "name": "gone", "uid": "u"}), false),
        (json!(null), false),
    ] {
        let (asked, request) = token(&bound, &[]);
        assert_eq!(run(&plugin, &asked, Some(request)).await.is_ok(), allowed, "{bound}");
    }
}

#[tokio::test]
async fn an_agent_gets_tokens_for_the_audiences_that_its_pods_mount() {
    let cluster = Cluster::new();
    let csi = |name: &str| json!({"name": "c", "csi": {"driver": name}});
    let claim = |name: &str| json!({"name": "d", "persistentVolumeClaim": {"claimName": name}});
    for (name, volumes) in [
        ("plain", json!([token_volume("")])),
        ("vault", json!([token_volume("vault"), token_volume("sts")])),
        ("none", json!([{"name": "x", "emptyDir": {}}])),
        ("inline", json!([csi("secrets.example.com")])),
        ("claimed", json!([claim("data")])),
        ("ephemeral", json!([{"name": "data", "ephemeral": {}}])),
    ] {
        cluster.put("pods", with_volumes(name, "w1", volumes)).await;
    }
    for name in ["data", "ephemeral-data"] {
        let claim =
            json!({"apiVersion": "v1", "metadata": {"name": name, "namespace": "ns"}, "spec": {"volumeName": "pv"}});
        cluster.put("persistentvolumeclaims", claim).await;
    }
    let spec = json!({"csi": {"driver": "secrets.example.com"}});
    cluster.put("persistentvolumes", json!({"apiVersion": "v1", "metadata": {"name": "pv"}, "spec": spec})).await;
    let driver = json!({"apiVersion": "storage.k8s.io/v1", "metadata": {"name": "secrets.example.com"},
        "spec": {"tokenRequests": [{"audience": "driver"}]}});
    cluster.put("csidrivers", driver).await;
    let plugin = NodeRestriction(cluster.live.clone());
    for (pod, audiences, allowed) in [
        ("plain", &[][..], true),
        ("plain", &["vault"], false),
        ("vault", &["vault"], true),
        ("vault", &["sts"], true),
        ("vault", &["vault", "sts"], false),
        ("vault", &[], false),
        ("none", &[], false),
        ("none", &["driver"], false),
        ("inline", &["driver"], true),
        ("inline", &["vault"], false),
        ("claimed", &["driver"], true),
        ("ephemeral", &["driver"], true),
    ] {
        let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": "u"});
        let (asked, request) = token(&bound, audiences);
        assert_eq!(run(&plugin, &asked, Some(request)).await.is_ok(), allowed, "{pod} {audiences:?}");
    }
}

#[tokio::test]
async fn an_agent_tells_how_large_a_claim_is_and_nothing_else_of_it() {
    let plugin = NodeRestriction(Cluster::new().live.clone());
    let claim = |capacity: &str| {
        json!({"metadata": {"name": "c", "namespace": "ns", "resourceVersion": "1", "labels": {"a": "b"}},
            "spec": {"volumeName": "v"}, "status": {"phase": "Bound", "capacity": {"storage": capacity}}})
    };
    let mut asked = by_node(create("", "persistentvolumeclaims", "ns"), Operation::Update, "c", Some(claim("1Gi")));
    asked.subresource = "status";
    let mut grown = claim("2Gi");
    grown["status"]["conditions"] = json!([{"type": "FileSystemResizePending", "status": "True"}]);
    grown["metadata"]["resourceVersion"] = json!("2");
    assert!(run(&plugin, &asked, Some(grown)).await.is_ok());
    for (pointer, value) in [
        ("/metadata/labels/a", json!("c")),
        ("/status/phase", json!("Lost")),
        ("/spec/volumeName", json!("w")),
        ("/metadata", json!({"name": "c", "namespace": "ns", "labels": {"a": "b"}, "finalizers": ["x/y"]})),
    ] {
        let mut changed = claim("2Gi");
        *changed.pointer_mut(pointer).expect("is there") = value;
        assert!(run(&plugin, &asked, Some(changed)).await.is_err(), "{pointer}");
    }
}

#[tokio::test]
async fn an_agent_asks_for_certificates_of_its_own_pods() {
    let cluster = Cluster::new();
    let plugin = NodeRestriction(cluster.live.clone());
    let named = |name: &str, uid: &str| json!({"name": name, "namespace": "n", "uid": uid});
    let core = |kind: &str, metadata: Value| json!({"apiVersion": "v1", "kind": kind, "metadata": metadata});
    cluster.put("nodes", core("Node", json!({"name": "w1", "uid": "nu"}))).await;
    cluster.put("serviceaccounts", core("ServiceAccount", named("sa", "su"))).await;
    for (name, uid, node) in [("own", "pu", "w1"), ("foreign", "fu", "w2"), ("mirror", "mu", "w1")] {
        let mut pod = core("Pod", named(name, uid));
        pod["spec"] = json!({"nodeName": node, "serviceAccountName": "sa"});
        if name == "mirror" {
            pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "hash"});
        }
        cluster.put("pods", pod).await;
    }
    let whole = json!({"podName": "own", "podUID": "pu", "serviceAccountName": "sa", "serviceAccountUID": "su",
        "nodeName": "w1", "nodeUID": "nu"});
    for (change, expected) in [
        (json!({}), ""),
        (
            json!({"nodeName": "w2"}),
            "PodCertificateRequest.Spec.NodeName=\"w2\", which is not the requesting node \"w1\"",
        ),
        (json!({"nodeUID": "x"}), "names node UID \"x\", inconsistent with the running node (\"nu\")"),
        (json!({"podName": "none"}), "pod \"n/none\" named in the PodCertificateRequest does not exist"),
        (json!({"podUID": "x"}), "contains pod UID (\"x\") which differs from running pod \"pu\""),
        (
            json!({"podName": "foreign", "podUID": "fu"}),
            "pod \"n/foreign\" is not running on node \"w1\" named in the PodCertificateRequest",
        ),
        (json!({"podName": "mirror", "podUID": "mu"}), "pod \"n/mirror\" is a mirror pod"),
        (
            json!({"serviceAccountName": "admin"}),
            "contains serviceAccountName (\"admin\") that differs from running pod (\"sa\")",
        ),
        (
            json!({"serviceAccountUID": "x"}),
            "names service account UID \"x\", which differs from the running service account (\"su\")",
        ),
    ] {
        let mut spec = whole.clone();
        for (field, value) in change.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        let asked = by_node(create("certificates.k8s.io", "podcertificaterequests", "n"), Operation::Create, "", None);
        let object = json!({"metadata": {"generateName": "req-"}, "spec": spec});
        match run(&plugin, &asked, Some(object)).await {
            Ok(_) => assert_eq!(expected, "", "{change}"),
            Err(refused) => {
                assert!(!expected.is_empty() && refused.message().ends_with(expected), "{}", refused.message())
            }
        }
    }
    let mut asked = by_node(create("certificates.k8s.io", "podcertificaterequests", "n"), Operation::Update, "r", None);
    asked.subresource = "status";
    assert!(run(&plugin, &asked, Some(json!({"spec": whole}))).await.is_err(), "agents sign nothing");
}
