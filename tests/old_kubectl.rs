//! The same with Debian 12's kubectl, which is 1.20: exec and port-forward over SPDY, printing and checking of its own.

use std::io::Write as _;

use crate::harness::{PATIENCE, Running, Scene, busybox_pod, deployment, drills, get, on_a_terminal};

drills![looks_and_changes, streams, attach_over_spdy];

fn looks_and_changes(scene: &Scene) {
    let old = scene.cluster.old_kubectl().namespace(&scene.namespace);
    let version = old.ok("version --short");
    assert!(version.contains("Client Version: v1.20") && version.contains("Server Version: v"), "{version}");
    assert_eq!(old.apply(&deployment("web", 2, 1)), "deployment.apps/web created\n");
    old.ok("rollout status deployment/web --timeout=60s");
    assert_eq!(old.apply(&deployment("web", 2, 1)), "deployment.apps/web unchanged\n");
    let wide = old.ok("get nodes,pods -o wide");
    assert!(wide.contains("control-plane") && wide.contains("1/1"), "{wide}");
    let described = old.ok("describe deployment web");
    assert!(described.contains("2 desired | 2 updated | 2 total | 2 available"), "{described}");
    old.ok("describe node w1");
    old.ok("scale deployment/web --replicas=1");
    old.ok("set image deployment/web web=rkctl.local/web:2");
    old.ok("rollout status deployment/web --timeout=60s");
    old.ok("rollout undo deployment/web");
    old.ok("label deployment web tier=front");
    let diff = old.with_input("diff -f -", &deployment("web", 3, 1));
    assert_eq!(diff.status.code(), Some(1), "{}", diff.report());
    let explained = old.ok("explain deployment.spec.strategy");
    assert!(explained.contains("rollingUpdate"), "{explained}");
    // kubectl itself refuses it, by the schema that it has read.
    let refused = old.with_input("apply -f -", &deployment("web", 1, 1).replace("replicas: 1", "replicas: many")).err();
    assert!(
        refused.contains("error validating data: ValidationError(Deployment.spec.replicas): invalid type")
            && refused.contains("--validate=false"),
        "{refused}"
    );
    old.ok("top nodes");
    old.ok("delete deployment web");
}

fn attach_over_spdy(scene: &Scene) {
    crate::streams::attach(scene, &scene.cluster.old_kubectl().namespace(&scene.namespace));
}

fn streams(scene: &Scene) {
    let old = scene.cluster.old_kubectl().namespace(&scene.namespace);
    old.apply(&[busybox_pod("shell", None), deployment("web", 1, 1)].concat());
    old.ok("wait --for=condition=Ready pod/shell --timeout=60s");
    let failed = old.run(&["exec", "shell", "--", "sh", "-c", "echo out; exit 7"]);
    assert_eq!((failed.status.code(), failed.stdout.as_str()), (Some(7), "out\n"), "{}", failed.report());
    let text: String = (0..20_000).map(|line| format!("{line}\n")).collect();
    assert!(old.with_input(&["exec", "-i", "shell", "--", "cat"], &text).ok() == text);

    let mut session = Running::start(on_a_terminal(old.command("exec -it shell -- sh")));
    let mut keys = session.stdin();
    session.wait_for(PATIENCE, "a prompt", |said| said.contains('#').then_some(()));
    writeln!(keys, "test -t 0 && echo terminal-$((40 + 2)); exit").expect("it reads");
    session.wait_for(PATIENCE, "the shell has a terminal", |said| said.contains("terminal-42").then_some(()));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("there"), &text).expect("a file of ours");
    old.ok(&["cp", &path("there"), &format!("{}/shell:/tmp/file", scene.namespace)]);
    old.ok(&["cp", &format!("{}/shell:/tmp/file", scene.namespace), &path("back")]);
    assert!(std::fs::read_to_string(path("back")).expect("kubectl has written it") == text);

    old.ok("rollout status deployment/web --timeout=60s");
    assert!(old.run("logs deployment/web --tail=1").status.success());
    let forward = Running::start(old.command("port-forward deployment/web :8080"));
    let local = forward.wait_for(PATIENCE, "the port is forwarded", |said| {
        let (_, rest) = said.split_once("Forwarding from 127.0.0.1:")?;
        rest.split_once(' ').map(|(port, _)| port.to_owned())
    });
    for _ in 0..3 {
        let answer = get(&format!("http://127.0.0.1:{local}/"), None).unwrap_or_else(|error| panic!("{error}"));
        assert!(answer.contains(" v1 "), "{answer}");
    }
}
