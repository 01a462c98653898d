//! Cluster DNS: the names of services and pods, from the API; every other name from the host's resolvers.
//!
//! Follows the Kubernetes DNS-based service discovery specification 1.1.0. `zone` decides what a name means and knows
//! no network; `server` speaks DNS; `upstream` chooses who is asked for the rest.

mod fit;
mod health;
mod run;
mod server;
mod upstream;
pub mod zone;

pub use run::{Config, run};

/// Why the server does not answer.
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
    /// The cluster's domain is no domain name.
    #[error("{0:?} is no domain name")]
    Domain(String),
    /// The resolvers of the host cannot be used.
    #[error("cannot forward to the resolvers of {path}")]
    Resolvers {
        /// `/etc/resolv.conf`.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server stopped by itself.
    #[error("the DNS server stopped: {0}")]
    Stopped(String),
}
