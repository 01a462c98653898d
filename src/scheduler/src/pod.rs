//! A pod as the scheduler sees it: everything that decisions need, read once when the pod comes into view.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};

use crate::resources::{Requests, pod_requests};

pub mod terms;

use terms::{NodeTerm, PodTerm, Spread};

/// Labels as metadata has them.
pub type Labels = BTreeMap<String, String>;

/// A port on the node that a container asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Empty or `0.0.0.0` is every address.
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || any(&self.ip) || any(&other.ip))
    }
}

/// A pod.
#[derive(Debug, Default)]
pub struct PodInfo {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    /// `spec.nodeName`; empty where it is not assigned.
    pub assigned_to: String,
    /// `status.nominatedNodeName`.
    pub nominated_to: String,
    pub labels: Labels,
    pub priority: i32,
    /// `preemptionPolicy` is not `Never`.
    pub preempts: bool,
    pub created: Option<Timestamp>,
    pub started: Option<Timestamp>,
    pub terminating: bool,
    pub requests: Requests,
    pub host_ports: Vec<HostPort>,
    pub node_selector: Labels,
    /// Terms of which one must match; `None` where there is no such affinity.
    pub required_node: Option<Vec<NodeTerm>>,
    pub preferred_nodes: Vec<(i32, NodeTerm)>,
    pub tolerations: Vec<Toleration>,
    pub affinity: Vec<PodTerm>,
    pub anti_affinity: Vec<PodTerm>,
    /// Negative weights repel.
    pub preferred_pods: Vec<(i32, PodTerm)>,
    pub spread: Vec<Spread>,
    /// The uid of the controller, for spreading pods that ask for nothing.
    pub owner: Option<Arc<str>>,
    pub images: Vec<String>,
    /// Uses a volume claim.
    pub has_claims: bool,
}

impl PodInfo {
    /// Reads a pod.
    pub fn new(pod: &Pod) -> Self {
        let metadata = &pod.metadata;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let base = Self {
            uid: text(&metadata.uid),
            namespace: text(&metadata.namespace),
            name: text(&metadata.name),
            labels: metadata.labels.clone().unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            terminating: metadata.deletion_timestamp.is_some(),
            nominated_to: pod.status.as_ref().map(|status| text(&status.nominated_node_name)).unwrap_or_default(),
            started: pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            owner: metadata
                .owner_references
                .iter()
                .flatten()
                .find(|owner| owner.controller == Some(true))
                .map(|owner| Arc::from(owner.uid.as_str())),
            ..Self::default()
        };
        match &pod.spec {
            Some(spec) => base.with_spec(spec),
            None => base,
        }
    }

    fn with_spec(self, spec: &PodSpec) -> Self {
        let affinity = spec.affinity.clone().unwrap_or_default();
        let node = affinity.node_affinity.unwrap_or_default();
        let pods = affinity.pod_affinity.unwrap_or_default();
        let anti = affinity.pod_anti_affinity.unwrap_or_default();
        let required = |terms: &Option<Vec<_>>| {
            terms.iter().flatten().map(|term| PodTerm::new(term, &self.namespace, &self.labels)).collect()
        };
        let mut preferred_pods = Vec::new();
        for (sign, terms) in [
            (1, &pods.preferred_during_scheduling_ignored_during_execution),
            (-1, &anti.preferred_during_scheduling_ignored_during_execution),
        ] {
            preferred_pods.extend(terms.iter().flatten().map(|weighted| {
                let term = PodTerm::new(&weighted.pod_affinity_term, &self.namespace, &self.labels);
                (sign * weighted.weight, term)
            }));
        }
        let volumes = spec.volumes.iter().flatten();
        Self {
            assigned_to: spec.node_name.clone().unwrap_or_default(),
            priority: spec.priority.unwrap_or(0),
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            requests: pod_requests(spec),
            host_ports: host_ports(spec),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            required_node: node
                .required_during_scheduling_ignored_during_execution
                .map(|selector| selector.node_selector_terms.iter().map(NodeTerm::new).collect()),
            preferred_nodes: node
                .preferred_during_scheduling_ignored_during_execution
                .iter()
                .flatten()
                .map(|term| (term.weight, NodeTerm::new(&term.preference)))
                .collect(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            affinity: required(&pods.required_during_scheduling_ignored_during_execution),
            anti_affinity: required(&anti.required_during_scheduling_ignored_during_execution),
            preferred_pods,
            spread: spec
                .topology_spread_constraints
                .iter()
                .flatten()
                .map(|constraint| Spread::new(constraint, &self.labels))
                .collect(),
            images: spec.containers.iter().filter_map(|container| container.image.clone()).collect(),
            has_claims: { volumes }.any(|v| v.persistent_volume_claim.is_some() || v.ephemeral.is_some()),
            ..self
        }
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether other pods' places matter to this one, or its place to others beyond the room it takes.
    pub fn looks_at_pods(&self) -> bool {
        !self.affinity.is_empty() || !self.anti_affinity.is_empty() || !self.spread.is_empty()
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars =
        spec.init_containers.iter().flatten().filter(|init| init.restart_policy.as_deref() == Some("Always"));
    let ports: BTreeSet<HostPort> = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.filter(|port| *port > 0)?;
            Some(HostPort {
                ip: port.host_ip.clone().unwrap_or_default(),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_string()),
                port: number,
            })
        })
        .collect();
    ports.into_iter().collect()
}
