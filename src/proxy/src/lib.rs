//! The service proxy: traffic for a service's address goes to one of its endpoints, by flat nftables maps.
//!
//! A service costs one element of a dispatch map and one element an endpoint; a change costs what changed. There is
//! one chain for each *number* of endpoints, not for each service. Knows Services, EndpointSlices and the zone of this
//! host, nothing of links or routes.

pub mod conntrack;
pub mod elements;
pub mod health;
mod run;
pub mod table;

pub use run::{Config, run};

/// Why the rules of this host are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// nft refused a batch or could not be run.
    #[error("cannot change the service rules")]
    Datapath(#[from] datapath::Error),
}
