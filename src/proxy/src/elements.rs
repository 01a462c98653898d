//! What one service puts into the maps. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// How long a client stays with an endpoint where the service does not say; the API's default, in seconds.
const STICKY_DEFAULT_S: u32 = 10_800;
/// The longest time the API admits.
const STICKY_MAX_S: u32 = 86_400;

/// A map or set of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Map {
    /// address . protocol . port → the chain for its number of endpoints.
    Services,
    /// protocol . port of a node port → the chain for its number of endpoints.
    NodePorts,
    /// As [`Map::Services`], asked before it for clients outside of the cluster alone.
    OutsideServices,
    /// As [`Map::NodePorts`], asked before it for clients outside of the cluster alone.
    OutsideNodePorts,
    /// address . protocol . port . number → endpoint. The number is a slot, or an endpoint's own where clients stay.
    Endpoints,
    /// protocol . port . number of a node port → endpoint.
    NodePortEndpoints,
    /// address . protocol . port . slot → an endpoint's own number.
    Slots,
    /// protocol . port . slot of a node port → an endpoint's own number.
    NodePortSlots,
    /// address . protocol . port of a service without endpoints → reject or drop.
    Refused,
    /// protocol . port of a node port without endpoints → reject or drop.
    RefusedNodePorts,
    /// address . address of the endpoints on this host.
    Hairpin,
    /// Every address of a service: a port of it that no service has is refused.
    ClusterIps,
}

/// Numbers of slots and endpoints that serve clients outside of the cluster alone begin here, so that they share the
/// maps with the others.
pub const OUTSIDE: u32 = 1 << 31;

/// How the endpoint is chosen and what becomes of the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Chain {
    /// For so many seconds after its last connection a client goes where it went before
    /// (`sessionAffinity: ClientIP`); `None` where each connection goes anywhere.
    pub sticky_s: Option<u32>,
    /// For clients outside of the cluster alone, whose address is kept (`externalTrafficPolicy: Local`).
    pub outside: bool,
    /// For node ports, whose maps have no address in the key.
    pub node_port: bool,
    /// How many endpoints there are.
    pub count: usize,
}

impl Chain {
    /// The name in the table: `sn2`, `pk3`, `sh10800-2`.
    pub fn name(&self) -> String {
        let scope = if self.node_port { "p" } else { "s" };
        let client = if self.outside { "k" } else { "n" };
        let stay = self.sticky_s.map(|seconds| format!("h{seconds}-")).unwrap_or_default();
        format!("{scope}{client}{stay}{}", self.count)
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

impl Target {
    /// A number that the endpoint keeps as long as it lives, never 0: FNV-1a of address and port.
    fn number(&self) -> u32 {
        let bytes = self.address.octets().into_iter().chain(self.port.to_be_bytes());
        let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        (hash & !OUTSIDE).max(1)
    }
}

/// The endpoints of a port by the two policies.
struct Targets {
    /// Those of the whole cluster.
    all: Vec<Target>,
    /// Those of this host.
    near: Vec<Target>,
}

/// An address and port of a service, or a node port.
struct Front {
    node_port: bool,
    key: String,
}

/// The host whose table it is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The name of its Node object.
    pub node: &'a str,
    /// Its zone, where the node has one.
    pub zone: Option<&'a str>,
}

impl<'a> From<&'a str> for Place<'a> {
    fn from(node: &'a str) -> Self {
        Self { node, zone: None }
    }
}

