//! What every drill stands on: the lab and its cluster, one namespace a drill, and what a person needs to read when
//! a drill fails. Nothing here knows what is drilled.

mod cluster;
mod git_server;
mod http;
mod inventory;
mod lab;
mod manifests;
mod program;
mod report;
mod runner;
mod scene;
mod shutdown;

pub use cluster::{HOSTS, SPARE};
pub use http::{get, get_many};
pub use inventory::GIT_INTERVAL_S;
pub use manifests::{busybox_pod, deployment, service};
pub use program::Running;
pub use report::differences;
pub use runner::main;
pub use scene::{PATIENCE, Scene, condition, names};

/// A drill: a name and what is done. It fails by a panic.
pub struct Drill {
    /// `module::function`, after `drills::`.
    pub name: &'static str,
    /// The drill itself, in a namespace of its own.
    pub run: fn(&Scene),
}

/// The drills of a module, by the names of their functions.
macro_rules! drills {
    ($($function:ident),* $(,)?) => {
        /// The drills of this file.
        pub const DRILLS: &[$crate::harness::Drill] = &[$($crate::harness::Drill {
            name: concat!(module_path!(), "::", stringify!($function)),
            run: $function,
        }),*];
    };
}
pub(crate) use drills;
