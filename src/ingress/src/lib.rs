//! The ingress controller: HTTP from outside to services, by host and path, on every node.
//!
//! `routes` decides where a request goes and `tls` which certificate answers for a name, and neither knows a network;
//! `listener` accepts connections on both ports, `proxy` carries requests on, `certificates` keeps the Secrets that
//! Ingresses name; `status` tells where the cluster is reached.

mod certificates;
mod forward;
mod listener;
mod proxy;
pub mod routes;
mod run;
mod status;
mod tls;

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
    /// The certificate for names that nobody claims cannot be made.
    #[error("cannot make a certificate")]
    SelfSigned(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// A task ended that must not.
    #[error("the {0} stopped unexpectedly")]
    TaskEnded(&'static str),
}
