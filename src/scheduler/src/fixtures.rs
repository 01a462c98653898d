//! Nodes and pods for this crate's tests.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::pod::PodInfo;

/// A node with room for 110 pods, and its name as the hostname label.
pub fn node(name: &str, cpu: &str, memory: &str) -> Node {
    node_with(name, cpu, memory, json!({}), json!({}))
}

/// A node with more labels and more in its spec.
pub fn node_with(name: &str, cpu: &str, memory: &str, labels: Value, spec: Value) -> Node {
    let mut all = json!({"kubernetes.io/hostname": name});
    all.as_object_mut().unwrap().extend(labels.as_object().unwrap().clone());
    let value = json!({"metadata": {"name": name, "labels": all}, "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": "110"}}});
    serde_json::from_value(value).unwrap()
}

/// A pod in `default` labelled `app: NAME`; a name such as `web-1` is labelled `app: web`.
pub fn pod(name: &str, spec: Value) -> PodInfo {
    let app = name.split('-').next().unwrap();
    let value = json!({"metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"),
        "labels": {"app": app}}, "spec": spec});
    PodInfo::new(&serde_json::from_value(value).unwrap())
}

/// A pod that asks for CPU.
pub fn cpu_pod(name: &str, cpu: &str, more: Value) -> PodInfo {
    let mut spec = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    pod(name, spec)
}

/// A cluster of these nodes.
pub fn cluster(nodes: &[Node]) -> Cluster {
    let mut cluster = Cluster::default();
    for node in nodes {
        cluster.set_node(node);
    }
    cluster
}

/// Puts a pod on a node.
pub fn place(cluster: &mut Cluster, pod: PodInfo, node: &str) {
    cluster.place(Arc::new(pod), node);
}
