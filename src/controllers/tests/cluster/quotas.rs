//! Quotas: their status shows what is used.

use serde_json::{Value, json};

use super::support::start;

fn quota(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec})
}

/// `deployment` with pods that ask for half a core each.
fn deployment(replicas: u32) -> Value {
    let container =
        json!({"name": "c", "image": "v1", "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [container]}}}})
}

fn used(quota: &str, names: &[&str]) -> String {
    let fields: Vec<String> =
        names.iter().map(|name| format!("{{.status.used.{}}}", name.replace('.', "\\."))).collect();
    format!("get resourcequota {quota} -o jsonpath={}", fields.join("|"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_shows_what_is_used_and_what_is_given_back() {
    let cluster = start().await;
    cluster.node("w1").await;
    let hard = json!({"pods": "3", "requests.cpu": "2", "limits.cpu": "4", "secrets": "5", "services.nodeports": "2",
        "count/deployments.apps": "1", "count/widgets.example.com": "7"});
    cluster.apply(quota("all", json!({"hard": hard}))).await;
    let names = [
        "pods",
        "requests.cpu",
        "secrets",
        "services.nodeports",
        "count/deployments.apps",
        "count/widgets.example.com",
    ];
    let line = used("all", &names);
    cluster.until(&line, |out| out == "0|0|0|0|0|0").await;
    cluster.apply(deployment(2)).await;
    cluster.kubectl("create secret generic s --from-literal=a=b").await;
    cluster.kubectl("create service nodeport n --tcp=80").await;
    cluster.until(&line, |out| out == "2|1|1|1|1|0").await;
    let described = cluster.kubectl("describe resourcequota all").await;
    let row = described.lines().find(|line| line.trim_start().starts_with("requests.cpu")).unwrap_or_default();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["requests.cpu", "1", "2"], "{described}");
    cluster.kubectl("scale deployment web --replicas=4").await;
    cluster.until(&line, |out| out.starts_with("3|1500m|")).await;
    cluster.kubectl("delete secret s").await;
    cluster.kubectl("delete deployment web").await;
    cluster.until(&line, |out| out == "0|0|0|1|0|0").await;
    // Taking a limit out of the quota takes it out of the status.
    cluster
        .kubectl("patch resourcequota all --type=json -p=[{\"op\":\"remove\",\"path\":\"/spec/hard/secrets\"}]")
        .await;
    cluster.until("get resourcequota all -o jsonpath={.status}", |out| !out.contains("secrets")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_with_scopes_counts_those_pods_alone() {
    let cluster = start().await;
    cluster.node("w1").await;
    cluster.apply(quota("idle", json!({"hard": {"pods": "5"}, "scopes": ["BestEffort"]}))).await;
    cluster.apply(quota("busy", json!({"hard": {"pods": "5"}, "scopes": ["NotBestEffort"]}))).await;
    cluster.apply(deployment(2)).await;
    cluster.kubectl("run lone --image=v1").await;
    cluster.until(&used("idle", &["pods"]), |out| out == "1").await;
    cluster.until(&used("busy", &["pods"]), |out| out == "2").await;
}
