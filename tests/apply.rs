//! Ways to change objects: apply from files, standard input and kustomizations, the three-way merge, server-side
//! apply, diff, edit by label and annotation.

use serde_json::Value;

use crate::harness::{Scene, deployment, drills};

drills![
    take_files_input_and_kustomizations,
    merge_three_ways,
    apply_on_the_server,
    show_differences,
    refuse_what_is_wrong
];

fn map(name: &str, data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {data}\n")
}

fn data(scene: &Scene, name: &str) -> Value {
    scene.kubectl.json(&["get", "configmap", name])["data"].clone()
}

fn take_files_input_and_kustomizations(scene: &Scene) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder of ours");
        std::fs::write(path, text).expect("a file of ours");
    };
    write("plain/a.yaml", &map("a", "{x: '1'}"));
    write(
        "plain/b.json",
        r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"x": "2"}}"#,
    );
    write(
        "built/kustomization.yaml",
        "namePrefix: built-\nresources: [c.yaml]\nconfigMapGenerator: [{name: made, literals: [k=v]}]\n",
    );
    write("built/c.yaml", &map("c", "{x: '3'}"));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let said = scene.kubectl.ok(&["apply", "-f", &path("plain")]);
    assert_eq!(said, "configmap/a created\nconfigmap/b created\n");
    let said = scene.kubectl.ok(&["apply", "-f", &path("plain")]);
    assert_eq!(said, "configmap/a unchanged\nconfigmap/b unchanged\n");
    assert_eq!(scene.kubectl.apply(&map("d", "{x: '4'}")), "configmap/d created\n");
    let said = scene.kubectl.ok(&["apply", "-k", &path("built")]);
    assert!(said.contains("configmap/built-c created") && said.contains("configmap/built-made-"), "{said}");
    for (name, value) in [("a", "1"), ("b", "2"), ("built-c", "3"), ("d", "4")] {
        assert_eq!(data(scene, name)["x"], value, "{name}");
    }
    scene.kubectl.ok(&["delete", "-k", &path("built")]);
    scene.kubectl.ok(&["delete", "-f", &path("plain")]);
    let left = scene.kubectl.ok("get configmaps -o name");
    assert_eq!(left, "configmap/d\nconfigmap/kube-root-ca.crt\n");
}

fn merge_three_ways(scene: &Scene) {
    scene.apply(&map("m", "{gone: '1', kept: '1', theirs: '1'}").replace("theirs: '1'", "changed: '1'"));
    scene.kubectl.ok(&["patch", "configmap", "m", "--patch", r#"{"data": {"theirs": "2"}}"#]);
    scene.apply(&map("m", "{kept: '1', changed: '3'}"));
    let expected: Value = serde_json::json!({ "kept": "1", "changed": "3", "theirs": "2" });
    assert_eq!(data(scene, "m"), expected, "what was applied before and is not now is gone, what others set stays");

    // The same where lists are merged by their keys.
    scene.apply(&deployment("web", 1, 1));
    let patch = r#"{"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "rkctl.local/busybox:1", "imagePullPolicy": "Never", "command": ["sleep", "3600"]}]}}}}"#;
    scene.kubectl.ok(&["patch", "deployment", "web", "--patch", patch]);
    scene.apply(&deployment("web", 1, 2));
    let images = scene.kubectl.ok("get deployment web -o jsonpath={.spec.template.spec.containers[*].image}");
    let mut images: Vec<&str> = images.split(' ').collect();
    images.sort_unstable();
    assert_eq!(images, ["rkctl.local/busybox:1", "rkctl.local/web:2"]);
    scene.kubectl.ok(&[
        "patch",
        "configmap",
        "m",
        "--type=json",
        "--patch",
        r#"[{"op": "remove", "path": "/data/kept"}]"#,
    ]);
    scene.kubectl.ok(&["patch", "configmap", "m", "--type=merge", "--patch", r#"{"data": {"theirs": null}}"#]);
    assert_eq!(data(scene, "m"), serde_json::json!({ "changed": "3" }));
}

fn apply_on_the_server(scene: &Scene) {
    let apply = |manager: &str, more: &[&str], manifest: &str| {
        let words = [&["apply", "--server-side", "-f", "-", "--field-manager", manager][..], more].concat();
        scene.kubectl.with_input(words.as_slice(), manifest)
    };
    assert_eq!(apply("one", &[], &map("s", "{a: '1', b: '1'}")).ok(), "configmap/s serverside-applied\n");
    apply("two", &[], &map("s", "{c: '1'}")).ok();
    let refused = apply("two", &[], &map("s", "{a: '2', c: '1'}")).err();
    assert!(refused.contains("conflict") && refused.contains("\"one\"") && refused.contains(".data.a"), "{refused}");
    apply("two", &["--force-conflicts"], &map("s", "{a: '2', c: '1'}")).ok();
    apply("one", &[], &map("s", "{b: '1'}")).ok();
    assert_eq!(data(scene, "s"), serde_json::json!({ "a": "2", "b": "1", "c": "1" }));
    apply("one", &[], &map("s", "{}")).ok();
    assert_eq!(data(scene, "s"), serde_json::json!({ "a": "2", "c": "1" }), "what nobody applies any more is gone");
    let fields = scene.kubectl.ok("get configmap s -o yaml --show-managed-fields");
    assert!(fields.contains("manager: two") && fields.contains("f:a"), "{fields}");
    let dry = apply("two", &["--dry-run=server"], &map("s", "{a: '9'}"));
    assert!(dry.ok().contains("server dry run"));
    assert_eq!(data(scene, "s")["a"], "2", "a dry run changes nothing");
}

fn show_differences(scene: &Scene) {
    scene.apply(&deployment("web", 1, 1));
    let same = scene.kubectl.with_input("diff -f -", &deployment("web", 1, 1));
    assert_eq!((same.status.code(), same.stdout.as_str()), (Some(0), ""), "{}", same.report());
    let other = scene.kubectl.with_input("diff -f -", &deployment("web", 3, 2));
    assert_eq!(other.status.code(), Some(1), "{}", other.report());
    for line in
        ["-  replicas: 1", "+  replicas: 3", "-      - image: rkctl.local/web:1", "+      - image: rkctl.local/web:2"]
    {
        assert!(other.stdout.lines().any(|found| found == line), "`{line}` is missing in\n{}", other.stdout);
    }
    let replicas = scene.kubectl.ok("get deployment web -o jsonpath={.spec.replicas}");
    assert_eq!(replicas, "1", "a difference that is shown changes nothing");
}

fn refuse_what_is_wrong(scene: &Scene) {
    let apply = |manifest: &str| scene.kubectl.with_input("apply -f -", manifest).err();
    let said = apply(&deployment("web", 1, 1).replace("replicas: 1", "replicas: many"));
    assert!(said.contains("replicas"), "{said}");
    let said = apply(&deployment("web", 1, 1).replace("replicas:", "replica:"));
    assert!(said.contains("unknown field \"spec.replica\""), "{said}");
    let said =
        apply(&deployment("web", 1, 1).replace("labels: {app: web}}\n    spec", "labels: {app: other}}\n    spec"));
    assert!(said.contains("selector"), "{said}");
    let said = apply(&deployment("Web", 1, 1));
    assert!(said.contains("Invalid value: \"Web\""), "{said}");
    let said = scene.kubectl.err("get deployments nothing");
    assert_eq!(said, "Error from server (NotFound): deployments.apps \"nothing\" not found\n");
}
