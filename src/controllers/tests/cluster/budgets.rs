//! Budgets: what they count, and that evictions keep to them.

use serde_json::{Value, json};

use super::support::{BROKEN, Cluster, start};

/// expectedPods/currentHealthy/desiredHealthy/disruptionsAllowed
const COUNTS: &str = "get poddisruptionbudget web -o jsonpath={.status.expectedPods}/{.status.currentHealthy}/\
                      {.status.desiredHealthy}/{.status.disruptionsAllowed}";

fn deployment(replicas: u32, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image}]}}}})
}

fn budget(mut spec: Value) -> Value {
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": spec})
}

/// A drain that does not get through in a few seconds; what it said.
async fn refused_drain(cluster: &Cluster) -> String {
    let output = cluster.kubectl_output(&["drain", "w1", "--timeout=7s"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_evicts_as_fast_as_a_budget_allows_and_no_faster() {
    let cluster = start().await;
    cluster.node("w1").await;
    cluster.apply(deployment(3, "v1")).await;
    cluster.apply(budget(json!({"maxUnavailable": 1}))).await;
    cluster.until(COUNTS, |out| out == "3/3/2/1").await;
    // There is nowhere to go: one pod may leave, and the others stay.
    let said = refused_drain(&cluster).await;
    assert!(said.contains("Cannot evict pod as it would violate the pod's disruption budget"), "{said}");
    cluster.until(COUNTS, |out| out == "3/2/2/0").await;
    let condition = "get poddisruptionbudget web -o jsonpath={.status.conditions[0].reason}";
    assert_eq!(cluster.kubectl(condition).await, "InsufficientPods");
    cluster.node("w2").await;
    cluster.until(COUNTS, |out| out == "3/3/2/1").await;
    cluster.kubectl("drain w1 --timeout=60s").await;
    cluster.until(COUNTS, |out| out == "3/3/2/1").await;
    let nodes = cluster.kubectl("get pods -l app=web -o jsonpath={.items[*].spec.nodeName}").await;
    assert_eq!(nodes, "w2 w2 w2");
    let shown = cluster.kubectl("get poddisruptionbudget web --no-headers").await;
    assert_eq!(shown.split_whitespace().take(4).collect::<Vec<_>>(), ["web", "N/A", "1", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_never_were_healthy_go_when_the_budget_says_so() {
    let cluster = start().await;
    cluster.node("w1").await;
    cluster.apply(deployment(1, BROKEN)).await;
    cluster.apply(budget(json!({"minAvailable": 1}))).await;
    cluster.until(COUNTS, |out| out == "1/0/1/0").await;
    cluster.until("get pods -l app=web -o jsonpath={.items[*].status.phase}", |out| out == "Running").await;
    refused_drain(&cluster).await;
    cluster.apply(budget(json!({"minAvailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"}))).await;
    cluster.kubectl("drain w1 --timeout=60s").await;
}
