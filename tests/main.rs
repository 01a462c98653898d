//! The end-to-end drills: what a user does with a cluster, done with the real `rkctl`, the real kubectl and real
//! hosts in a lab of its own. Nothing of the product is linked in here.
//!
//! `RKCTL` names the binary; without it the one that cargo built is taken. `RKCTL_E2E_LAB=NAME` uses (or makes) the
//! lab NAME and leaves it and its cluster standing, for whoever writes drills.

mod access;
mod apply;
mod cut;
mod describe;
mod dns;
mod faults;
mod gitops;
mod harness;
mod ingress;
mod lifecycle;
mod logs;
mod nodes;
mod old_kubectl;
mod output;
mod recovery;
mod reset;
mod rollout;
mod scheduling;
mod services;
mod streams;
mod up_again;

use std::process::ExitCode;

use harness::Drill;

/// Drills that leave everybody else alone: each in a namespace of its own, two at a time.
const SIDE_BY_SIDE: &[&[Drill]] = &[
    nodes::DRILLS,
    services::DRILLS,
    rollout::DRILLS,
    dns::DRILLS,
    ingress::DRILLS,
    logs::DRILLS,
    streams::DRILLS,
    describe::DRILLS,
    apply::DRILLS,
    output::DRILLS,
    old_kubectl::DRILLS,
    lifecycle::DRILLS,
    gitops::DRILLS,
    access::DRILLS,
];

/// Drills that break or change the cluster: alone, in this order.
const ALONE: &[&[Drill]] =
    &[scheduling::DRILLS, faults::DRILLS, cut::DRILLS, up_again::DRILLS, recovery::DRILLS, reset::DRILLS];

fn main() -> ExitCode {
    harness::main(SIDE_BY_SIDE, ALONE)
}
