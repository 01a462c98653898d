//! How components speak to the API: the kube-rs client, shared informers, work queues, leader election, events.
//!
//! Components receive a [`Context`] and nothing else of the control plane.

use tokio_util::sync::CancellationToken;

pub mod informer;
pub mod queue;

/// What every component is given.
#[derive(Clone)]
pub struct Context {
    /// For requests; over TLS or in-process, the component cannot tell.
    pub client: kube::Client,
    /// One shared informer a kind for the whole process.
    pub informers: informer::Informers,
    /// Cancelled when the process stops.
    pub shutdown: CancellationToken,
}
