//! The figures: one file each in `figures/`, and one line here.

use std::future::Future;
use std::pin::Pin;

use crate::bench::Bench;
use crate::report::Measured;

pub mod api;
mod fair;
mod idle;
mod lists;
mod memory;
mod noop;
mod pods;
mod size;
mod start;
pub mod store;
mod up;
mod upload;
mod watch;
mod watchers;

/// The work of taking a figure.
pub type Taking<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Measured>> + 'a>>;

/// A figure.
#[derive(Debug)]
pub struct Figure {
    /// One word.
    pub name: &'static str,
    /// What it is, with its target.
    pub about: &'static str,
    /// Takes it.
    pub take: for<'a> fn(&'a mut Bench) -> Taking<'a>,
}

/// Every figure, in the order they are taken in: first those that need no hosts, then fresh hosts, then the cluster
/// that was made on them, the idle one before the busy one.
pub const FIGURES: &[Figure] = &[
    Figure {
        name: "size",
        about: "the stripped binary; at most 40 MB",
        take: |bench| Box::pin(async { size::take(bench) }),
    },
    Figure {
        name: "start",
        about: "`rkctl node server` from exec to /readyz; at most 300 ms",
        take: |bench| Box::pin(start::take(bench)),
    },
    Figure {
        name: "store",
        about: "durable writes of the store; no fewer than etcd's, at a tenth of the processor's cost",
        take: |bench| Box::pin(store::take(bench)),
    },
    Figure {
        name: "api",
        about: "single objects over HTTPS with roles; ten times Kubernetes' rates, gets at half of nginx's for a file",
        take: |bench| Box::pin(api::take(bench)),
    },
    Figure {
        name: "lists",
        about: "lists of 5,000 and 50,000 objects; at most twice the time of the same bytes as a file",
        take: |bench| Box::pin(lists::take(bench)),
    },
    Figure {
        name: "watch",
        about: "1,000 watchers of 1,000 events/s; p99 of delivery at most 50 ms",
        take: |bench| Box::pin(watch::take(bench)),
    },
    Figure {
        name: "watchers",
        about: "memory of 10,000 idle watchers; at most 10 KB each",
        take: |bench| Box::pin(watchers::take(bench)),
    },
    Figure {
        name: "memory",
        about: "100,000 objects of 1 KB; at most 1.8 times their size and 40 MB, ready in 1 s",
        take: |bench| Box::pin(memory::take(bench)),
    },
    Figure {
        name: "fair",
        about: "one user's p99 beside another's flood; at most twice what it is alone",
        take: |bench| Box::pin(fair::take(bench)),
    },
    Figure {
        name: "upload",
        about: "copying the binary to a host; no slower than scp",
        take: |bench| Box::pin(upload::take(bench)),
    },
    Figure {
        name: "up",
        about: "cold `rkctl up` on three fresh hosts until nodes are Ready and DNS answers; at most 20 s",
        take: |bench| Box::pin(up::take(bench)),
    },
    Figure {
        name: "noop",
        about: "`rkctl up` with nothing to do; at most 1 s",
        take: |bench| Box::pin(noop::take(bench)),
    },
    Figure {
        name: "idle",
        about: "resident memory and processor of an idle cluster; server at most 50 MB, agent 20 MB",
        take: |bench| Box::pin(idle::take(bench)),
    },
    Figure {
        name: "pods",
        about: "`kubectl apply` of a pod until it runs, warm image; p99 at most 1.5 s",
        take: |bench| Box::pin(pods::take(bench)),
    },
];
