//! `rkctl up` on a cluster that is there: only what differs is done.

use std::time::Duration;

use serde_json::Value;
use testkit::eventually;

use crate::harness::{HOSTS, PATIENCE, SPARE, Scene, condition, deployment, drills};

drills![does_nothing_where_nothing_differs, sets_a_label_in_one_step, adds_and_removes_a_host];

/// Main processes of all units of the hosts: equal where nothing was restarted.
fn processes(scene: &Scene) -> Vec<String> {
    let ask = "systemctl show --value -p MainPID rkctl-server rkctl-agent containerd; ps -eo pid=,comm= | grep containerd-shim || true";
    HOSTS.iter().map(|host| scene.cluster.host(host, ask)).collect()
}

fn steps(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let steps = report["steps"].as_array().cloned().unwrap_or_default();
    steps.iter().map(|step| (text(&step["host"]), text(&step["id"]))).collect()
}

fn does_nothing_where_nothing_differs(scene: &Scene) {
    let before = processes(scene);
    assert_eq!(scene.cluster.plan()["plan"]["steps"], Value::Array(vec![]));
    let report = scene.cluster.up();
    assert_eq!(steps(&report), [], "{report:#}");
    assert_eq!(processes(scene), before, "nothing is restarted");
    let look = Duration::from_secs(60);
    let status = scene.cluster.rkctl("status", &[], look).ok();
    assert!(status.contains("is healthy; `rkctl up` has 0 steps to do"), "{status}");
    let plan = scene.cluster.rkctl("plan", &["--detailed-exitcode"], look);
    assert_eq!(plan.status.code(), Some(0), "{}", plan.report());
}

fn sets_a_label_in_one_step(scene: &Scene) {
    let before = processes(scene);
    scene.cluster.change_host("w1", |host| host["labels"] = serde_json::json!({ "example.test/disk": "fast" }));
    let plan = scene.cluster.rkctl("plan", &["--detailed-exitcode"], Duration::from_secs(60));
    assert_eq!(plan.status.code(), Some(4), "{}", plan.report());
    let report = scene.cluster.up();
    assert_eq!(steps(&report).len(), 1, "{report:#}");
    assert_eq!(scene.kubectl.ok("get nodes -l example.test/disk=fast -o name"), "node/w1\n");
    assert_eq!(processes(scene), before, "nothing is restarted");
    scene.cluster.change_host("w1", |host| host["labels"] = serde_json::json!({}));
    assert_eq!(steps(&scene.cluster.up()).len(), 1);
    assert_eq!(scene.kubectl.ok("get nodes -l example.test/disk -o name"), "");
}

/// A file where the new host is to have a folder: its step fails, those of others are done.
fn fails_beside_others_that_are_finished(scene: &Scene) {
    scene.cluster.host(SPARE, "echo in the way >/opt/cni");
    scene.cluster.change_host("w1", |host| host["labels"] = serde_json::json!({ "example.test/row": "1" }));
    let ran = scene.cluster.try_up();
    scene.cluster.host(SPARE, "rm /opt/cni");
    assert_eq!(ran.status.code(), Some(3), "{}", ran.report());
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.report()));
    let all = report["steps"].as_array().cloned().unwrap_or_default();
    let of = |outcome: &str| all.iter().filter(|step| step["outcome"] == outcome).cloned().collect::<Vec<_>>();
    let failed = of("failed");
    assert!(failed.len() == 1 && failed[0]["host"] == SPARE, "{report:#}");
    let remedy = failed[0]["remedy"].as_str().unwrap_or_default();
    assert!(failed[0]["cause"].to_string().contains("/opt/cni") && remedy.contains("to continue"), "{report:#}");
    let skipped = of("skipped");
    assert!(skipped.iter().any(|step| step["id"] == "agent" && step["host"] == SPARE), "{report:#}");
    assert!(of("done").iter().any(|step| step["id"] == "node-settings"), "{report:#}");
    assert_eq!(scene.kubectl.ok("get nodes -l example.test/row=1 -o name"), "node/w1\n", "others are finished");
    assert_eq!(scene.kubectl.ok("get nodes -o name").lines().count(), HOSTS.len(), "the host has not joined");
}

fn adds_and_removes_a_host(scene: &Scene) {
    let (before, bare) = (processes(scene), scene.cluster.snapshot(SPARE));
    scene.cluster.set_worker(SPARE, true);
    fails_beside_others_that_are_finished(scene);
    let report = scene.cluster.up();
    let done = steps(&report);
    assert!(!done.is_empty() && done.iter().all(|(host, _)| host == SPARE), "only the new host is changed: {done:?}");
    assert_eq!(processes(scene), before, "nothing is restarted");
    let node = scene.kubectl.json(&["get", "node", SPARE]);
    assert_eq!(condition(&node, "Ready"), "True", "{node:#}");

    scene.cluster.import_images_on(SPARE);
    scene.apply(&deployment("web", 6, 1));
    scene.rolled_out("deployment/web");
    let on_it = || scene.pods("app=web").iter().filter(|pod| pod["spec"]["nodeName"] == SPARE).count();
    assert!(on_it() > 0, "the new host gets pods");

    scene.cluster.change_host(SPARE, |host| host["state"] = "absent".into());
    let done = steps(&scene.cluster.up());
    assert_eq!(done.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>(), ["node-remove", "reset"], "{done:?}");
    assert_eq!(on_it(), 0, "its pods are elsewhere");
    scene.rolled_out("deployment/web");
    let nodes = scene.kubectl.ok("get nodes -o name");
    assert_eq!(nodes, "node/cp1\nnode/w1\nnode/w2\n");
    eventually(PATIENCE, "the host is as it was", || {
        let now = scene.cluster.snapshot(SPARE);
        if now == bare { Ok(()) } else { Err(crate::harness::differences(&bare, &now)) }
    });
    assert_eq!(steps(&scene.cluster.up()), [], "and nothing is left to do");
    scene.cluster.set_worker(SPARE, false);
    scene.cluster.change_host("w1", |host| host["labels"] = serde_json::json!({}));
    scene.cluster.up();
    scene.kubectl.ok("delete deployment/web");
    eventually(PATIENCE, "what ran before runs still, and nothing else", || {
        let now = processes(scene);
        if now == before { Ok(()) } else { Err(format!("{now:?} instead of {before:?}")) }
    });
}
