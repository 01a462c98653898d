//! Which nodes can take a pod, and why the others cannot, in Kubernetes' words.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::cluster::Cluster;
use crate::node::{NodeInfo, untolerated};
use crate::pod::PodInfo;
use crate::resources::Resources;

mod interpod;
pub(crate) mod spread;
#[cfg(test)]
mod tests;

/// Why a node cannot take a pod. Display is the text that users of Kubernetes know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Unschedulable,
    NodeName,
    /// Key and value.
    Taint(String, String),
    NodeAffinity,
    HostPorts,
    TooManyPods,
    /// The resource.
    Insufficient(String),
    SpreadLabel,
    Spread,
    Affinity,
    AntiAffinity,
    ExistingAntiAffinity,
}

impl Reason {
    /// Whether taking pods off the node could help.
    pub fn helped_by_preemption(&self) -> bool {
        matches!(
            self,
            Self::HostPorts
                | Self::TooManyPods
                | Self::Insufficient(_)
                | Self::Spread
                | Self::AntiAffinity
                | Self::ExistingAntiAffinity
        )
    }

    /// Whether a pod that comes to some node could help.
    pub fn helped_by_new_pod(&self) -> bool {
        matches!(self, Self::Spread | Self::Affinity)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unschedulable => f.write_str("node(s) were unschedulable"),
            Self::NodeName => f.write_str("node(s) didn't match the requested node name"),
            Self::Taint(key, value) => write!(f, "node(s) had untolerated taint {{{key}: {value}}}"),
            Self::NodeAffinity => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Self::HostPorts => f.write_str("node(s) didn't have free ports for the requested pod ports"),
            Self::TooManyPods => f.write_str("Too many pods"),
            Self::Insufficient(resource) => write!(f, "Insufficient {resource}"),
            Self::SpreadLabel => {
                f.write_str("node(s) didn't match pod topology spread constraints (missing required label)")
            }
            Self::Spread => f.write_str("node(s) didn't match pod topology spread constraints"),
            Self::Affinity => f.write_str("node(s) didn't match pod affinity rules"),
            Self::AntiAffinity => f.write_str("node(s) didn't match pod anti-affinity rules"),
            Self::ExistingAntiAffinity => f.write_str("node(s) didn't satisfy existing pods anti-affinity rules"),
        }
    }
}

/// What is computed once for a pod before nodes are looked at.
#[derive(Debug, Default)]
pub struct Prepared {
    interpod: interpod::Counts,
    spread: Vec<spread::Domains>,
    /// Room that pods of the same or a higher priority were promised, by node.
    promised: BTreeMap<String, (Resources, i64)>,
}

/// Counts what the pod's terms, and other pods' terms about it, refer to. Pods in `without` are taken as gone.
pub fn prepare(pod: &PodInfo, cluster: &Cluster, without: &HashSet<String>) -> Prepared {
    let mut promised: BTreeMap<String, (Resources, i64)> = BTreeMap::new();
    for (uid, (node, other)) in &cluster.nominated {
        if *uid != pod.uid && other.priority >= pod.priority {
            let (resources, pods) = promised.entry(node.clone()).or_default();
            resources.add(&other.requests.asked);
            *pods += 1;
        }
    }
    Prepared {
        interpod: interpod::Counts::new(pod, cluster, without),
        spread: spread::domains(pod, cluster, without),
        promised,
    }
}

/// Why the node cannot take the pod; empty where it can.
pub fn check(pod: &PodInfo, node: &NodeInfo, cluster: &Cluster, prepared: &Prepared) -> Vec<Reason> {
    if let Some(reason) = refuses(pod, node) {
        return vec![reason];
    }
    let conflict = |port| node.host_ports.iter().any(|taken| taken.conflicts(port));
    if pod.host_ports.iter().any(conflict) {
        return vec![Reason::HostPorts];
    }
    let missing = lacks(pod, node, prepared.promised.get(&node.name));
    if !missing.is_empty() {
        return missing;
    }
    if let Some(reason) = spread::check(pod, node, &prepared.spread) {
        return vec![reason];
    }
    prepared.interpod.check(pod, node, cluster).into_iter().collect()
}

/// Why the node itself will not have the pod, whatever else is on it.
pub fn refuses(pod: &PodInfo, node: &NodeInfo) -> Option<Reason> {
    if node.unschedulable {
        let taint = k8s_openapi::api::core::v1::Taint {
            key: "node.kubernetes.io/unschedulable".to_string(),
            effect: "NoSchedule".to_string(),
            ..Default::default()
        };
        if untolerated(&[taint], &pod.tolerations, &["NoSchedule"]).is_some() {
            return Some(Reason::Unschedulable);
        }
    }
    if !pod.assigned_to.is_empty() && pod.assigned_to != node.name {
        return Some(Reason::NodeName);
    }
    if let Some(taint) = untolerated(&node.taints, &pod.tolerations, &["NoSchedule", "NoExecute"]) {
        return Some(Reason::Taint(taint.key.clone(), taint.value.clone().unwrap_or_default()));
    }
    (!matches_node(pod, node)).then_some(Reason::NodeAffinity)
}

/// Whether the pod's node selector and required node affinity admit the node.
pub fn matches_node(pod: &PodInfo, node: &NodeInfo) -> bool {
    pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        && pod.required_node.as_ref().is_none_or(|terms| terms.iter().any(|t| t.matches(&node.name, &node.labels)))
}

fn lacks(pod: &PodInfo, node: &NodeInfo, promised: Option<&(Resources, i64)>) -> Vec<Reason> {
    let none = (Resources::default(), 0);
    let (promised, promised_pods) = promised.unwrap_or(&none);
    let mut reasons = Vec::new();
    let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
    if pods + promised_pods + 1 > node.allocatable_pods {
        reasons.push(Reason::TooManyPods);
    }
    let (asked, used, has) = (&pod.requests.asked, &node.used, &node.allocatable);
    let mut room = |name: &str, asked: i64, used: i64, promised: i64, has: i64| {
        // A pod that asks for nothing fits on a node that has given out too much.
        if asked > 0 && asked > has.saturating_sub(used).saturating_sub(promised) {
            reasons.push(Reason::Insufficient(name.to_string()));
        }
    };
    room("cpu", asked.cpu_millis, used.cpu_millis, promised.cpu_millis, has.cpu_millis);
    room("memory", asked.memory_bytes, used.memory_bytes, promised.memory_bytes, has.memory_bytes);
    room(
        "ephemeral-storage",
        asked.ephemeral_bytes,
        used.ephemeral_bytes,
        promised.ephemeral_bytes,
        has.ephemeral_bytes,
    );
    for (name, asked) in &asked.others {
        let of = |resources: &Resources| resources.others.get(name).copied().unwrap_or(0);
        room(name, *asked, of(used), of(promised), of(has));
    }
    reasons
}
