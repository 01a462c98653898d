//! The end-to-end drills: what a user does with a cluster, done with the real `rkctl`, the real kubectl and real
//! hosts in labs of their own. Nothing of the product is linked in here.
//!
//! `RKCTL` names the binary; without it the one that cargo built is taken. `RKCTL_E2E_LAB=NAME` uses (or makes) the
//! lab NAME (NAME-walls for firewalls) and leaves it and its cluster standing, for whoever writes drills.
//! The drills of `machine` want a virtual machine, those of `go` a client that is fetched and compiled first; both are
//! run only where they are named: `make e2e-vm`, `make e2e-go`.

mod absent;
mod access;
mod apply;
mod bare;
mod certificates;
mod clients;
mod cut;
mod describe;
mod dns;
mod faults;
mod firewall;
mod gitops;
mod go;
mod harness;
mod ingress;
mod kubeconfig;
mod left;
mod lifecycle;
mod logs;
mod machine;
mod nodes;
mod old_kubectl;
mod output;
mod outside;
mod recovery;
mod reset;
mod rollout;
mod scheduling;
mod security;
mod services;
mod streams;
mod up_again;

use std::process::ExitCode;

use harness::{Place, Stage};

/// One after the other.
const STAGES: &[Stage] = &[
    Stage {
        suffix: "",
        named: None,
        place: Place::Lab { spare: &[harness::SPARE], packages: &[] },
        prepare: |_| (),
        side_by_side: &[
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
            certificates::DRILLS,
            kubeconfig::DRILLS,
            clients::DRILLS,
        ],
        alone: &[
            outside::DRILLS,
            scheduling::DRILLS,
            faults::DRILLS,
            cut::DRILLS,
            absent::DRILLS,
            bare::DRILLS,
            left::DRILLS,
            security::DRILLS,
            up_again::DRILLS,
            recovery::DRILLS,
            reset::DRILLS,
        ],
    },
    Stage {
        suffix: "-walls",
        named: None,
        place: Place::Lab { spare: &[], packages: &["firewalld", "ufw"] },
        prepare: firewall::raise,
        side_by_side: &[],
        alone: &[firewall::DRILLS],
    },
    Stage {
        suffix: "-machine",
        named: Some("machine::"),
        place: Place::Machine,
        prepare: machine::is_what_it_should_be,
        side_by_side: &[],
        alone: &[machine::DRILLS],
    },
    Stage {
        suffix: "-go",
        named: Some("go::"),
        place: Place::Lab { spare: &[], packages: &[] },
        prepare: |_| (),
        side_by_side: &[go::DRILLS],
        alone: &[go::ALONE],
    },
];

fn main() -> ExitCode {
    harness::main(STAGES)
}
