//! What a server is told before it starts. Plain data; the files are read by [`crate::Server::new`].

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The configuration of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The serving certificate; read again when the files change.
    pub serving: KeyPair,
    /// The cluster CA: client certificates and agents' serving certificates chain to it. Read again when it changes.
    pub client_ca: PathBuf,
    /// The CA of front proxies; `None` trusts none.
    pub front_proxy_ca: Option<PathBuf>,
    /// Where other hosts and pods reach this server; the endpoint of the `kubernetes` service.
    pub advertise_address: IpAddr,
    /// The port that goes with it; the listener's where `None`.
    pub advertise_port: Option<u16>,
    /// Addresses of services; the `kubernetes` service takes the first.
    pub service_cidr: IpNet,
    /// Ports of NodePort services.
    pub node_port_range: RangeInclusive<u16>,
    /// What this server shows to agents; `None` refuses exec, logs and node proxying.
    pub kubelet_client: Option<KeyPair>,
    /// Whether agents, pods and endpoints may be on addresses of this host alone, as in tests of one process. Where
    /// agents are on other hosts, such an address would lead a proxied request back to what only this host reaches.
    pub local_targets: bool,
    /// What this server shows to servers behind the aggregation layer; `None` passes no requests on to them.
    pub proxy_client: Option<KeyPair>,
    /// How much a client may ask for.
    pub limits: Limits,
}

/// Bounds of what is taken in at once.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request body. etcd refuses values over 1.5 MiB, so objects stay below twice that with patches.
    pub body_bytes: usize,
    /// Requests that read, at once; watches and streams do not count.
    pub reads_in_flight: usize,
    /// Requests that write, at once.
    pub writes_in_flight: usize,
    /// Open connections.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 3 * 1024 * 1024, reads_in_flight: 400, writes_in_flight: 200, connections: 10_000 }
    }
}
