//! What a server is told before it starts. Plain data; the files are read by [`crate::Server::new`].

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

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
    /// With [`Limits::writes_in_flight`] the seats that priority levels divide; watches that have begun and streams
    /// take none.
    pub reads_in_flight: usize,
    /// See [`Limits::reads_in_flight`]; what is for reads and what for writes is not told apart.
    pub writes_in_flight: usize,
    /// Open connections; who comes beyond them waits in the kernel's queue.
    pub connections: usize,
    /// Open connections from one address, loopback apart; one beyond them is closed at once. A node's pods may share
    /// their node's address, and the clients behind a balancer have its own.
    pub connections_per_address: usize,
    /// A client that takes nothing of its answer for so long does not read: over HTTP/2 the stream ends, over HTTP/1.1
    /// the connection. Followed logs and streams may rest, since nothing is kept for them here.
    pub taken_within: Duration,
    /// A client that has not sent its request's headers by then is cut off. Just short of a request's own time.
    pub headers_within: Duration,
    /// A connection without a request for so long is closed; clients keep theirs for as long.
    pub idle: Duration,
    /// How long the server goes on as before once it is to end, but that `/readyz` says no: balancers leave it alone
    /// before it leaves them.
    pub shutdown_delay: Duration,
    /// How long requests in flight have then.
    pub drain_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 3 * 1024 * 1024,
            reads_in_flight: 400,
            writes_in_flight: 200,
            connections: 10_000,
            connections_per_address: 2_000,
            taken_within: Duration::from_secs(30),
            headers_within: Duration::from_secs(32),
            idle: Duration::from_secs(90),
            shutdown_delay: Duration::ZERO,
            drain_within: Duration::from_secs(10),
        }
    }
}
