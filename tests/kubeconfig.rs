//! `rkctl kubeconfig`: the administrator's way in, in a file of its own or in one that is there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testkit::Kubectl;

use crate::harness::{Scene, drills};

drills![is_written_and_merged, leaves_what_others_need];

const BOUND: Duration = Duration::from_secs(60);

/// Another cluster that someone works with.
const OTHERS: &str = "
apiVersion: v1
kind: Config
current-context: theirs
preferences: {}
clusters: [{name: theirs, cluster: {server: 'https://192.0.2.1:6443', insecure-skip-tls-verify: true}}]
users: [{name: they, user: {token: abc}}]
contexts: [{name: theirs, context: {cluster: theirs, user: they, namespace: home}}]
";

fn lets_in(path: &Path) {
    assert!(Kubectl::new(path).ok("get nodes -o name").contains("node/cp1"));
    let mode = std::fs::metadata(path).expect("it was written").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "it holds a key");
}

fn names(config: &Value, list: &str) -> Vec<String> {
    let entries = config[list].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["name"].as_str().unwrap_or_default().to_owned()).collect()
}

fn is_written_and_merged(scene: &Scene) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("config");
    let file = path.display().to_string();
    let write = |more: &[&str]| scene.cluster.rkctl("kubeconfig", &[&["--file", &file], more].concat(), BOUND).ok();

    std::fs::write(&path, OTHERS).expect("a file of ours");
    // Again, nothing is there twice.
    for _ in 0..2 {
        assert_eq!(write(&["--merge"]), format!("export KUBECONFIG={file}\n"));
        lets_in(&path);
        let config = Kubectl::new(&path).json("config view --raw");
        assert_eq!(names(&config, "clusters"), ["drills", "theirs"], "{config:#}");
        assert_eq!(names(&config, "contexts"), ["drills", "theirs"], "{config:#}");
        assert_eq!(names(&config, "users").len(), 2, "{config:#}");
        assert_eq!(config["current-context"], "drills");
        let theirs = config["contexts"].as_array().and_then(|all| all.iter().find(|entry| entry["name"] == "theirs"));
        assert_eq!(theirs.map(|entry| &entry["context"]["namespace"]), Some(&"home".into()), "{config:#}");
    }

    std::fs::write(&path, "- no\n- kubeconfig\n").expect("a file of ours");
    let refused = scene.cluster.rkctl("kubeconfig", &["--file", &file, "--merge"], BOUND);
    assert!(
        !refused.status.success() && refused.stderr.contains(&format!("merge into {file}")),
        "{}",
        refused.report()
    );
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "- no\n- kubeconfig\n", "it stays as it is");

    std::fs::remove_file(&path).expect("a file of ours");
    write(&[]);
    lets_in(&path);
    assert_eq!(names(&Kubectl::new(&path).json("config view --raw"), "contexts"), ["drills"]);

    let mut command = scene.cluster.command("kubeconfig", &[]);
    let output = command.env("HOME", folder.path()).output().expect("rkctl starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lets_in(&folder.path().join(".kube/rkctl-drills.yaml"));
}

/// Whatever else is in the file may be somebody's only way into a cluster.
fn leaves_what_others_need(scene: &Scene) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("config");
    let file = path.display().to_string();
    let left = |verb: &str, more: &[&str], text: &str, wanted: &str| {
        std::fs::write(&path, text).expect("a file of ours");
        let ran = scene.cluster.rkctl(verb, &[more, &[&file]].concat(), BOUND);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!ran.status.success() && said.contains("was left as it is") && said.contains(wanted), "{said}");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), text, "{said}");
    };
    left("kubeconfig", &["--file"], OTHERS, "`rkctl kubeconfig --merge --file");
    left("up", &["--kubeconfig"], OTHERS, "`--kubeconfig FILE` of `rkctl up`");
    // A cluster of the same name, which answers: it is this one, but by another authority nobody can tell.
    let server = format!("https://{}:6443", scene.cluster.address("cp1"));
    let same = OTHERS.replace("https://192.0.2.1:6443", &server).replace("name: theirs", "name: drills");
    left("kubeconfig", &["--merge", "--file"], &same.replace("cluster: theirs", "cluster: drills"), "another cluster");
}