/// What `service` puts into the table of a host, given its slices.
///
/// Headless services and `ExternalName` have no address and put nothing there. IPv6 addresses are left out.
pub fn contribution<'a>(service: &Service, slices: &[Arc<EndpointSlice>], place: impl Into<Place<'a>>) -> Contribution {
    let (place, mut out) = (place.into(), Contribution::default());
    let Some(spec) = &service.spec else { return out };
    if spec.type_.as_deref() == Some("ExternalName") {
        return out;
    }
    let cluster_ips = cluster_ips(service);
    if cluster_ips.is_empty() {
        return out;
    }
    for address in &cluster_ips {
        out.elements.insert((Map::ClusterIps, address.to_string()), String::new());
    }
    let external_ips = external_ips(service);
    let sticky_s = sticky_s(service);
    let internal_local = spec.internal_traffic_policy.as_deref() == Some("Local");
    let external_local = spec.external_traffic_policy.as_deref() == Some("Local");
    for port in spec.ports.iter().flatten() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
        let Ok(number) = u16::try_from(port.port) else { continue };
        let targets = targets(slices, port, place);
        for target in targets.all.iter().chain(&targets.near).filter(|target| target.local) {
            out.elements.insert((Map::Hairpin, format!("{0} . {0}", target.address)), String::new());
        }
        for address in &cluster_ips {
            let front = Front { node_port: false, key: format!("{address} . {protocol} . {number}") };
            if internal_local {
                out.serve_near(&front, &targets, sticky_s);
            } else {
                out.serve(&front, &targets.all, sticky_s);
            }
        }
        let external = external_ips.iter().map(|address| format!("{address} . {protocol} . {number}"));
        let mut fronts: Vec<Front> = external.map(|key| Front { node_port: false, key }).collect();
        if let Some(node_port) = port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
            fronts.push(Front { node_port: true, key: format!("{protocol} . {node_port}") });
        }
        for front in fronts {
            out.serve(&front, &targets.all, sticky_s);
            if external_local {
                out.serve_outside(&front, &targets, sticky_s);
            }
        }
    }
    out
}

impl Contribution {
    /// To these endpoints; refused where there is none.
    fn serve(&mut self, front: &Front, targets: &[Target], sticky_s: Option<u32>) {
        if targets.is_empty() {
            return self.refuse(front, "goto refuse");
        }
        let map = if front.node_port { Map::NodePorts } else { Map::Services };
        self.route(map, front, targets, Chain { sticky_s, outside: false, node_port: front.node_port, count: 0 });
    }

    /// To this host's endpoints. Where all are on other hosts, packets are dropped: a retry may land there.
    fn serve_near(&mut self, front: &Front, targets: &Targets, sticky_s: Option<u32>) {
        if targets.near.is_empty() && !targets.all.is_empty() {
            return self.refuse(front, "drop");
        }
        self.serve(front, &targets.near, sticky_s);
    }

    /// For clients outside of the cluster: to this host's endpoints, the client's address kept. Where all are on
    /// other hosts, packets are dropped so that a load balancer tries one of those; `accept` ends the choice of an
    /// endpoint before the chains that refuse.
    fn serve_outside(&mut self, front: &Front, targets: &Targets, sticky_s: Option<u32>) {
        let map = if front.node_port { Map::OutsideNodePorts } else { Map::OutsideServices };
        if !targets.near.is_empty() {
            let chain = Chain { sticky_s, outside: true, node_port: front.node_port, count: 0 };
            return self.route(map, front, &targets.near, chain);
        }
        if !targets.all.is_empty() {
            self.elements.insert((map, front.key.clone()), "accept".into());
            self.refuse(front, "drop");
        }
    }

    fn refuse(&mut self, front: &Front, verdict: &str) {
        let map = if front.node_port { Map::RefusedNodePorts } else { Map::Refused };
        self.elements.insert((map, front.key.clone()), verdict.to_string());
    }

    fn route(&mut self, map: Map, front: &Front, targets: &[Target], chain: Chain) {
        let chain = Chain { count: targets.len(), ..chain };
        let (endpoints, slots) =
            if front.node_port { (Map::NodePortEndpoints, Map::NodePortSlots) } else { (Map::Endpoints, Map::Slots) };
        self.elements.insert((map, front.key.clone()), format!("goto {}", chain.name()));
        self.chains.insert(chain);
        let base = if chain.outside { OUTSIDE } else { 0 };
        for (slot, target) in (base..).zip(targets) {
            let mut number = slot;
            if chain.sticky_s.is_some() {
                number = base | target.number();
                self.elements.insert((slots, format!("{} . {slot}", front.key)), number.to_string());
            }
            let value = format!("{} . {}", target.address, target.port);
            self.elements.insert((endpoints, format!("{} . {number}", front.key)), value);
        }
    }
}

