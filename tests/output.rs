//! Ways to look: wait, watch, and the forms of an answer.

use crate::harness::{PATIENCE, Running, Scene, busybox_pod, deployment, drills};

drills![have_the_forms_users_know, wait_for_conditions, watch_what_happens, select_by_labels];

fn have_the_forms_users_know(scene: &Scene) {
    scene.apply(&[deployment("web", 1, 1), busybox_pod("shell", Some("w1"))].concat());
    scene.rolled_out("deployment/web");
    scene.ready("pod/shell");
    let get = |form: &str| scene.kubectl.ok(&["get", "pod", "shell", "-o", form]);
    assert!(get("yaml").starts_with("apiVersion: v1\nkind: Pod\n"));
    assert_eq!(get("jsonpath={.spec.nodeName}/{.status.phase}"), "w1/Running");
    assert_eq!(get("name"), "pod/shell\n");
    assert_eq!(
        get("custom-columns=N:.metadata.name,H:.status.hostIP"),
        format!("N       H\nshell   {}\n", scene.cluster.address("w1"))
    );
    assert_eq!(get("go-template={{.metadata.name}}"), "shell");
    let wide = get("wide");
    assert!(wide.starts_with("NAME    READY   STATUS    RESTARTS   AGE"), "{wide}");
    assert!(wide.contains("IP") && wide.contains("NODE") && wide.contains(" w1 ") && wide.contains("1/1"), "{wide}");
    let deployments = scene.kubectl.ok("get deployments");
    assert!(deployments.starts_with("NAME   READY   UP-TO-DATE   AVAILABLE   AGE"), "{deployments}");
    let all = scene.kubectl.ok("get all");
    assert!(
        all.contains("pod/shell") && all.contains("deployment.apps/web") && all.contains("replicaset.apps/web-"),
        "{all}"
    );
    let sorted = scene.kubectl.ok("get pods --sort-by=.metadata.name -o name");
    assert!(sorted.starts_with("pod/shell\npod/web-"), "{sorted}");
}

fn wait_for_conditions(scene: &Scene) {
    scene.apply(&[deployment("web", 1, 1), busybox_pod("shell", None)].concat());
    let said = scene.kubectl.ok("wait --for=condition=Available deployment/web --timeout=60s");
    assert_eq!(said, "deployment.apps/web condition met\n");
    scene.kubectl.ok("wait --for=jsonpath={.status.phase}=Running pod/shell --timeout=60s");
    let late = scene.kubectl.err("wait --for=condition=Nonsense pod/shell --timeout=1s");
    assert!(late.contains("timed out waiting for the condition"), "{late}");
    let waiting = Running::start(scene.kubectl.command("wait --for=delete pod/shell --timeout=60s"));
    scene.kubectl.ok("delete pod shell");
    waiting.wait_for(PATIENCE, "the deletion is seen", |said| said.contains("pod/shell condition met").then_some(()));
}

fn watch_what_happens(scene: &Scene) {
    let watch = Running::start(scene.kubectl.command("get pods --watch --output-watch-events"));
    scene.apply(&busybox_pod("shell", None));
    let seen = |event: &str, state: &str| {
        watch.wait_for(PATIENCE, &format!("{event} {state} is seen"), |said| {
            let is_it = |line: &str| line.starts_with(event) && line.contains("shell") && line.contains(state);
            said.lines().any(is_it).then_some(())
        });
    };
    seen("ADDED", "Pending");
    seen("MODIFIED", "ContainerCreating");
    seen("MODIFIED", "Running");
    scene.kubectl.ok("delete pod shell --wait=false");
    seen("MODIFIED", "Terminating");
    seen("DELETED", "shell");
}

fn select_by_labels(scene: &Scene) {
    scene.apply(&[busybox_pod("one", None), busybox_pod("two", None)].concat());
    let said = scene.kubectl.ok("label pod one tier=front");
    assert_eq!(said, "pod/one labeled\n");
    let pods = |words: &str| scene.kubectl.ok(&format!("get pods -o name {words}"));
    assert_eq!(pods("--selector tier=front"), "pod/one\n");
    assert_eq!(pods("--selector !tier"), "pod/two\n");
    assert_eq!(pods("--selector app!=one,!tier"), "pod/two\n");
    assert_eq!(
        scene.kubectl.ok(&["get", "pods", "-o", "name", "--selector", "app in (one, two)"]),
        "pod/one\npod/two\n"
    );
    let refused = scene.kubectl.err("label pod one tier=back");
    assert!(refused.contains("--overwrite"), "{refused}");
    scene.kubectl.ok("label pod one tier=back --overwrite");
    assert_eq!(pods("--selector tier=back"), "pod/one\n");
    scene.kubectl.ok("label pod one tier-");
    assert_eq!(pods("--selector tier"), "");
    scene.kubectl.ok("annotate pod one note=kept");
    let note = scene.kubectl.ok("get pod one -o jsonpath={.metadata.annotations.note}");
    assert_eq!(note, "kept");
    assert_eq!(pods("--field-selector metadata.name=two"), "pod/two\n");
    let columns = scene.kubectl.ok("get pods -L app");
    assert!(columns.lines().next().is_some_and(|head| head.ends_with("APP")), "{columns}");
}
