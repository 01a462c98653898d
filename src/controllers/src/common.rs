//! What several controllers need: pods' states, owners, expectations, conditions, percentages, names by hash.

pub mod creation;
pub mod error;
pub mod expectations;
pub mod hash;
pub mod intstr;
pub mod key;
pub mod namespaces;
pub mod nodes;
pub mod owners;
pub mod pods;
pub mod revisions;

use std::future::Future;

use client::Context;

/// Waits for informers; `false` where the process stops before they are complete.
pub async fn ready(context: &Context, informers: impl Future) -> bool {
    tokio::select! {
        () = context.shutdown.cancelled() => false,
        _ = informers => true,
    }
}
