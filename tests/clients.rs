//! Clients in other languages, against the whole cluster: Python's `kubernetes` and JavaScript's
//! `@kubernetes/client-node`. A drill is a file of tests in `tests/clients/`, each test of which it runs.
//!
//! Most of them do what the official conformance suite does, and say which of its lines they cover
//! (docs/conformance.md).

use std::process::Command;
use std::time::Duration;

use testkit::tools::{self, KubectlVersion, repository};

use crate::harness::{Scene, drills, run};

drills![
    python_accounts,
    python_apply,
    python_customs,
    python_definitions,
    python_discovery,
    python_events,
    python_fairness,
    python_garbage,
    python_kubectl,
    python_lists,
    python_namespaces,
    python_openapi,
    python_policies,
    python_quotas,
    python_streams,
    python_typed,
    python_validation,
    python_watches,
    javascript_objects,
    javascript_streams,
    javascript_watches,
];

/// A file of tests takes a quarter of this.
const BOUND: Duration = Duration::from_secs(180);
/// Debian's own: its packages are no other interpreter's.
const PYTHON: &str = "/usr/bin/python3";

/// Runs a program with the cluster and the scene's namespace; it must succeed.
#[track_caller]
pub fn passes(scene: &Scene, folder: &str, mut program: Command) {
    program.current_dir(repository().join("tests/clients").join(folder));
    program.env("KUBECONFIG", scene.cluster.kubeconfig()).env("NAMESPACE", &scene.namespace);
    program.env("KUBECTL", tools::kubectl(KubectlVersion::V1_32));
    program.env("KUBECTL_OLD", tools::kubectl(KubectlVersion::V1_20)).env("PYTHONDONTWRITEBYTECODE", "1");
    let ran = run(&mut program, BOUND, b"");
    assert!(ran.status.success(), "{}", ran.report());
}

#[track_caller]
fn python(scene: &Scene, subject: &str) {
    let mut program = Command::new(PYTHON);
    // Connections that are left to the end of the program are of no interest.
    program.args(["-W", "ignore::ResourceWarning", "-m", "unittest", "--verbose", &format!("test_{subject}")]);
    passes(scene, "python", program);
}

#[track_caller]
fn javascript(scene: &Scene, subject: &str) {
    let mut program = Command::new("node");
    let file = tools::javascript().join(format!("{subject}.test.mjs"));
    program.args(["--test", "--test-reporter=spec"]).arg(file);
    passes(scene, "javascript", program);
}

fn python_accounts(scene: &Scene) {
    python(scene, "accounts");
}

fn python_apply(scene: &Scene) {
    python(scene, "apply");
}

fn python_customs(scene: &Scene) {
    python(scene, "customs");
}

fn python_definitions(scene: &Scene) {
    python(scene, "definitions");
}

fn python_discovery(scene: &Scene) {
    python(scene, "discovery");
}

fn python_events(scene: &Scene) {
    python(scene, "events");
}

fn python_fairness(scene: &Scene) {
    python(scene, "fairness");
}

fn python_garbage(scene: &Scene) {
    python(scene, "garbage");
}

fn python_kubectl(scene: &Scene) {
    python(scene, "kubectl");
}

fn python_lists(scene: &Scene) {
    python(scene, "lists");
}

fn python_namespaces(scene: &Scene) {
    python(scene, "namespaces");
}

fn python_openapi(scene: &Scene) {
    python(scene, "openapi");
}

fn python_policies(scene: &Scene) {
    python(scene, "policies");
}

fn python_quotas(scene: &Scene) {
    python(scene, "quotas");
}

fn python_streams(scene: &Scene) {
    python(scene, "streams");
}

fn python_typed(scene: &Scene) {
    python(scene, "typed");
}

fn python_validation(scene: &Scene) {
    python(scene, "validation");
}

fn python_watches(scene: &Scene) {
    python(scene, "watches");
}

fn javascript_objects(scene: &Scene) {
    javascript(scene, "objects");
}

fn javascript_streams(scene: &Scene) {
    javascript(scene, "streams");
}

fn javascript_watches(scene: &Scene) {
    javascript(scene, "watches");
}
