//! Hosts that do not answer: cut off from the network, or dead for good.

use serde_json::Value;
use testkit::eventually;

use crate::harness::{HOSTS, PATIENCE, SPARE, Scene, condition, differences, drills};

drills![a_host_that_is_cut_off_is_skipped_and_a_dead_one_leaves];

/// Gives back host and inventory, however the drill ends.
struct GivenBack<'a>(&'a Scene);

impl Drop for GivenBack<'_> {
    fn drop(&mut self) {
        let cluster = &self.0.cluster;
        cluster.start_hosts();
        cluster.host_verb("heal", SPARE);
        cluster.set_worker(SPARE, true);
        cluster.change_host(SPARE, |host| host["state"] = "absent".into());
        let _left = cluster.try_up();
        cluster.set_worker(SPARE, false);
        cluster.change_spec(|spec| _ = spec.as_object_mut().and_then(|spec| spec.remove("options")));
        for worker in ["w1", "w2"] {
            cluster.change_host(worker, |host| host["labels"] = serde_json::json!({}));
        }
    }
}

fn ids(report: &Value, host: &str) -> Vec<String> {
    let steps = report["steps"].as_array().cloned().unwrap_or_default();
    let own = steps.iter().filter(|step| step["host"] == host);
    own.map(|step| step["id"].as_str().unwrap_or_default().to_owned()).collect()
}

fn nodes(scene: &Scene) -> Vec<String> {
    scene.kubectl.ok("get nodes -o name").lines().map(|node| node.trim_start_matches("node/").to_owned()).collect()
}

fn a_host_that_is_cut_off_is_skipped_and_a_dead_one_leaves(scene: &Scene) {
    let cluster = &scene.cluster;
    let bare = cluster.snapshot(SPARE);
    let _given_back = GivenBack(scene);
    cluster.set_worker(SPARE, true);
    // It will not answer: nobody needs to wait for it for long.
    cluster.change_host(SPARE, |host| host["ssh"] = serde_json::json!({ "connectTimeout": "3s" }));

    cluster.host_verb("cut", SPARE);
    let failed = cluster.rkctl("plan", &[], PATIENCE);
    assert_eq!(failed.status.code(), Some(3), "without the option it is a failure: {}", failed.report());
    cluster.change_host("w2", |host| host["labels"] = serde_json::json!({ "example.test/rack": "b" }));
    let failed = cluster.try_up();
    assert_eq!(failed.status.code(), Some(3), "and so it is of up: {}", failed.report());
    assert!(failed.stdout.contains("w3: cannot be reached: "), "{}", failed.report());
    assert_eq!(scene.kubectl.ok("get nodes -l example.test/rack=b -o name"), "node/w2\n", "others are finished");
    cluster.change_host("w1", |host| host["labels"] = serde_json::json!({ "example.test/rack": "a" }));
    cluster.change_spec(|spec| spec["options"] = serde_json::json!({ "unreachable": "skip" }));
    let report = cluster.up();
    assert_eq!(ids(&report, SPARE), Vec::<String>::new(), "{report:#}");
    assert_eq!(report["wrong"], serde_json::json!([]), "{report:#}");
    let skipped = report["skipped"][0].as_str().unwrap_or_default();
    assert!(skipped.starts_with("w3: cannot be reached: ") && skipped.ends_with("; it has not joined"), "{skipped}");
    assert_eq!(scene.kubectl.ok("get nodes -l example.test/rack=a -o name"), "node/w1\n", "others are finished");
    let said = cluster.rkctl("plan", &[], PATIENCE).ok();
    assert!(said.contains("Nothing to do on hosts that answered. 1 host could not be looked at"), "{said}");

    cluster.host_verb("heal", SPARE);
    let report = cluster.up();
    assert_eq!(report["skipped"], serde_json::json!([]), "{report:#}");
    let node = scene.kubectl.json(&["get", "node", SPARE]);
    assert_eq!(condition(&node, "Ready"), "True", "run again, it is finished: {node:#}");

    cluster.host_verb("kill", SPARE);
    cluster.change_host(SPARE, |host| host["state"] = "absent".into());
    let report = cluster.up();
    assert_eq!(
        ids(&report, "cp1").first().map(String::as_str),
        Some("node-remove"),
        "before anything waits: {report:#}"
    );
    assert_eq!(ids(&report, SPARE), Vec::<String>::new(), "{report:#}");
    let notice = &report["notices"][0];
    assert!(notice["host"] == SPARE && notice["message"].to_string().contains("does not answer"), "{report:#}");
    assert_eq!(nodes(scene), HOSTS);

    // It was not dead for good, and its agent still knows the cluster.
    cluster.start_hosts();
    eventually(PATIENCE, "it is as it was before", || {
        let ran = cluster.try_up();
        let now = cluster.snapshot(SPARE);
        let is_gone = now == bare && nodes(scene).len() == HOSTS.len();
        if is_gone { Ok(()) } else { Err(format!("{}\n{}", differences(&bare, &now), ran.report())) }
    });
}
