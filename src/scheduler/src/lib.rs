//! Which node a pod runs on: decided from memory, told to the API as a binding.
//!
//! [`schedule::schedule`] is a pure function of a pod and the nodes; [`preempt::plan`] likewise. `driver` feeds them
//! from the informers and carries out what they answer. The scheduler never reads the store and never talks to nodes.

use std::time::Duration;

pub mod budget;
pub mod cluster;
pub mod driver;
pub mod filter;
#[cfg(test)]
mod fixtures;
pub mod node;
pub mod pod;
pub mod preempt;
pub mod queue;
pub mod resources;
pub mod schedule;
pub mod score;
mod state;

pub use driver::run;

/// The name that `spec.schedulerName` of our pods has.
pub const SCHEDULER_NAME: &str = "default-scheduler";

/// How the scheduler works.
#[derive(Debug, Clone)]
pub struct Config {
    /// Pods whose `spec.schedulerName` is this are ours.
    pub scheduler_name: String,
    /// Bindings that may be on their way at once.
    pub parallel_bindings: usize,
    /// First and longest pause before a pod that did not fit is tried again.
    pub backoff: (Duration, Duration),
    /// How long a pod that does not fit waits when nothing changes.
    pub retry_unschedulable_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            scheduler_name: SCHEDULER_NAME.to_string(),
            parallel_bindings: 64,
            backoff: (Duration::from_secs(1), Duration::from_secs(10)),
            retry_unschedulable_after: Duration::from_secs(300),
        }
    }
}

/// Why the scheduler stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A task of the scheduler ended that must not.
    #[error("the scheduler's {0} stopped unexpectedly")]
    TaskEnded(&'static str),
}
