//! The objects of `metrics.k8s.io/v1beta1`. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::reading::{NodeUsage, Usage};

/// `apiVersion` of everything here.
pub const API_VERSION: &str = "metrics.k8s.io/v1beta1";

/// What is known of a node or pod beside its figures.
#[derive(Debug, Clone, Default)]
pub struct Labels(pub BTreeMap<String, String>);

/// A `NodeMetrics` object.
pub fn node_metrics(name: &str, labels: &Labels, usage: &NodeUsage) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "NodeMetrics",
        "metadata": {"name": name, "labels": labels.0, "creationTimestamp": timestamp(usage)},
        "timestamp": timestamp(usage),
        "window": window(usage),
        "usage": resources(usage.node),
    })
}

/// The `PodMetrics` objects of a node's pods, by namespace and name.
pub fn pod_metrics(
    usage: &NodeUsage,
    labels: impl Fn(&str, &str) -> Option<Labels>,
) -> BTreeMap<(String, String), Value> {
    let mut containers: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for ((namespace, pod, container), used) in &usage.containers {
        let of_pod = containers.entry((namespace.clone(), pod.clone())).or_default();
        of_pod.push(json!({"name": container, "usage": resources(*used)}));
    }
    let object = |((namespace, pod), containers): ((String, String), Vec<Value>)| {
        // A pod that is gone from the API is not shown.
        let labels = labels(&namespace, &pod)?;
        let value = json!({
            "apiVersion": API_VERSION,
            "kind": "PodMetrics",
            "metadata": {"name": pod, "namespace": namespace, "labels": labels.0, "creationTimestamp": timestamp(usage)},
            "timestamp": timestamp(usage),
            "window": window(usage),
            "containers": containers,
        });
        Some(((namespace, pod), value))
    };
    containers.into_iter().filter_map(object).collect()
}

/// A list of objects of a kind.
pub fn list(kind: &str, items: Vec<Value>) -> Value {
    json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {}, "items": items})
}

/// What the group serves, for discovery.
pub fn resource_list() -> Value {
    let resource = |name: &str, singular: &str, kind: &str, namespaced: bool| json!({"name": name, "singularName": singular, "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]});
    json!({
        "apiVersion": "v1",
        "kind": "APIResourceList",
        "groupVersion": API_VERSION,
        "resources": [resource("nodes", "", "NodeMetrics", false), resource("pods", "", "PodMetrics", true)],
    })
}

/// The group, for discovery.
pub fn group() -> Value {
    let version = json!({"groupVersion": API_VERSION, "version": "v1beta1"});
    json!({
        "apiVersion": "v1",
        "kind": "APIGroup",
        "name": "metrics.k8s.io",
        "versions": [version],
        "preferredVersion": version,
    })
}

/// A `Status` that says why a request failed.
pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": message})
}

fn resources(usage: Usage) -> Value {
    json!({"cpu": format!("{}n", usage.cpu_nanocores), "memory": format!("{}Ki", usage.memory_bytes / 1024)})
}

fn timestamp(usage: &NodeUsage) -> String {
    usage.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn window(usage: &NodeUsage) -> String {
    format!("{:.3}s", usage.window.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_pod_lists_its_containers_and_only_while_it_exists() {
        let used = Usage { cpu_nanocores: 1_500_000, memory_bytes: 4096 };
        let key = |pod: &str, container: &str| ("default".to_string(), pod.to_string(), container.to_string());
        let usage = NodeUsage {
            at: jiff::Timestamp::UNIX_EPOCH,
            window: Duration::from_secs(15),
            node: used,
            containers: vec![(key("web", "a"), used), (key("web", "b"), used), (key("gone", "a"), used)],
        };
        let pods = pod_metrics(&usage, |_, pod| (pod == "web").then(Labels::default));
        assert_eq!(pods.len(), 1);
        let web = &pods[&("default".to_string(), "web".to_string())];
        assert_eq!(web["containers"].as_array().unwrap().len(), 2);
        assert_eq!(web["containers"][0]["usage"], json!({"cpu": "1500000n", "memory": "4Ki"}));
        assert_eq!(web["window"], "15.000s");
        assert_eq!(web["timestamp"], "1970-01-01T00:00:00Z");
    }
}
