//! What every drill stands on: labs and their clusters, one namespace a drill, and what a person needs to read when
//! a drill fails. Nothing here knows what is drilled.

mod cluster;
mod git_server;
mod hosts;
mod http;
mod inventory;
mod lab;
mod machine;
mod manifests;
mod program;
mod report;
mod runner;
mod scene;
mod shutdown;

pub use cluster::{Cluster, HOSTS, SPARE};
pub use http::{get, get_many, get_secure};
pub use inventory::{GIT_INTERVAL_S, on_a_shared_disk};
pub use machine::NAME as MACHINE;
pub use manifests::{busybox_pod, deployment, service};
pub use program::{Running, on_a_terminal, run};
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

/// Hosts with a cluster, and the drills that are run on it.
pub struct Stage {
    /// What the lab's name ends with, so that stages that are kept are told apart.
    pub suffix: &'static str,
    /// What a filter begins with that means its drills; without such a filter they are left out. `None` where they
    /// are among those that are always meant.
    pub named: Option<&'static str>,
    /// What its hosts are.
    pub place: Place,
    /// What is done to the hosts before `rkctl up` sees them; done again where a lab was kept.
    pub prepare: fn(&Cluster),
    /// Drills that leave everybody else alone: each in a namespace of its own, two at a time.
    pub side_by_side: &'static [&'static [Drill]],
    /// Drills that break or change the cluster: alone, in this order, after the others.
    pub alone: &'static [&'static [Drill]],
}

/// Kinds of hosts.
pub enum Place {
    /// The cluster's hosts and more, in a lab.
    Lab {
        /// Those that are not in the cluster.
        spare: &'static [&'static str],
        /// Debian packages that the hosts have beyond those of every lab.
        packages: &'static [&'static str],
    },
    /// One virtual machine.
    Machine,
}

impl Stage {
    /// All its drills.
    pub fn drills(&self) -> impl Iterator<Item = &'static Drill> {
        self.side_by_side.iter().chain(self.alone).copied().flatten()
    }
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
