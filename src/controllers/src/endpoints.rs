//! Which pods stand behind a service: read here once, written as EndpointSlices by `slices` and as the older
//! Endpoints by `legacy`. What is kept by hand is mirrored by `mirror`.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::informer::{Change, Informer};
use client::queue::WorkQueue;
use k8s_openapi::api::core::v1::{ContainerPort, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::common::key::Key;
use crate::common::pods;

pub mod legacy;
pub mod mirror;
pub mod slices;
#[cfg(test)]
mod tests;

/// A port of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    pub name: String,
    pub protocol: String,
    pub port: i32,
    pub app_protocol: Option<String>,
}

/// A pod behind a service.
#[derive(Debug, Clone)]
pub struct Member {
    pub address: String,
    pub hostname: Option<String>,
    pub node: Option<String>,
    pub target: ObjectReference,
    /// Is ready, or the service does not ask.
    pub ready: bool,
    /// Is ready, whether it leaves or not.
    pub serving: bool,
    pub terminating: bool,
}

/// Members by the ports they have; a named port may be another number in each pod.
pub type Groups = BTreeMap<Vec<Port>, Vec<Member>>;

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// The address type of slices.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn has(self, address: &str) -> bool {
        address.contains(':') == (self == Self::V6)
    }
}

/// The families a service has; IPv4 where it names none.
pub fn families(service: &Service) -> Vec<Family> {
    let named = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    let families: Vec<Family> =
        named.into_iter().flatten().map(|family| if family == "IPv6" { Family::V6 } else { Family::V4 }).collect();
    if families.is_empty() { vec![Family::V4] } else { families }
}

/// The selector of a service whose endpoints are ours to find; `None` where its author keeps them.
pub fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"))?;
    spec.selector.as_ref().filter(|selector| !selector.is_empty())
}

/// Whether a service selects a pod's labels.
pub fn selects(selector: &BTreeMap<String, String>, pod: &Pod) -> bool {
    selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value))
}

/// Whether the service has no address of its own.
pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The members among `pods`, which the service selects, with addresses of a family. Pods that leave are among them;
/// pods that have ended or have no address yet are not.
pub fn members(service: &Service, pods: &[Arc<Pod>], family: Family) -> Groups {
    let mut groups = Groups::new();
    let Some(spec) = &service.spec else { return groups };
    let publish = spec.publish_not_ready_addresses.unwrap_or(false);
    for pod in pods.iter().filter(|pod| !pods::is_terminal(pod)) {
        let Some(address) = address(pod, family) else { continue };
        let pod_spec = pod.spec.clone().unwrap_or_default();
        let named = pod_spec.subdomain.as_deref() == service.metadata.name.as_deref();
        let serving = pods::is_ready(pod);
        let terminating = pods::is_terminating(pod);
        let member = Member {
            address,
            hostname: pod_spec.hostname.clone().filter(|hostname| named && !hostname.is_empty()),
            node: pod_spec.node_name.clone(),
            target: ObjectReference {
                kind: Some("Pod".to_string()),
                namespace: pod.namespace(),
                name: Some(pod.name_any()),
                uid: pod.uid(),
                ..ObjectReference::default()
            },
            ready: publish || (serving && !terminating),
            serving,
            terminating,
        };
        let mut ports: Vec<Port> = spec.ports.iter().flatten().filter_map(|port| resolve(port, pod)).collect();
        ports.sort();
        // A pod that has none of the ports by name is no endpoint of a service that has ports.
        if ports.is_empty() && spec.ports.iter().flatten().next().is_some() {
            continue;
        }
        groups.entry(ports).or_default().push(member);
    }
    for members in groups.values_mut() {
        members.sort_by(|a, b| (&a.address, &a.target.name).cmp(&(&b.address, &b.target.name)));
    }
    groups
}

fn address(pod: &Pod, family: Family) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|ip| &ip.ip).chain(&status.pod_ip);
    all.filter(|ip| !ip.is_empty()).find(|ip| family.has(ip)).cloned()
}

fn resolve(port: &ServicePort, pod: &Pod) -> Option<Port> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_string());
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named_port(pod, name, &protocol)?,
    };
    let name = port.name.clone().unwrap_or_default();
    Some(Port { name, protocol, port: number, app_protocol: port.app_protocol.clone() })
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let matches = |port: &&ContainerPort| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    };
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports.filter(matches).map(|port| port.container_port).next()
}

/// Queues the services whose members a pod's change may change.
pub fn pod_changed(change: &Change<Pod>, services: &Informer<Service>, queue: &WorkQueue<Key>) {
    let (old, new) = match change {
        Change::Added(pod) | Change::Deleted(pod) => (None, pod),
        Change::Updated(old, new) => (Some(old), new),
    };
    if old.is_some_and(|old| same(old, new)) {
        return;
    }
    for service in services.list(new.namespace().as_deref()) {
        let Some(selector) = selector(&service) else { continue };
        if selects(selector, new) || old.is_some_and(|old| selects(selector, old)) {
            queue.add(Key::of(&service.metadata));
        }
    }
}

/// Nothing that endpoints show has changed.
fn same(old: &Pod, new: &Pod) -> bool {
    let shown = |pod: &Pod| {
        let ips = pod.status.as_ref().and_then(|status| status.pod_ips.clone());
        let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        (ips, ip, pods::is_ready(pod), pods::is_terminating(pod), pods::is_terminal(pod))
    };
    old.metadata.labels == new.metadata.labels
        && pods::node_name(old) == pods::node_name(new)
        && shown(old) == shown(new)
}
