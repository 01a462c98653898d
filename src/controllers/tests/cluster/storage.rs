//! Claims and volumes that are deleted while they are in use.

use serde_json::{Value, json};

use super::support::start;

fn claim() -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_stays_until_no_pod_uses_it() {
    let cluster = start().await;
    cluster.apply(claim()).await;
    cluster
        .apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"}, "spec": {
            "nodeName": "w1", "containers": [{"name": "c", "image": "v1"}],
            "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]}}))
        .await;
    let finalizers = "get pvc data -o jsonpath={.metadata.finalizers[*]}";
    assert_eq!(cluster.kubectl(finalizers).await, "kubernetes.io/pvc-protection");
    cluster.kubectl("delete pvc data --wait=false").await;
    let going = "get pvc data -o jsonpath={.metadata.deletionTimestamp}:{.metadata.finalizers[*]}";
    assert!(cluster.kubectl(going).await.ends_with("Z:kubernetes.io/pvc-protection"));
    cluster.kubectl("delete pod user --grace-period=0 --force").await;
    cluster.until("get pvc -o name", str::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_without_a_claim_goes_at_once() {
    let cluster = start().await;
    cluster
        .apply(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/v"}}}))
        .await;
    let finalizers = "get pv v -o jsonpath={.metadata.finalizers[*]}";
    assert_eq!(cluster.kubectl(finalizers).await, "kubernetes.io/pv-protection");
    cluster.kubectl("delete pv v --timeout=60s").await;
    assert_eq!(cluster.kubectl("get pv -o name").await, "");
}
