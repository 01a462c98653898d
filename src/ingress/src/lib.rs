//! The ingress controller: HTTP from outside to services, by host and path, on every node.
//!
//! `routes` decides where a request goes and knows no network; `proxy` carries it there; `status` tells where the
//! cluster is reached. TLS is not served yet: hosts are reached over HTTP only.

mod forward;
mod proxy;
pub mod routes;
mod run;
mod status;

pub use run::{CONTROLLER, Config, run};

/// Why the controller does not serve.
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
    /// A task ended that must not.
    #[error("the {0} stopped unexpectedly")]
    TaskEnded(&'static str),
}
