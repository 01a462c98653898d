//! The network between hosts: every pod reaches every pod at its own address.
//!
//! [`run`] keeps this host's bridge, VXLAN device, routes and neighbour entries equal to what the Node objects say;
//! [`cni`] is the plugin that the container runtime calls for each sandbox. No daemon of its own, nothing learned:
//! all addresses follow from the nodes' pod CIDRs. Never touches services.

pub mod cni;
pub mod host;
pub mod plan;
mod run;

pub use run::{Config, run};

/// Why the network of this host is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a change.
    #[error("cannot change this host's network")]
    Datapath(#[from] datapath::Error),
    /// No link carries the node's address.
    #[error("no link of this host has the node's address {0}; set privateAddress in the inventory")]
    NoUnderlay(std::net::Ipv4Addr),
    /// A file could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
