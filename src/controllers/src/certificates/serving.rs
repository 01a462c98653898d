//! Under which names and addresses a node may serve: pure.
//!
//! A node writes its own status, so that being listed there alone proves nothing: an agent that was taken over could
//! list the API server's address and act as it towards everyone who trusts the cluster's authority. What is known
//! without the node is held against it: what the API server is called, the cluster's own networks, and what other
//! nodes list. The address that a request came from is not known here.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, NodeAddress};
use kube::ResourceExt;
use pki::San;

/// Administrators mark the nodes that share a host with the API server; no agent may set it (NodeRestriction).
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// What is the cluster's own and no node's.
#[derive(Debug, Clone, Default)]
pub struct Reserved {
    /// The names and addresses of the API server, those of its hosts among them.
    pub server: Vec<San>,
    /// Addresses of services and pods.
    pub networks: Vec<IpNet>,
    /// `cluster.local`
    pub domain: String,
}

/// The addresses in a node's status.
pub fn addresses(node: &Node) -> &[NodeAddress] {
    node.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default()
}

/// Whether an administrator says that the node shares a host with the API server.
pub fn is_control_plane(node: &Node) -> bool {
    node.metadata.labels.iter().flatten().any(|(label, _)| label == CONTROL_PLANE)
}

fn listed_ips(node: &Node) -> impl Iterator<Item = IpAddr> {
    addresses(node).iter().filter_map(|address| address.address.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical())
}

fn listed_names(node: &Node) -> impl Iterator<Item = String> {
    let named = addresses(node).iter().filter(|address| address.type_ == "Hostname" || address.type_.ends_with("DNS"));
    named.map(|address| address.address.to_ascii_lowercase())
}

/// Why the node may not serve under one of the names and addresses; empty where it may.
pub fn problem(
    node: &Node,
    nodes: &[Arc<Node>],
    reserved: &Reserved,
    names: &[String],
    ips: &[IpAddr],
) -> Option<String> {
    let others: Vec<&Node> =
        nodes.iter().map(Arc::as_ref).filter(|other| other.name_any() != node.name_any()).collect();
    let names = names.iter().map(|name| name.to_ascii_lowercase());
    let mut problems = names.filter_map(|name| {
        let why = name_problem(&name, node, &others, reserved)?;
        Some(format!("the name {name} {why}"))
    });
    let ip_problem = || {
        let mut problems = ips.iter().map(IpAddr::to_canonical).filter_map(|ip| {
            let why = ip_problem(ip, node, &others, reserved)?;
            Some(format!("the address {ip} {why}"))
        });
        problems.next()
    };
    problems.next().or_else(ip_problem)
}

fn name_problem(name: &str, node: &Node, others: &[&Node], reserved: &Reserved) -> Option<String> {
    let own = node.name_any().to_ascii_lowercase();
    let first = |name: &str| name.split('.').next().unwrap_or_default().to_string();
    let below = |parent: &str| name == parent || name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    let in_domain = |part: &str| below(part) || below(&format!("{part}.{}", reserved.domain));
    let cluster = below("localhost") || in_domain("svc") || in_domain("pod") || first(name) == "kubernetes";
    // A host of the API server may be called as it likes: it serves under all of these already.
    let trusted = is_control_plane(node) && name == own;
    let server = reserved.server.contains(&San::Dns(name.to_string()));
    let other = others
        .iter()
        .find(|other| other.name_any().eq_ignore_ascii_case(name) || listed_names(other).any(|listed| listed == name));
    match () {
        () if cluster && !trusted => Some("is the cluster's own".to_string()),
        () if server && !is_control_plane(node) => Some("is the API server's".to_string()),
        () if first(name) != first(&own) => Some(format!("is neither {own} nor {} in a domain", first(&own))),
        () if !listed_names(node).any(|listed| listed == name) => Some("is not in the node's status".to_string()),
        () => other.map(|other| format!("is also node {}'s", other.name_any())),
    }
}

fn ip_problem(ip: IpAddr, node: &Node, others: &[&Node], reserved: &Reserved) -> Option<String> {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let everywhere = link_local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
    let server = reserved.server.iter().any(|san| matches!(san, San::Ip(own) if own.to_canonical() == ip));
    match () {
        () if everywhere => Some("is no single host's".to_string()),
        () if reserved.networks.iter().any(|network| network.contains(&ip)) => {
            Some("is in the network of services or pods".to_string())
        }
        () if server && !is_control_plane(node) => Some("is the API server's".to_string()),
        () if !listed_ips(node).any(|listed| listed == ip) => Some("is not in the node's status".to_string()),
        // Where two nodes claim an address neither is believed: a certificate in force goes on until somebody looks.
        () => {
            let other = others.iter().find(|other| listed_ips(other).any(|listed| listed == ip));
            other.map(|other| format!("is also node {}'s", other.name_any()))
        }
    }
}
