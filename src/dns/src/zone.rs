//! What a name of the cluster's domain means. Pure: reads a [`View`] of the cluster and answers records.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// What is asked of the cluster to answer a question.
pub trait View {
    /// The service of that namespace and name.
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>>;
    /// The slices of a service.
    fn slices(&self, namespace: &str, name: &str) -> Vec<Arc<EndpointSlice>>;
    /// Whether the namespace has services.
    fn has_namespace(&self, namespace: &str) -> bool;
    /// The service that has this cluster address.
    fn service_at(&self, address: IpAddr) -> Option<Arc<Service>>;
    /// The slices that have this endpoint address.
    fn slices_at(&self, address: IpAddr) -> Vec<Arc<EndpointSlice>>;
}

/// What a name has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An address.
    Address(IpAddr),
    /// A port at a target, relative to the zone; the share of the traffic it should get.
    Port {
        /// The port number.
        port: u16,
        /// Out of 100, shared by the targets of a name.
        weight: u16,
        /// `web.default.svc`, without the zone.
        target: String,
        /// What the target's address is.
        address: IpAddr,
    },
    /// Another name, complete.
    Alias(String),
    /// A name relative to the zone, for a reverse question.
    Pointer(String),
    /// Text.
    Text(String),
}

/// The answer to a question about a name: `None` where the name does not exist; an empty list where it exists but has
/// nothing of its own.
pub type Answer = Option<Vec<Data>>;

/// The version of the specification, at `dns-version`.
const SPECIFICATION: &str = "1.1.0";

/// Everything a name has. `labels` are the labels in front of the zone, lower case: `["web", "default", "svc"]`.
pub fn resolve(view: &dyn View, labels: &[&str]) -> Answer {
    match labels {
        [] | ["svc"] | ["pod"] => Some(Vec::new()),
        ["dns-version"] => Some(vec![Data::Text(SPECIFICATION.into())]),
        [namespace, "svc" | "pod"] => view.has_namespace(namespace).then(Vec::new),
        [name, namespace, "svc"] => service_records(view, namespace, name),
        [protocol @ ("_tcp" | "_udp" | "_sctp"), name, namespace, "svc"] => {
            let prefix = format!("{protocol}.");
            let service = view.service(namespace, name)?;
            let exists = ports_of(view, &service, namespace, name, None, &prefix[1..prefix.len() - 1]);
            (!exists.is_empty()).then(Vec::new)
        }
        [hostname, name, namespace, "svc"] => {
            let service = view.service(namespace, name).filter(|service| is_headless(service))?;
            let endpoints = endpoints(view, &service, namespace, name);
            let matching = endpoints.into_iter().filter(|found| found.hostname == *hostname);
            let found: Vec<Data> = matching.map(|found| Data::Address(found.address)).collect();
            (!found.is_empty()).then_some(dedup(found))
        }
        [port, protocol, name, namespace, "svc"] => {
            let (port, protocol) = (port.strip_prefix('_')?, protocol.strip_prefix('_')?);
            let service = view.service(namespace, name)?;
            let found = ports_of(view, &service, namespace, name, Some(port), protocol);
            (!found.is_empty()).then_some(found)
        }
        // A namespace is known by its services, and pods are where there are none: whether the namespace is there is
        // asked no more than whether the pod is.
        [dashed, _, "pod"] => Some(vec![Data::Address(dashed_address(dashed)?)]),
        _ => None,
    }
}

/// The name of an address: of a service, or of an endpoint of a headless service with a host name.
pub fn reverse(view: &dyn View, address: IpAddr) -> Answer {
    if let Some(service) = view.service_at(address) {
        let (namespace, name) = names(&service)?;
        return Some(vec![Data::Pointer(format!("{name}.{namespace}.svc"))]);
    }
    let mut found = Vec::new();
    for slice in view.slices_at(address) {
        let Some((namespace, service)) = service_of(&slice) else { continue };
        let headless = view.service(namespace, service).is_some_and(|service| is_headless(&service));
        if !headless {
            continue;
        }
        let with_name = slice.endpoints.iter().flatten().filter(|endpoint| has_address(endpoint, address));
        let hostnames = with_name.filter_map(|endpoint| endpoint.hostname.as_ref());
        found.extend(hostnames.map(|hostname| Data::Pointer(format!("{hostname}.{service}.{namespace}.svc"))));
    }
    (!found.is_empty()).then_some(dedup(found))
}

/// The service that a slice belongs to: namespace and name.
pub fn service_of(slice: &EndpointSlice) -> Option<(&str, &str)> {
    let name = slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?;
    Some((slice.metadata.namespace.as_deref()?, name))
}

