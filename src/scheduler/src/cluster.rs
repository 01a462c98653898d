//! All nodes and the pods on them: what is bound, and what is assumed to be until the API confirms it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::budget::Budget;
use crate::node::NodeInfo;
use crate::pod::{Labels, PodInfo};

/// The state that decisions are made from. Changed by events, one pod or node at a time.
#[derive(Debug, Default, Clone)]
pub struct Cluster {
    /// By name.
    pub nodes: BTreeMap<String, NodeInfo>,
    /// Labels of each namespace.
    pub namespaces: HashMap<String, Labels>,
    /// The node of each pod, by the pod's uid.
    places: HashMap<String, String>,
    /// Pods with required anti-affinity, by uid: they refuse newcomers.
    pub repelling: HashMap<String, Arc<PodInfo>>,
    /// Pods with preferences about other pods or required affinity, by uid: they attract or repel in scores.
    pub attracting: HashMap<String, Arc<PodInfo>>,
    /// By namespace and name.
    pub budgets: BTreeMap<(String, String), Budget>,
    /// Pods that wait for victims to leave a node, by uid: their room is kept from pods of lower priority.
    pub nominated: HashMap<String, (String, Arc<PodInfo>)>,
}

impl Cluster {
    /// Takes in a Node; whether something changed that could let a pod in.
    pub fn set_node(&mut self, node: &Node) -> bool {
        let name = node.metadata.name.clone().unwrap_or_default();
        self.nodes.entry(name).or_default().set_node(node)
    }

    /// Forgets a Node; its pods are kept until they are deleted.
    pub fn remove_node(&mut self, name: &str) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.known = false;
        if node.pods.is_empty() {
            self.nodes.remove(name);
        }
    }

    /// Takes in a PodDisruptionBudget.
    pub fn set_budget(&mut self, budget: &PodDisruptionBudget) {
        let metadata = &budget.metadata;
        let key = (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
        self.budgets.insert(key, Budget::new(budget));
    }

    /// Forgets a PodDisruptionBudget.
    pub fn remove_budget(&mut self, namespace: &str, name: &str) {
        self.budgets.remove(&(namespace.to_string(), name.to_string()));
    }

    /// Puts a pod on a node, wherever it was before; the other node that room was kept for it on, if any.
    pub fn place(&mut self, pod: Arc<PodInfo>, node: &str) -> Option<String> {
        let kept = self.nominated.remove(&pod.uid).map(|(kept, _)| kept).filter(|kept| kept != node);
        self.remove_pod(&pod.uid);
        self.places.insert(pod.uid.clone(), node.to_string());
        if !pod.anti_affinity.is_empty() {
            self.repelling.insert(pod.uid.clone(), pod.clone());
        }
        if !pod.preferred_pods.is_empty() || !pod.affinity.is_empty() {
            self.attracting.insert(pod.uid.clone(), pod.clone());
        }
        let info = self.nodes.entry(node.to_string()).or_default();
        if info.name.is_empty() {
            info.name = node.to_string();
        }
        info.add_pod(pod);
        kept
    }

    /// Takes a pod away; the node it was on, or on which room was kept for it.
    pub fn remove_pod(&mut self, uid: &str) -> Option<String> {
        let kept = self.nominated.remove(uid).map(|(kept, _)| kept);
        let Some(name) = self.places.remove(uid) else { return kept };
        self.repelling.remove(uid);
        self.attracting.remove(uid);
        if let Some(node) = self.nodes.get_mut(&name) {
            node.remove_pod(uid);
            if !node.known && node.pods.is_empty() {
                self.nodes.remove(&name);
            }
        }
        Some(name)
    }

    /// The node a pod is on.
    pub fn place_of(&self, uid: &str) -> Option<&str> {
        self.places.get(uid).map(String::as_str)
    }

    /// The nodes whose Node object is there.
    pub fn known_nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|node| node.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{node, pod};
    use serde_json::json;

    #[test]
    fn a_pod_takes_room_once_and_gives_all_of_it_back() {
        let mut cluster = Cluster::default();
        cluster.set_node(&node("n1", "4", "8Gi"));
        cluster.set_node(&node("n2", "4", "8Gi"));
        let spec = json!({"containers": [{"name": "c", "ports": [{"hostPort": 80, "containerPort": 80}],
            "resources": {"requests": {"cpu": "1", "example.com/gpu": "2"}}}]});
        let pod = Arc::new(pod("a", spec));
        cluster.place(pod.clone(), "n1");
        cluster.place(pod.clone(), "n1");
        assert_eq!((cluster.nodes["n1"].used.cpu_millis, cluster.nodes["n1"].pods.len()), (1000, 1));
        cluster.place(pod.clone(), "n2");
        assert_eq!(cluster.remove_pod(&pod.uid).as_deref(), Some("n2"));
        for node in cluster.known_nodes() {
            assert_eq!(node.used, crate::resources::Resources::default());
            assert!(node.host_ports.is_empty() && node.pods.is_empty() && node.owners.is_empty());
        }
    }

    #[test]
    fn pods_of_a_node_that_is_not_known_yet_or_no_more_are_counted() {
        let mut cluster = Cluster::default();
        cluster.place(Arc::new(pod("a", json!({"containers": []}))), "late");
        assert_eq!(cluster.known_nodes().count(), 0);
        assert!(cluster.set_node(&node("late", "1", "1Gi")));
        assert!(!cluster.set_node(&node("late", "1", "1Gi")), "nothing changed");
        assert_eq!(cluster.nodes["late"].pods.len(), 1);
        cluster.remove_node("late");
        assert_eq!(cluster.nodes.len(), 1);
        cluster.remove_pod("uid-a");
        assert!(cluster.nodes.is_empty());
    }
}
