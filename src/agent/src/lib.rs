//! The node agent: a kubelet to everyone else. It registers its node, runs the pods that are bound to it through the
//! container runtime, and serves logs, streams and figures.
//!
//! What never lives here: the control plane's logic. The agent is a client of the API, and runs static pods without it.

mod balancer;
mod bootstrap;
mod certificates;
mod cgroup;
mod config;
mod connection;
mod error;
mod eviction;
#[cfg(test)]
mod fake;
mod health;
mod hooks;
mod host;
mod images;
mod logs;
mod machine;
mod mirror;
mod node;
mod objects;
mod patch;
mod pod;
mod pods;
mod probes;
mod quantity;
mod run;
mod selfimage;
mod server;
mod source;
mod static_pods;
mod statuses;
mod upkeep;
mod volumes;

pub use config::{Config, Taint};
pub use error::Error;
pub use run::{Agent, run};
pub use selfimage::{IMAGE, PAUSE_IMAGE};