fn names(service: &Service) -> Option<(&str, &str)> {
    Some((service.metadata.namespace.as_deref()?, service.metadata.name.as_deref()?))
}

fn service_records(view: &dyn View, namespace: &str, name: &str) -> Answer {
    let service = view.service(namespace, name)?;
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return Some(spec.external_name.iter().map(|target| Data::Alias(target.clone())).collect());
    }
    if is_headless(&service) {
        let endpoints = endpoints(view, &service, namespace, name);
        return Some(dedup(endpoints.into_iter().map(|endpoint| Data::Address(endpoint.address)).collect()));
    }
    Some(cluster_addresses(&service).into_iter().map(Data::Address).collect())
}

/// Whether the service has no address of its own.
pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The addresses of a service itself.
pub fn cluster_addresses(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let all = spec.cluster_ips.clone().or_else(|| spec.cluster_ip.clone().map(|ip| vec![ip])).unwrap_or_default();
    all.iter().filter_map(|ip| ip.parse().ok()).collect()
}

/// An endpoint of a headless service that may be answered.
struct Found {
    address: IpAddr,
    hostname: String,
    ports: Vec<(String, String, u16)>,
}

fn endpoints(view: &dyn View, service: &Service, namespace: &str, name: &str) -> Vec<Found> {
    let all = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
    let mut found = Vec::new();
    for slice in view.slices(namespace, name) {
        let ports: Vec<_> = slice
            .ports
            .iter()
            .flatten()
            .filter_map(|port| {
                let number = u16::try_from(port.port?).ok()?;
                let protocol = port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
                Some((port.name.clone().unwrap_or_default(), protocol, number))
            })
            .collect();
        for endpoint in slice.endpoints.iter().flatten() {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
            if !ready && !all {
                continue;
            }
            for address in endpoint.addresses.iter().filter_map(|address| address.parse().ok()) {
                let hostname = endpoint.hostname.clone().unwrap_or_else(|| dashed(address));
                found.push(Found { address, hostname, ports: ports.clone() });
            }
        }
    }
    found
}

/// The ports of a service by name and protocol; all names where `port` is `None`.
fn ports_of(
    view: &dyn View,
    service: &Service,
    namespace: &str,
    name: &str,
    port: Option<&str>,
    protocol: &str,
) -> Vec<Data> {
    let wanted = |candidate: &str, of: &str| port.is_none_or(|port| port == candidate) && of == protocol;
    if is_headless(service) {
        let all = endpoints(view, service, namespace, name);
        let mut found = Vec::new();
        for endpoint in &all {
            let target = format!("{}.{name}.{namespace}.svc", endpoint.hostname);
            let ports = endpoint.ports.iter().filter(|(candidate, of, _)| wanted(candidate, of));
            found.extend(ports.map(|(_, _, number)| (*number, target.clone(), endpoint.address)));
        }
        let weight = weight(found.len());
        let data = |(port, target, address)| Data::Port { port, weight, target, address };
        return found.into_iter().map(data).collect();
    }
    let target = format!("{name}.{namespace}.svc");
    let addresses = cluster_addresses(service);
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).filter(|candidate| {
        let of = candidate.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
        wanted(candidate.name.as_deref().unwrap_or_default(), &of)
    });
    let numbers: Vec<u16> = ports.filter_map(|port| u16::try_from(port.port).ok()).collect();
    let weight = weight(numbers.len() * addresses.len());
    let pairs = numbers.iter().flat_map(|port| addresses.iter().map(move |address| (*port, *address)));
    pairs.map(|(port, address)| Data::Port { port, weight, target: target.clone(), address }).collect()
}

/// SRV weights of one name add up to 100 where they can.
fn weight(count: usize) -> u16 {
    u16::try_from(100 / count.max(1)).unwrap_or(1).max(1)
}

fn has_address(endpoint: &Endpoint, address: IpAddr) -> bool {
    endpoint.addresses.iter().any(|found| found.parse() == Ok(address))
}

fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

fn dashed_address(dashed: &str) -> Option<IpAddr> {
    let v4: Result<Ipv4Addr, _> = dashed.replace('-', ".").parse();
    v4.map(IpAddr::V4).ok().or_else(|| dashed.replace('-', ":").parse().map(IpAddr::V6).ok())
}

fn dedup(mut data: Vec<Data>) -> Vec<Data> {
    let mut seen = Vec::new();
    data.retain(|item| {
        let new = !seen.contains(item);
        if new {
            seen.push(item.clone());
        }
        new
    });
    data
}

#[cfg(test)]
mod tests;
