//! Go's own client, client-go, in JSON and in protobuf: the tests of `tests/clients/go`, which are one program. What it
//! is built from is fetched from Debian's newest packages, so these drills are run only where they are named:
//! `make e2e-go`.

use std::process::Command;

use testkit::tools;

use crate::clients::passes;
use crate::harness::{Drill, Scene, drills};

drills![
    both_encodings,
    subresources,
    watches,
    informers_that_watch_lists,
    failures,
    applied,
    discovery,
    definitions,
    streams,
];

/// Alone, since it pushes what happened before out of the server's memory, and lists that others read in pieces with it.
pub const ALONE: &[Drill] =
    &[Drill { name: concat!(module_path!(), "::old_revisions_expire"), run: old_revisions_expire }];

/// Runs the tests whose names match a pattern, each in JSON and in protobuf.
#[track_caller]
fn go(scene: &Scene, pattern: &str, features: &[(&str, &str)]) {
    let mut program = Command::new(tools::go());
    program.args(["-test.v", "-test.run", pattern]).envs(features.iter().copied());
    passes(scene, "go", program);
}

fn both_encodings(scene: &Scene) {
    go(scene, "InBoth$", &[]);
}

fn subresources(scene: &Scene) {
    go(scene, "^Test(Scale|Pods|Tokens|Access|ABudget|Approvals|Namespaces)", &[]);
}

fn watches(scene: &Scene) {
    go(scene, "^Test(Informers|AWatch|ARetry|LongLists)", &[("KUBE_FEATURE_WatchListClient", "false")]);
}

fn informers_that_watch_lists(scene: &Scene) {
    go(scene, "^TestInformers", &[("KUBE_FEATURE_WatchListClient", "true")]);
}

fn failures(scene: &Scene) {
    go(scene, "^Test(Failures|WhatHasNoRoom|Encodings|AClient)", &[]);
}

fn applied(scene: &Scene) {
    go(scene, "^Test(Apply|Patches|Conflicts|OneLeads)", &[]);
}

fn discovery(scene: &Scene) {
    go(scene, "^Test(Discovery|Names|Schemas|TheTable)", &[]);
}

fn definitions(scene: &Scene) {
    go(scene, "^Test(Definitions|BuiltIn)", &[]);
}

fn streams(scene: &Scene) {
    go(scene, "^Test(Commands|AProgram|Ports|Logs)", &[]);
}

fn old_revisions_expire(scene: &Scene) {
    go(scene, "^TestRevisions", &[]);
}
