//! What one service puts into the maps. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// A map or set of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Map {
    /// address . protocol . port → the chain for its number of endpoints.
    Services,
    /// protocol . port of a node port → the chain for its number of endpoints.
    NodePorts,
    /// address . protocol . port . slot → endpoint.
    Endpoints,
    /// protocol . port . slot of a node port → endpoint.
    NodePortEndpoints,
    /// address . protocol . port of a service without endpoints → reject or drop.
    Refused,
    /// protocol . port of a node port without endpoints → reject or drop.
    RefusedNodePorts,
    /// address . address of the endpoints on this host.
    Hairpin,
}

/// How the endpoint is chosen and what becomes of the client's address: the name of a chain is `{prefix}{count}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Chain {
    /// By the client's address (`sessionAffinity: ClientIP`) instead of at random.
    pub sticky: bool,
    /// The client's address is kept (`externalTrafficPolicy: Local`).
    pub keeps_client: bool,
    /// For node ports, whose maps have no address in the key.
    pub node_port: bool,
    /// How many endpoints there are.
    pub count: usize,
}

impl Chain {
    /// The name in the table.
    pub fn name(&self) -> String {
        let scope = if self.node_port { "p" } else { "s" };
        let choice = if self.sticky { "h" } else { "n" };
        let client = if self.keeps_client { "k" } else { "" };
        format!("{scope}{choice}{client}{}", self.count)
    }
}

/// Everything a service puts into the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contribution {
    /// Elements by map and key; sets have an empty value.
    pub elements: BTreeMap<(Map, String), String>,
    /// The chains that the elements go to.
    pub chains: BTreeSet<Chain>,
}

/// Where a port of a service is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    address: Ipv4Addr,
    port: u16,
    local: bool,
}

/// What `service` puts into the table of the host `node_name`, given its slices.
///
/// Headless services and `ExternalName` have no address and put nothing there. IPv6 addresses are left out.
pub fn contribution(service: &Service, slices: &[Arc<EndpointSlice>], node_name: &str) -> Contribution {
    let mut out = Contribution::default();
    let Some(spec) = &service.spec else { return out };
    if spec.type_.as_deref() == Some("ExternalName") {
        return out;
    }
    let cluster_ips = cluster_ips(service);
    if cluster_ips.is_empty() {
        return out;
    }
    let external_ips = external_ips(service);
    let sticky = spec.session_affinity.as_deref() == Some("ClientIP");
    let internal_local = spec.internal_traffic_policy.as_deref() == Some("Local");
    let external_local = spec.external_traffic_policy.as_deref() == Some("Local");
    for port in spec.ports.iter().flatten() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
        let Ok(number) = u16::try_from(port.port) else { continue };
        let targets = targets(slices, port, node_name);
        let near: Vec<Target> = targets.iter().copied().filter(|target| target.local).collect();
        for target in &near {
            out.elements.insert((Map::Hairpin, format!("{0} . {0}", target.address)), String::new());
        }
        for address in &cluster_ips {
            let chosen = if internal_local { &near } else { &targets };
            let key = format!("{address} . {protocol} . {number}");
            out.serve(Map::Services, &key, chosen, sticky, false, internal_local && !targets.is_empty());
        }
        for address in &external_ips {
            let chosen = if external_local { &near } else { &targets };
            let key = format!("{address} . {protocol} . {number}");
            out.serve(Map::Services, &key, chosen, sticky, external_local, external_local && !targets.is_empty());
        }
        if let Some(node_port) = port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
            let chosen = if external_local { &near } else { &targets };
            let key = format!("{protocol} . {node_port}");
            out.serve(Map::NodePorts, &key, chosen, sticky, external_local, external_local && !targets.is_empty());
        }
    }
    out
}

impl Contribution {
    /// Puts one address and port in: to its endpoints, or refused. `elsewhere`: endpoints exist, on other hosts, and
    /// the policy forbids going there; such packets are dropped so that a load balancer tries another host.
    fn serve(&mut self, map: Map, key: &str, targets: &[Target], sticky: bool, keeps_client: bool, elsewhere: bool) {
        let node_port = map == Map::NodePorts;
        if targets.is_empty() {
            let refused = if node_port { Map::RefusedNodePorts } else { Map::Refused };
            let verdict = if elsewhere { "drop" } else { "goto refuse" };
            self.elements.insert((refused, key.to_string()), verdict.to_string());
            return;
        }
        let chain = Chain { sticky, keeps_client, node_port, count: targets.len() };
        self.elements.insert((map, key.to_string()), format!("goto {}", chain.name()));
        self.chains.insert(chain);
        let endpoints = if node_port { Map::NodePortEndpoints } else { Map::Endpoints };
        for (slot, target) in targets.iter().enumerate() {
            let value = format!("{} . {}", target.address, target.port);
            self.elements.insert((endpoints, format!("{key} . {slot}")), value);
        }
    }
}

fn cluster_ips(service: &Service) -> Vec<Ipv4Addr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let all = spec.cluster_ips.clone().or_else(|| spec.cluster_ip.clone().map(|ip| vec![ip])).unwrap_or_default();
    all.iter().filter_map(|ip| ip.parse().ok()).collect()
}

fn external_ips(service: &Service) -> BTreeSet<Ipv4Addr> {
    let spec = service.spec.iter().flat_map(|spec| spec.external_ips.iter().flatten().cloned());
    let status = service.status.iter().filter_map(|status| status.load_balancer.as_ref());
    let ingress = status.flat_map(|balancer| balancer.ingress.iter().flatten());
    let through_us = ingress.filter(|entry| entry.ip_mode.as_deref() != Some("Proxy"));
    spec.chain(through_us.filter_map(|entry| entry.ip.clone())).filter_map(|ip| ip.parse().ok()).collect()
}

/// The endpoints of a port: the ready ones; where there is none, those that still serve while they terminate
/// (KEP-1669).
fn targets(slices: &[Arc<EndpointSlice>], port: &ServicePort, node_name: &str) -> Vec<Target> {
    let select = |wanted: fn(&Endpoint) -> bool| -> Vec<Target> {
        let mut found = BTreeSet::new();
        for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
            let Some(number) = slice_port(slice, port) else { continue };
            for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| wanted(endpoint)) {
                let local = endpoint.node_name.as_deref() == Some(node_name);
                let address = endpoint.addresses.first().and_then(|address| address.parse().ok());
                found.extend(address.map(|address| Target { address, port: number, local }));
            }
        }
        found.into_iter().collect()
    };
    let ready = select(|endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true));
    if !ready.is_empty() {
        return ready;
    }
    select(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.is_some_and(|c| c.serving.unwrap_or(false) && c.terminating.unwrap_or(false))
    })
}

fn slice_port(slice: &EndpointSlice, port: &ServicePort) -> Option<u16> {
    let name = port.name.as_deref().unwrap_or_default();
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let found = slice.ports.iter().flatten().find(|candidate| {
        candidate.name.as_deref().unwrap_or_default() == name
            && candidate.protocol.as_deref().unwrap_or("TCP") == protocol
    })?;
    u16::try_from(found.port?).ok()
}

#[cfg(test)]
mod tests;
