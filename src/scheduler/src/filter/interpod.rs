//! Required affinity and anti-affinity between pods.

use std::collections::{HashMap, HashSet};

use super::Reason;
use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::pod::terms::PodTerm;

/// How many pods count in each topology: by the value of the term's label.
type ByValue = HashMap<String, i64>;

#[derive(Debug, Default)]
pub struct Counts {
    /// One for each affinity term: pods that match every affinity term.
    affinity: Vec<ByValue>,
    /// One for each anti-affinity term: pods that match it.
    anti: Vec<ByValue>,
    /// Topologies that pods already there keep this one out of, by label key.
    refused: HashMap<String, HashSet<String>>,
}

impl Counts {
    pub fn new(pod: &PodInfo, cluster: &Cluster, without: &HashSet<String>) -> Self {
        let mut counts = Self {
            affinity: vec![ByValue::new(); pod.affinity.len()],
            anti: vec![ByValue::new(); pod.anti_affinity.len()],
            refused: HashMap::new(),
        };
        for (uid, other) in cluster.repelling.iter().filter(|(uid, _)| !without.contains(*uid)) {
            let Some(node) = cluster.place_of(uid).and_then(|name| cluster.nodes.get(name)) else { continue };
            for term in other.anti_affinity.iter().filter(|term| term.matches(pod, &cluster.namespaces)) {
                if let Some(value) = node.labels.get(&term.topology_key) {
                    counts.refused.entry(term.topology_key.clone()).or_default().insert(value.clone());
                }
            }
        }
        if pod.affinity.is_empty() && pod.anti_affinity.is_empty() {
            return counts;
        }
        for node in cluster.known_nodes() {
            for other in node.pods.values().filter(|other| !without.contains(&other.uid)) {
                if matches_all(&pod.affinity, other, cluster) {
                    for (term, by_value) in pod.affinity.iter().zip(&mut counts.affinity) {
                        count(by_value, node, &term.topology_key);
                    }
                }
                for (term, by_value) in pod.anti_affinity.iter().zip(&mut counts.anti) {
                    if term.matches(other, &cluster.namespaces) {
                        count(by_value, node, &term.topology_key);
                    }
                }
            }
        }
        counts
    }

    pub fn check(&self, pod: &PodInfo, node: &NodeInfo, cluster: &Cluster) -> Option<Reason> {
        if !self.affinity_holds(pod, node, cluster) {
            return Some(Reason::Affinity);
        }
        let here = |term: &PodTerm, by_value: &ByValue| {
            node.labels.get(&term.topology_key).is_some_and(|value| by_value.get(value).is_some_and(|count| *count > 0))
        };
        if pod.anti_affinity.iter().zip(&self.anti).any(|(term, by_value)| here(term, by_value)) {
            return Some(Reason::AntiAffinity);
        }
        let refused = self.refused.iter().any(|(key, values)| node.labels.get(key).is_some_and(|v| values.contains(v)));
        refused.then_some(Reason::ExistingAntiAffinity)
    }

    fn affinity_holds(&self, pod: &PodInfo, node: &NodeInfo, cluster: &Cluster) -> bool {
        let mut everywhere_met = true;
        for (term, by_value) in pod.affinity.iter().zip(&self.affinity) {
            let Some(value) = node.labels.get(&term.topology_key) else { return false };
            everywhere_met &= by_value.get(value).is_some_and(|count| *count > 0);
        }
        // The first of a group that wants to be together has nobody to join but itself.
        everywhere_met || (self.affinity.iter().all(HashMap::is_empty) && matches_all(&pod.affinity, pod, cluster))
    }
}

fn matches_all(terms: &[PodTerm], pod: &PodInfo, cluster: &Cluster) -> bool {
    !terms.is_empty() && terms.iter().all(|term| term.matches(pod, &cluster.namespaces))
}

fn count(by_value: &mut ByValue, node: &NodeInfo, key: &str) {
    if let Some(value) = node.labels.get(key) {
        *by_value.entry(value.clone()).or_insert(0) += 1;
    }
}
