//! Observes hosts over SSH, plans what must change so that they are what the inventory wants, and carries it out.
//!
//! [`observe`] asks every host once; [`plan`] is pure; [`execute`] is thin. What is observed decides, there is no
//! state file. Nothing here imports a component of the control plane: what must be said to the API is said by
//! `rkctl node …` on a control-plane host.

pub mod cluster_facts;
mod connect;
mod error;
mod execute;
mod observe;
mod plan;
mod render;
mod reset;
pub mod secrets;

pub use connect::{Fleet, connect};
pub use error::Error;
pub use execute::{Job, Outcome, Progress, Report, StepResult, execute};
pub use observe::{
    Configured, Followed, Found, HostFacts, Module, NftChain, Observation, PkiDue, Sysctl, Unit, observe,
};
pub use plan::{Action, BINARY, Finding, Opening, Plan, Release, Source, Step, Wave, openings, plan};
pub use reset::reset_host;
