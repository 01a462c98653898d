//! Deletion of what is owned, and of namespaces.

use serde_json::{Value, json};

use super::support::start;

fn replica_set(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name}, "spec": {"replicas": 2,
        "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "image": "v1"}]}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_go_with_their_owner_stay_or_go_first_as_asked() {
    let cluster = start().await;
    cluster.node("w1").await;
    for (name, policy) in [("back", "background"), ("fore", "foreground"), ("left", "orphan")] {
        cluster.apply(replica_set(name)).await;
        let pods = format!("get pods -l app={name} -o jsonpath={{.items[*].status.phase}}");
        cluster.until(&pods, |out| out == "Running Running").await;
        cluster.kubectl(&format!("delete replicaset {name} --cascade={policy} --timeout=60s")).await;
        if policy == "orphan" {
            let owners = format!("get pods -l app={name} -o jsonpath={{.items[*].metadata.ownerReferences}}");
            cluster.until(&owners, str::is_empty).await;
            assert_eq!(cluster.kubectl(&pods).await, "Running Running");
            // The same set takes them in again.
            cluster.apply(replica_set(name)).await;
            cluster.until(&owners, |out| out.matches("\"controller\":true").count() == 2).await;
        } else {
            cluster.until(&format!("get pods -l app={name} -o name"), str::is_empty).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_in_a_circle_go_when_one_is_to_go_after_its_dependents() {
    let cluster = start().await;
    let map = |name: &str, owners: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners}});
    let mut before = json!([]);
    for name in ["r1", "r2", "r3"] {
        cluster.apply(map(name, before)).await;
        let uid = cluster.kubectl(&format!("get configmap {name} -o jsonpath={{.metadata.uid}}")).await;
        before =
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": true}]);
    }
    let patch = json!({"metadata": {"ownerReferences": before}}).to_string();
    let closes = ["patch", "configmap", "r1", "--type=merge", "-p", &patch];
    assert!(cluster.kubectl_output(&closes).await.status.success());
    cluster.kubectl("delete configmap r1 --cascade=foreground --wait=false").await;
    cluster.until("get configmaps -o name", |out| !out.contains("configmap/r")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_an_owner_that_is_not_there_goes_and_what_has_another_stays() {
    let cluster = start().await;
    let map = |name: &str, owners: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners}});
    cluster.apply(map("owner", json!([]))).await;
    let uid = cluster.kubectl("get configmap owner -o jsonpath={.metadata.uid}").await;
    let reference = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid});
    let nobody = reference("nobody", "00000000-0000-0000-0000-000000000000");
    cluster.apply(map("both", json!([nobody, reference("owner", &uid)]))).await;
    cluster.apply(map("lost", json!([nobody]))).await;
    cluster.until("get configmaps -o name", |out| !out.contains("lost")).await;
    let owners = "get configmap both -o jsonpath={.metadata.ownerReferences[*].name}";
    cluster.until(owners, |out| out == "owner").await;
    cluster.kubectl("delete configmap owner").await;
    cluster.until("get configmaps -o name", |out| !out.contains("both")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_made_ready_and_emptied() {
    let cluster = start().await;
    cluster.node("w1").await;
    cluster.kubectl("create namespace shop").await;
    cluster
        .until("get serviceaccount,configmap -n shop -o name", |out| {
            out.contains("serviceaccount/default") && out.contains("configmap/kube-root-ca.crt")
        })
        .await;
    cluster.kubectl("create configmap held -n shop").await;
    let finalizers = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
    let patch = ["patch", "configmap", "held", "-n", "shop", "-p", finalizers];
    assert!(cluster.kubectl_output(&patch).await.status.success());
    let mut set = replica_set("web");
    set["metadata"]["namespace"] = json!("shop");
    cluster.apply(set).await;
    cluster.until("get pods -n shop -o name", |out| out.lines().count() == 2).await;
    cluster.kubectl("delete namespace shop --wait=false").await;
    let conditions = "get namespace shop -o jsonpath={.status.conditions[*].message}";
    cluster.until(conditions, |out| out.contains("example.com/hold in 1 resource instances")).await;
    assert_eq!(cluster.kubectl("get pods,replicasets -n shop -o name").await, "");
    let release = ["patch", "configmap", "held", "-n", "shop", "-p", r#"{"metadata":{"finalizers":null}}"#];
    assert!(cluster.kubectl_output(&release).await.status.success());
    cluster.until("get namespaces -o name", |out| !out.contains("shop")).await;
}
