//! StatefulSets: pods by name and in order.

use serde_json::{Value, json};

use super::support::start;

fn set(image: &str, more: Value) -> Value {
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let mut spec = json!({"replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": image}]}}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    if spec["claimed"] == true {
        spec["volumeClaimTemplates"] = json!([claim]);
    }
    spec.as_object_mut().unwrap().remove("claimed");
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec})
}

const IMAGES: &str =
    "get pods -l app=db -o jsonpath={range.items[*]}{.metadata.name}={.spec.containers[0].image}{\"|\"}{end}";

#[tokio::test(flavor = "multi_thread")]
async fn a_set_starts_in_order_rolls_down_to_its_partition_and_shrinks_from_the_end() {
    let cluster = start().await;
    cluster.node("w1").await;
    cluster.apply(set("v1", json!({}))).await;
    cluster.kubectl("rollout status statefulset/db --timeout=60s").await;
    let born = cluster
        .kubectl("get pods -l app=db --sort-by=.metadata.creationTimestamp -o jsonpath={.items[*].spec.hostname}")
        .await;
    assert_eq!(born, "db-0 db-1 db-2");
    let partition =
        |from: u8| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": from}}});
    cluster.apply(set("v2", partition(2))).await;
    cluster.until(IMAGES, |out| out == "db-0=v1|db-1=v1|db-2=v2|").await;
    cluster.kubectl("delete pod db-0 --wait=false").await;
    cluster.kubectl("rollout status statefulset/db --timeout=60s").await;
    cluster.until(IMAGES, |out| out == "db-0=v1|db-1=v1|db-2=v2|").await;
    cluster.apply(set("v2", partition(0))).await;
    cluster.kubectl("rollout status statefulset/db --timeout=60s").await;
    cluster.until(IMAGES, |out| out == "db-0=v2|db-1=v2|db-2=v2|").await;
    cluster.kubectl("rollout undo statefulset/db").await;
    cluster.until(IMAGES, |out| out == "db-0=v1|db-1=v1|db-2=v1|").await;
    cluster.kubectl("scale statefulset db --replicas=1").await;
    cluster.until("get pods -l app=db -o name", |out| out == "pod/db-0").await;
    cluster.kubectl("delete statefulset db --wait=false").await;
    cluster.until("get pods,controllerrevisions -l app=db -o name", str::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parallel_set_makes_all_its_pods_at_once_each_with_its_claim() {
    let cluster = start().await;
    let parallel = json!({"podManagementPolicy": "Parallel", "claimed": true, "ordinals": {"start": 5}});
    cluster.apply(set("v1", parallel)).await;
    // There is no node, and nobody waits for anybody.
    cluster.until("get pods -l app=db -o jsonpath={.items[*].metadata.name}", |out| out == "db-5 db-6 db-7").await;
    let claims = "get persistentvolumeclaims -o jsonpath={.items[*].metadata.name}";
    cluster.until(claims, |out| out == "data-db-5 data-db-6 data-db-7").await;
    let used = "get pod db-6 -o jsonpath={.spec.volumes[?(@.name==\"data\")].persistentVolumeClaim.claimName}";
    assert_eq!(cluster.kubectl(used).await, "data-db-6");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_made_anew_takes_its_history_over() {
    let cluster = start().await;
    cluster.node("w1").await;
    let owners = "get controllerrevisions -l app=db -o jsonpath={.items[*].metadata.ownerReferences[*].uid}";
    let uid = |kind: &str| format!("get {kind} db -o jsonpath={{.metadata.uid}}");
    let daemon = || {
        let mut daemon = set("v1", json!({}));
        daemon["kind"] = json!("DaemonSet");
        for field in ["replicas", "serviceName"] {
            daemon["spec"].as_object_mut().unwrap().remove(field);
        }
        daemon
    };
    for (kind, manifest) in [("statefulset", set("v1", json!({"replicas": 1}))), ("daemonset", daemon())] {
        cluster.apply(manifest.clone()).await;
        let first = cluster.kubectl(&uid(kind)).await;
        cluster.until(owners, |out| out == first).await;
        cluster.kubectl(&format!("delete {kind} db --cascade=orphan")).await;
        cluster.until(owners, str::is_empty).await;
        cluster.apply(manifest).await;
        let second = cluster.kubectl(&uid(kind)).await;
        cluster.until(owners, |out| out == second).await;
        cluster.kubectl(&format!("delete {kind} db --wait=false")).await;
        cluster.until("get pods,controllerrevisions -l app=db -o name", str::is_empty).await;
    }
}
