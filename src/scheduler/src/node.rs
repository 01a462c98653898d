//! A node as the scheduler sees it, with what its pods have taken: kept up to date pod by pod.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

use crate::pod::{HostPort, Labels, PodInfo};
use crate::resources::Resources;

/// A node and its pods.
#[derive(Debug, Clone, Default)]
pub struct NodeInfo {
    pub name: String,
    /// `false` while only pods are known and the Node object is not.
    pub known: bool,
    pub labels: Labels,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Resources,
    pub allocatable_pods: i64,
    /// Sizes of the images that are there, by every name they have.
    pub images: HashMap<String, i64>,
    pub used: Resources,
    pub assumed_cpu_millis: i64,
    pub assumed_memory_bytes: i64,
    /// By uid.
    pub pods: HashMap<String, Arc<PodInfo>>,
    pub host_ports: Vec<HostPort>,
    /// How many pods each controller has here.
    pub owners: HashMap<Arc<str>, i64>,
}

impl NodeInfo {
    /// Takes over what the Node object says; whether something changed that could let a pod in.
    pub fn set_node(&mut self, node: &Node) -> bool {
        let spec = node.spec.clone().unwrap_or_default();
        let status = node.status.clone().unwrap_or_default();
        let allocatable = Resources::from_list(status.allocatable.as_ref());
        let pods = status.allocatable.as_ref().and_then(|list| list.get("pods"));
        let allocatable_pods = pods
            .and_then(|pods| pods.0.parse::<machinery::quantity::Quantity>().ok())
            .map_or(0, |pods| pods.to_units());
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let taints = spec.taints.unwrap_or_default();
        let unschedulable = spec.unschedulable.unwrap_or(false);
        let changed = !self.known
            || allocatable != self.allocatable
            || allocatable_pods != self.allocatable_pods
            || labels != self.labels
            || unschedulable != self.unschedulable
            || !same_taints(&taints, &self.taints);
        self.known = true;
        self.name = node.metadata.name.clone().unwrap_or_default();
        self.labels = labels;
        self.taints = taints;
        self.unschedulable = unschedulable;
        self.allocatable = allocatable;
        self.allocatable_pods = allocatable_pods;
        self.images = status
            .images
            .into_iter()
            .flatten()
            .flat_map(|image| {
                let size = image.size_bytes.unwrap_or(0);
                image.names.into_iter().flatten().map(move |name| (name, size))
            })
            .collect();
        changed
    }

    pub fn add_pod(&mut self, pod: Arc<PodInfo>) {
        self.used.add(&pod.requests.asked);
        self.assumed_cpu_millis = self.assumed_cpu_millis.saturating_add(pod.requests.assumed_cpu_millis);
        self.assumed_memory_bytes = self.assumed_memory_bytes.saturating_add(pod.requests.assumed_memory_bytes);
        self.host_ports.extend(pod.host_ports.iter().cloned());
        if let Some(owner) = &pod.owner {
            *self.owners.entry(owner.clone()).or_insert(0) += 1;
        }
        self.pods.insert(pod.uid.clone(), pod);
    }

    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(uid)?;
        self.used.subtract(&pod.requests.asked);
        self.assumed_cpu_millis = self.assumed_cpu_millis.saturating_sub(pod.requests.assumed_cpu_millis);
        self.assumed_memory_bytes = self.assumed_memory_bytes.saturating_sub(pod.requests.assumed_memory_bytes);
        for port in &pod.host_ports {
            if let Some(at) = self.host_ports.iter().position(|taken| taken == port) {
                self.host_ports.swap_remove(at);
            }
        }
        if let Some(owner) = &pod.owner
            && let Some(count) = self.owners.get_mut(owner)
        {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(owner);
            }
        }
        Some(pod)
    }
}

fn same_taints(a: &[Taint], b: &[Taint]) -> bool {
    let part = |taint: &Taint| (taint.key.clone(), taint.value.clone(), taint.effect.clone());
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| part(a) == part(b))
}

/// Whether a toleration covers a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    if !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => {
            !key.is_empty() && toleration.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or("")
        }
        _ => false,
    }
}

/// The first taint with one of `effects` that nothing tolerates.
pub fn untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration], effects: &[&str]) -> Option<&'a Taint> {
    taints
        .iter()
        .filter(|taint| effects.contains(&taint.effect.as_str()))
        .find(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}