/// How long clients stay with an endpoint, in seconds; the API keeps it between 1 and 86400.
fn sticky_s(service: &Service) -> Option<u32> {
    let spec = service.spec.as_ref().filter(|spec| spec.session_affinity.as_deref() == Some("ClientIP"))?;
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).and_then(|seconds| u32::try_from(seconds).ok());
    Some(seconds.filter(|seconds| (1..=STICKY_MAX_S).contains(seconds)).unwrap_or(STICKY_DEFAULT_S))
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

/// The endpoints of a port, for the whole cluster and for this host: the ready ones; where there is none, those that
/// still serve while they terminate (KEP-1669).
fn targets(slices: &[Arc<EndpointSlice>], port: &ServicePort, place: Place<'_>) -> Targets {
    let select = |wanted: &dyn Fn(&Endpoint) -> bool| -> Vec<Target> {
        let mut found = BTreeSet::new();
        for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
            let Some(number) = slice_port(slice, port) else { continue };
            for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| wanted(endpoint)) {
                let local = endpoint.node_name.as_deref() == Some(place.node);
                let address = endpoint.addresses.first().and_then(|address| address.parse().ok());
                found.extend(address.map(|address| Target { address, port: number, local }));
            }
        }
        found.into_iter().collect()
    };
    let is_ready = |endpoint: &Endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
    let ready = select(&is_ready);
    let hinted = Hinted::of(slices, place, is_ready);
    let preferred = select(&|endpoint: &Endpoint| is_ready(endpoint) && hinted.admits(endpoint, place));
    let leaving = select(&|endpoint: &Endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.is_some_and(|c| c.serving.unwrap_or(false) && c.terminating.unwrap_or(false))
    });
    let local = |targets: &[Target]| targets.iter().copied().filter(|target| target.local).collect::<Vec<_>>();
    let (near, leaving_near) = (local(&ready), local(&leaving));
    Targets {
        near: if near.is_empty() { leaving_near } else { near },
        all: if ready.is_empty() { leaving } else { preferred },
    }
}

/// Which hints of the endpoints are followed (KEP-4444, KEP-3015).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hinted {
    /// Those for this host.
    Node,
    /// Those for this host's zone.
    Zone,
    /// None.
    No,
}

impl Hinted {
    /// Hints are followed where every ready endpoint has one and one of them is for here; else traffic would pile up
    /// on some endpoints or find none.
    fn of(slices: &[Arc<EndpointSlice>], place: Place<'_>, is_ready: impl Fn(&Endpoint) -> bool) -> Self {
        let endpoints = slices.iter().filter(|slice| slice.address_type == "IPv4");
        let endpoints = endpoints.flat_map(|slice| slice.endpoints.iter().flatten()).filter(|one| is_ready(one));
        let ready: Vec<&Endpoint> = endpoints.collect();
        let usable = |hinted: Self| {
            let some = |endpoint: &&Endpoint| hinted.admits(endpoint, place);
            ready.iter().all(|endpoint| hinted.is_given(endpoint)) && ready.iter().any(some)
        };
        [Self::Node, Self::Zone].into_iter().find(|hinted| usable(*hinted)).unwrap_or(Self::No)
    }

    fn is_given(self, endpoint: &Endpoint) -> bool {
        let hints = endpoint.hints.as_ref();
        match self {
            Self::Node => hints.and_then(|hints| hints.for_nodes.as_ref()).is_some_and(|nodes| !nodes.is_empty()),
            Self::Zone => hints.and_then(|hints| hints.for_zones.as_ref()).is_some_and(|zones| !zones.is_empty()),
            Self::No => true,
        }
    }

    fn admits(self, endpoint: &Endpoint, place: Place<'_>) -> bool {
        let hints = endpoint.hints.as_ref();
        match self {
            Self::Node => {
                let nodes = hints.and_then(|hints| hints.for_nodes.as_ref());
                nodes.into_iter().flatten().any(|node| node.name == place.node)
            }
            Self::Zone => {
                let zones = hints.and_then(|hints| hints.for_zones.as_ref());
                place.zone.is_some_and(|own| zones.into_iter().flatten().any(|zone| zone.name == own))
            }
            Self::No => true,
        }
    }
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
