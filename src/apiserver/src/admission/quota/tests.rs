//! Quotas over a store.

use std::sync::Arc;

use serde_json::json;

use super::super::testing::{Cluster, create, hold, run};
use super::*;

fn quota(hard: Value, scopes: Value) -> Value {
    json!({"apiVersion": "v1", "metadata": {"name": "q", "namespace": "ns"}, "spec": {"hard": hard, "scopes": scopes}})
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({"apiVersion": "v1", "metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": {"containers": [{"resources": {"requests": {"cpu": cpu}}}]}})
}

#[tokio::test]
async fn what_would_exceed_a_quota_is_refused_with_the_figures() {
    let cluster = Cluster::new();
    cluster.put("resourcequotas", quota(json!({"pods": "2", "requests.cpu": "1"}), json!(null))).await;
    cluster.put("pods", pod("a", "600m")).await;
    let plugin = ResourceQuota::new(cluster.live.clone());
    let asked = create("", "pods", "ns");
    run(&plugin, &asked, Some(pod("b", "400m"))).await.expect("fits");
    let refused = run(&plugin, &asked, Some(pod("b", "500m"))).await.expect_err("exceeds");
    let message = "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1";
    assert_eq!(refused.message(), message);
    cluster.put("pods", pod("b", "100m")).await;
    assert!(run(&plugin, &asked, Some(pod("c", "1m"))).await.is_err(), "two pods are enough");
    cluster.delete("/registry/pods/ns/a").await;
    run(&plugin, &asked, Some(pod("c", "1m"))).await.expect("there is room again");
    let mut silent = pod("d", "1m");
    silent["spec"]["containers"] = json!([{"name": "x"}, {"name": "y", "resources": {"requests": {"cpu": "1m"}}}]);
    let refused = run(&plugin, &asked, Some(silent)).await.expect_err("says nothing");
    assert!(refused.message().ends_with("failed quota: q: must specify requests.cpu for: x"), "{}", refused.message());
}

#[tokio::test]
async fn objects_are_counted_by_name_and_scopes_choose_pods() {
    let cluster = Cluster::new();
    let hard = json!({"count/deployments.apps": "1", "services.nodeports": "1", "configmaps": "0"});
    cluster.put("resourcequotas", quota(hard, json!(null))).await;
    let plugin = ResourceQuota::new(cluster.live.clone());
    let object = json!({"metadata": {"name": "x"}});
    assert!(run(&plugin, &create("apps", "deployments", "ns"), Some(object.clone())).await.is_ok());
    assert!(run(&plugin, &create("", "configmaps", "ns"), Some(object)).await.is_err());
    let service = json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{}, {}]}});
    assert!(run(&plugin, &create("", "services", "ns"), Some(service)).await.is_err());
    cluster.put("resourcequotas", quota(json!({"pods": "0"}), json!(["BestEffort"]))).await;
    let asked = create("", "pods", "ns");
    assert!(run(&plugin, &asked, Some(pod("a", "1m"))).await.is_ok());
    let effort = json!({"metadata": {"name": "e"}, "spec": {"containers": [{}]}});
    assert!(run(&plugin, &asked, Some(effort)).await.is_err());
}

/// Of thirty that come at once only as many are let through as there is room for; what fails gives its place back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_quota_holds_however_many_come_at_once() {
    let cluster = Arc::new(Cluster::new());
    cluster.put("resourcequotas", quota(json!({"count/secrets": "5"}), json!(null))).await;
    let plugin = Arc::new(ResourceQuota::new(cluster.live.clone()));
    let secret = |number: usize| {
        let metadata = json!({"name": format!("s{number}"), "namespace": "ns", "uid": format!("u{number}")});
        json!({"apiVersion": "v1", "metadata": metadata})
    };
    let one = secret(99);
    let failed = hold(plugin.as_ref(), &create("", "secrets", "ns"), &one).await.expect("there is room");
    drop(failed);
    let writes = (0..30).map(|number| {
        let (cluster, plugin, secret) = (Arc::clone(&cluster), Arc::clone(&plugin), secret(number));
        tokio::spawn(async move {
            let held = hold(plugin.as_ref(), &create("", "secrets", "ns"), &secret).await;
            tokio::task::yield_now().await;
            if held.is_ok() {
                cluster.put("secrets", secret).await;
            }
            held.is_ok()
        })
    });
    let mut let_through = 0;
    for write in writes.collect::<Vec<_>>() {
        let_through += usize::from(write.await.expect("ends"));
    }
    let kept = cluster.live.count("", "secrets", "ns").await.expect("counts");
    assert_eq!((let_through, kept), (5, 5));
}

/// While a change is on its way its object counts with the larger of what it was and what it will be, once.
#[tokio::test]
async fn an_object_that_is_being_changed_counts_once() {
    let cluster = Cluster::new();
    cluster.put("resourcequotas", quota(json!({"requests.cpu": "1"}), json!(null))).await;
    cluster.put("pods", pod("a", "200m")).await;
    let plugin = ResourceQuota::new(cluster.live.clone());
    let mut change = create("", "pods", "ns");
    change.operation = Operation::Update;
    change.old = Some(pod("a", "200m"));
    let held = hold(&plugin, &change, &pod("a", "600m")).await.expect("fits");
    let asked = create("", "pods", "ns");
    run(&plugin, &asked, Some(pod("b", "400m"))).await.expect("fits beside it");
    let refused = run(&plugin, &asked, Some(pod("b", "500m"))).await.expect_err("exceeds");
    assert!(refused.message().contains("used: requests.cpu=600m"), "{}", refused.message());
    drop(held);
    run(&plugin, &asked, Some(pod("b", "800m"))).await.expect("the change was not made");
}
