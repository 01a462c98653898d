//! The metrics API (`metrics.k8s.io/v1beta1`): what nodes and pods use now, as `kubectl top` and autoscalers ask it.
//!
//! Reads the agents' cgroup figures at an interval and keeps two readings, nothing more: no history, no storage.
//! Served behind the API server's aggregation layer.

pub mod api;
pub mod reading;
mod run;
mod scrape;
mod serve;
mod tls;

pub use run::{Config, run};

/// Why metrics are not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address and port.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The API server refused what the component needs at its start.
    #[error("while {doing}")]
    Api {
        /// What was being done.
        doing: &'static str,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// Keys or certificates cannot be made or read.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// A file of the pod's service account cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An agent did not answer as it should.
    #[error("cannot read the figures of node {node}: {detail}")]
    Scrape {
        /// The node.
        node: String,
        /// Why.
        detail: String,
    },
}
