//! Whether this node takes a pod at all: a pure function of the pod, of the node and of the pods that are there.
//!
//! The scheduler has asked the same of the pods that it bound; others name their node themselves. A pod that is not
//! taken fails at once, with the reasons and words that kubelet gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::fields::Allocatable;
use super::identity::is_static;
use super::memory::Verdict;
use super::plan::is_sidecar;
use super::resources::pod_request;
use crate::eviction::pressure::Pressures;

mod affinity;
mod pressure;
mod sysctls;

/// The node as it is seen from the door.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its labels as the API has them.
    pub labels: BTreeMap<String, String>,
    /// What pods may use together.
    pub allocatable: Allocatable,
    /// How many pods it takes.
    pub max_pods: u32,
    /// What it is short of.
    pub pressures: Pressures,
}

/// Why the node does not take a pod; `None` where it does. `others` are the pods there that have not ended.
pub fn refusal(pod: &Pod, place: &Place, others: &[Arc<Pod>]) -> Option<Verdict> {
    let spec = pod.spec.as_ref()?;
    let (reason, message) = sysctls::forbidden(spec)
        .map(|message| ("SysctlForbidden".to_string(), message))
        .or_else(|| unsupported_groups(spec))
        // What lies on the node as a manifest is there because the node's owner wants it.
        .or_else(|| {
            if is_static(pod) {
                return None;
            }
            let pressed = pressure::refusal(pod, &place.pressures);
            pressed.or_else(|| lacking(spec, place, others)).or_else(|| misplaced(spec, place, others))
        })?;
    Some(Verdict::refusal(reason, &message))
}

/// The runtime interface that is spoken here has no word for the policy (KEP-3619).
fn unsupported_groups(spec: &PodSpec) -> Option<(String, String)> {
    let policy = spec.security_context.as_ref()?.supplemental_groups_policy.as_deref()?;
    (policy == "Strict").then(|| {
        let message = "SupplementalGroupsPolicy=Strict is not supported in this node";
        ("SupplementalGroupsPolicyNotSupported".to_string(), message.to_string())
    })
}

fn lacking(spec: &PodSpec, place: &Place, others: &[Arc<Pod>]) -> Option<(String, String)> {
    let text = |resource: &str, requested: i128, used: i128, capacity: i128| {
        let message = format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        (format!("OutOf{resource}"), message)
    };
    let (count, most) = (others.len() as i128, i128::from(place.max_pods));
    if count + 1 > most {
        return Some(text("pods", 1, count, most));
    }
    let allocatable = place.allocatable;
    // Processors are told in thousandths, all else in whole units.
    let table = [
        ("cpu", i128::from(allocatable.milli_cpu), 1),
        ("memory", i128::from(allocatable.memory_bytes), 1000),
        ("ephemeral-storage", i128::from(allocatable.disk_bytes), 1000),
    ];
    table.into_iter().find_map(|(resource, capacity, unit)| {
        let requested = pod_request(spec, resource) / unit;
        if requested <= 0 {
            return None;
        }
        let used: i128 =
            others.iter().filter_map(|pod| pod.spec.as_ref()).map(|spec| pod_request(spec, resource)).sum();
        let used = used / unit;
        (requested > capacity - used).then(|| text(resource, requested, used, capacity))
    })
}

fn misplaced(spec: &PodSpec, place: &Place, others: &[Arc<Pod>]) -> Option<(String, String)> {
    let failed = |predicate: &str, why: &str| (predicate.to_string(), format!("Predicate {predicate} failed: {why}"));
    if !affinity::admits(spec, &place.name, &place.labels) {
        return Some(failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector"));
    }
    let taken: Vec<HostPort<'_>> = others.iter().filter_map(|pod| pod.spec.as_ref()).flat_map(host_ports).collect();
    let conflicts = host_ports(spec).any(|port| taken.iter().any(|other| port.conflicts(other)));
    conflicts.then(|| failed("NodePorts", "node(s) didn't have free ports for the requested pod ports"))
}

struct HostPort<'a> {
    protocol: &'a str,
    ip: &'a str,
    port: i32,
}

impl HostPort<'_> {
    fn conflicts(&self, other: &HostPort<'_>) -> bool {
        let any = |ip: &str| matches!(ip, "" | "0.0.0.0");
        let same_ip = self.ip == other.ip || any(self.ip) || any(other.ip);
        self.port == other.port && self.protocol == other.protocol && same_ip
    }
}

fn host_ports(spec: &PodSpec) -> impl Iterator<Item = HostPort<'_>> {
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports.filter_map(|port| {
        Some(HostPort {
            protocol: port.protocol.as_deref().unwrap_or("TCP"),
            ip: port.host_ip.as_deref().unwrap_or_default(),
            port: port.host_port.filter(|port| *port > 0)?,
        })
    })
}

#[cfg(test)]
mod tests;
