//! The cluster follows a repository.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::eventually;

use crate::harness::{PATIENCE, Scene, drills};

drills![follow_the_repository];

/// Within this time of a commit the cluster is equal to it; the figure is printed, and 5 s after the interval of 2 s
/// are what is aimed at. Busy machines get more.
const APPLIED_BOUND: Duration = Duration::from_secs(30);
/// Longer than two intervals: what was not done in this time, though it is looked after, is not done at all.
const LOOKS: u32 = 3;

fn status(scene: &Scene) -> Result<Value, String> {
    let ran = scene.cluster.gitops(&["status", "--output", "json"]);
    serde_json::from_str(&ran.stdout).map_err(|_| ran.report())
}

/// Waits until a commit is the one that is applied, and answers how long that took.
pub fn applied(scene: &Scene, commit: &str) -> Duration {
    let began = Instant::now();
    eventually(APPLIED_BOUND, "the commit is applied", || {
        let status = status(scene)?;
        let is_it = status["lastAppliedCommit"] == commit && status["ready"] == true;
        if is_it { Ok(()) } else { Err(format!("{status:#}\nsshd:\n{}", scene.cluster.git().log())) }
    });
    began.elapsed()
}

/// The manifest of a map in the drill's namespace.
pub fn map(scene: &Scene, name: &str, value: &str) -> String {
    let namespace = &scene.namespace;
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\ndata: {{x: '{value}'}}\n"
    )
}

/// What such a map has.
pub fn value(scene: &Scene, name: &str) -> Option<String> {
    let ran = scene.kubectl.run(&["get", "configmap", name, "-o", "jsonpath={.data.x}"]);
    ran.status.success().then_some(ran.stdout)
}

/// Waits until a map has a value, or is not there.
pub fn becomes(scene: &Scene, what: &str, name: &str, wanted: Option<&str>) {
    eventually(PATIENCE, what, || {
        let found = value(scene, name);
        if found.as_deref() == wanted { Ok(()) } else { Err(format!("{name} is {found:?}")) }
    });
}

fn follow_the_repository(scene: &Scene) {
    let git = scene.cluster.git();
    let first = git.commit(
        "Three maps, one of them built",
        &[
            ("cluster/kustomization.yaml", Some("resources: [a.yaml, b.yaml, built]\n")),
            ("cluster/a.yaml", Some(&map(scene, "a", "1"))),
            ("cluster/b.yaml", Some(&map(scene, "b", "1"))),
            ("cluster/built/kustomization.yaml", Some("namePrefix: built-\nresources: [c.yaml]\n")),
            ("cluster/built/c.yaml", Some(&map(scene, "c", "1"))),
            ("elsewhere/d.yaml", Some(&map(scene, "d", "1"))),
        ],
    );
    eprintln!(
        "  gitops: a commit was applied after {:.1} s, the interval is 2 s",
        applied(scene, &first).as_secs_f64()
    );
    let values = ["a", "b", "built-c", "d"].map(|name| value(scene, name));
    assert_eq!(values.each_ref().map(Option::as_deref), [Some("1"), Some("1"), Some("1"), None]);

    removed_files_are_pruned_and_drift_is_put_right(scene);
    a_broken_commit_changes_nothing(scene);
    suspend_sync_and_resume(scene);
    let last = git.commit("Nothing any more", &[("cluster/kustomization.yaml", Some("resources: []\n"))]);
    applied(scene, &last);
    assert_eq!(value(scene, "a"), None);
}

fn removed_files_are_pruned_and_drift_is_put_right(scene: &Scene) {
    let list = ("cluster/kustomization.yaml", Some("resources: [a.yaml, built]\n"));
    let commit = scene.cluster.git().commit(
        "Without b, a changed",
        &[list, ("cluster/b.yaml", None), ("cluster/a.yaml", Some(&map(scene, "a", "2")))],
    );
    applied(scene, &commit);
    assert_eq!((value(scene, "a").as_deref(), value(scene, "b")), (Some("2"), None));
    scene.kubectl.ok(&["patch", "configmap", "a", "--patch", r#"{"data": {"x": "theirs"}}"#]);
    becomes(scene, "what was edited is put back", "a", Some("2"));
    scene.kubectl.ok("delete configmap built-c");
    becomes(scene, "what was deleted is put back", "built-c", Some("1"));
    scene.kubectl.ok("create configmap own --from-literal=x=mine");
}

fn a_broken_commit_changes_nothing(scene: &Scene) {
    let before = status(scene).unwrap_or_else(|error| panic!("{error}"));
    let broken = map(scene, "a", "3") + "---\napiVersion: v1\nkind: Sevrice\nmetadata: {name: typo}\n";
    let commit = scene.cluster.git().commit("A typo", &[("cluster/a.yaml", Some(&broken))]);
    let told = eventually(APPLIED_BOUND, "the broken commit is told of", || {
        let ran = scene.cluster.gitops(&["status"]);
        let is_it = ran.status.code() == Some(1) && ran.stdout.contains(&format!("attempted:  {commit}"));
        if is_it { Ok(ran.stdout) } else { Err(ran.report()) }
    });
    assert!(told.contains("Sevrice") && told.contains("typo"), "object and cause are named:\n{told}");
    let after = status(scene).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(after["lastAppliedCommit"], before["lastAppliedCommit"], "{after:#}");
    assert_eq!(value(scene, "a").as_deref(), Some("2"), "the good half of a broken commit is not applied");
    let mended = scene.cluster.git().commit("Mended", &[("cluster/a.yaml", Some(&map(scene, "a", "4")))]);
    applied(scene, &mended);
    assert_eq!(value(scene, "a").as_deref(), Some("4"));
    assert_eq!(value(scene, "own").as_deref(), Some("mine"), "what others made is left alone");
}

fn suspend_sync_and_resume(scene: &Scene) {
    let steer = |verb: &str| scene.cluster.gitops(&[verb]);
    assert!(steer("suspend").ok().contains("suspended"));
    let commit =
        scene.cluster.git().commit("While it is suspended", &[("cluster/a.yaml", Some(&map(scene, "a", "5")))]);
    let refused = steer("sync").err();
    assert!(refused.contains("resume"), "{refused}");
    for _ in 0..LOOKS {
        // Not for luck: the time in which the commit would be applied if nothing were suspended.
        std::thread::sleep(Duration::from_secs(crate::harness::GIT_INTERVAL_S));
        assert_eq!(value(scene, "a").as_deref(), Some("4"), "nothing happens while it is suspended");
    }
    steer("resume").ok();
    applied(scene, &commit);
    assert_eq!(value(scene, "a").as_deref(), Some("5"));
    let commit = scene.cluster.git().commit("Now", &[("cluster/a.yaml", Some(&map(scene, "a", "6")))]);
    let said = steer("sync").ok();
    assert!(said.contains(&commit), "after a sync the commit is applied: {said}");
    assert_eq!(value(scene, "a").as_deref(), Some("6"));
}
