//! The cluster follows a repository.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::eventually;

use crate::harness::{PATIENCE, Scene, drills};

drills![follow_the_repository];

/// Within this time of a commit the cluster is equal to it, at the best of a few: a busy machine is not always busy.
const AIM: Duration = Duration::from_secs(crate::harness::GIT_INTERVAL_S + 5);
/// How many are tried.
const TRIES: u32 = 4;
/// At the worst.
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
    let mut took = vec![applied(scene, &first)];
    let values = ["a", "b", "built-c", "d"].map(|name| value(scene, name));
    assert_eq!(values.each_ref().map(Option::as_deref), [Some("1"), Some("1"), Some("1"), None]);

    while took.iter().all(|took| *took > AIM) && took.len() < TRIES as usize {
        let text = map(scene, "a", &format!("1-{}", took.len()));
        took.push(applied(scene, &git.commit("Another a", &[("cluster/a.yaml", Some(&text))])));
    }
    eprintln!("  gitops: commits were applied after {took:.1?}");
    assert!(took.iter().any(|took| *took <= AIM), "the interval and 5 s are {AIM:?}: {took:?}");

    removed_files_are_pruned_and_drift_is_put_right(scene);
    an_overlay_is_built(scene);
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

const BASE: &str = "resources: [deployment.yaml]\n";
const OVERLAY: &str = "
namespace: NAMESPACE
resources: [base]
images: [{name: rkctl.local/web, newTag: '2'}]
patches:
  - path: replicas.yaml
  - target: {kind: Deployment, name: web}
    patch: |
      - {op: add, path: /spec/template/spec/containers/0/env, value: [{name: SIDE, value: front}]}
configMapGenerator:
  - {name: settings, literals: [color=COLOR], files: [page=page.txt]}
secretGenerator:
  - {name: words, envs: [words.env]}
";
const REPLICAS: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 2}\n";

/// An overlay over a base: namespace, images, patches of both kinds, generators with names by their content.
fn an_overlay_is_built(scene: &Scene) {
    let git = scene.cluster.git();
    let base = crate::harness::deployment("web", 1, 1).trim_start_matches("\n---\n").replace(
        "          ports:",
        "          envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: words}}]\n          ports:",
    );
    let overlay = |color: &str| OVERLAY.replace("NAMESPACE", &scene.namespace).replace("COLOR", color);
    applied(
        scene,
        &git.commit(
            "An overlay",
            &[
                ("cluster/kustomization.yaml", Some("resources: [a.yaml, built, overlay]\n")),
                ("cluster/overlay/kustomization.yaml", Some(&overlay("green"))),
                ("cluster/overlay/replicas.yaml", Some(REPLICAS)),
                ("cluster/overlay/page.txt", Some("hello\n")),
                ("cluster/overlay/words.env", Some("word=hidden\n")),
                ("cluster/overlay/base/kustomization.yaml", Some(BASE)),
                ("cluster/overlay/base/deployment.yaml", Some(&base)),
            ],
        ),
    );
    scene.rolled_out("deployment/web");
    let told = |wanted: &str| {
        let words = "exec deployment/web -- sh -c";
        let words: Vec<&str> = words.split(' ').chain(["cat /version; echo $color $page $word $SIDE"]).collect();
        scene.until(wanted, words.as_slice(), |said| said.contains(wanted).then_some(()));
    };
    told("green hello hidden front");
    let web = scene.kubectl.json("get deployment web");
    assert_eq!(web["spec"]["replicas"], 2, "{web:#}");
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "rkctl.local/web:2", "{web:#}");
    let generated = || web_settings(scene);
    let first = generated();
    assert!(first.starts_with("settings-"), "{first}");

    // Other content is another name: the Deployment rolls, and the old map is pruned.
    applied(scene, &git.commit("Blue", &[("cluster/overlay/kustomization.yaml", Some(&overlay("blue")))]));
    scene.rolled_out("deployment/web");
    told("blue hello hidden front");
    assert_ne!(generated(), first);
    eventually(PATIENCE, "the old map is pruned", || {
        let ran = scene.kubectl.run(&["get", "configmap", &first]);
        if ran.status.success() { Err(ran.report()) } else { Ok(()) }
    });
    applied(scene, &git.commit("No overlay", &[("cluster/kustomization.yaml", Some("resources: [a.yaml, built]\n"))]));
    assert!(!scene.kubectl.run("get deployment web").status.success(), "what it made is pruned");
}

/// The map that the overlay's Deployment names.
fn web_settings(scene: &Scene) -> String {
    scene.kubectl.ok("get deployment web -o jsonpath={.spec.template.spec.containers[0].envFrom[0].configMapRef.name}")
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
