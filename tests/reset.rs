//! `rkctl reset`: hosts as they were, and good for a cluster again. The last drill, since the cluster is gone then.

use std::io::Write as _;
use std::time::Duration;

use testkit::eventually;

use crate::harness::{
    HOSTS, PATIENCE, Running, Scene, condition, deployment, differences, drills, names, on_a_terminal,
};

drills![wants_the_name_of_the_cluster, leaves_hosts_as_they_were_and_up_works_again];

const BOUND: Duration = Duration::from_secs(120);

/// `reset` on a terminal, asked and answered; its exit code and what it said.
fn answer(scene: &Scene, name: &str) -> (Option<i32>, String) {
    let mut session = Running::start(on_a_terminal(scene.cluster.command("reset", &[])));
    let mut keys = session.stdin();
    session.wait_for(PATIENCE, "it asks", |said| said.contains("Type the cluster's name to go on: ").then_some(()));
    writeln!(keys, "{name}").expect("it reads");
    let status = session.wait_for_end(BOUND);
    (status.code(), session.said())
}

fn wants_the_name_of_the_cluster(scene: &Scene) {
    let nobody = scene.cluster.rkctl("reset", &[], BOUND);
    assert_eq!(nobody.status.code(), Some(2), "{}", nobody.report());
    assert!(nobody.stderr.contains("nobody can be asked here: give --yes"), "{}", nobody.report());
    for wrong in ["drill", "y", ""] {
        let (code, said) = answer(scene, wrong);
        assert!(said.contains("removes everything of the cluster drills from cp1, w1, w2"), "{said}");
        assert!(code == Some(2) && said.contains("that is not its name; nothing was done"), "{code:?} {said}");
    }
    assert_eq!(scene.cluster.plan()["plan"]["steps"], serde_json::json!([]), "nothing was done");
}

fn leaves_hosts_as_they_were_and_up_works_again(scene: &Scene) {
    scene.apply(&deployment("web", 2, 1));
    scene.rolled_out("deployment/web");
    let (code, said) = answer(scene, "drills");
    assert_eq!(code, Some(0), "{said}");
    for host in HOSTS {
        assert!(said.contains(&format!("{host}: as it was before rkctl")), "{said}");
        eventually(PATIENCE, &format!("{host} is as it was"), || {
            let (before, now) = (scene.cluster.before(host), scene.cluster.snapshot(host));
            if now == before { Ok(()) } else { Err(differences(&before, &now)) }
        });
    }
    let again = scene.cluster.reset();
    assert!(again.contains("cp1: as it was before rkctl"), "a second reset has nothing to do and says so: {again}");

    scene.cluster.up();
    scene.cluster.import_images();
    let nodes = scene.kubectl.json("get nodes")["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(names(&nodes), HOSTS);
    assert!(nodes.iter().all(|node| condition(node, "Ready") == "True"));
    let all = scene.cluster.kubectl();
    let namespaces = all.ok("get namespaces -o name");
    assert!(!namespaces.contains(&scene.namespace), "nothing of the old cluster is there: {namespaces}");
    all.ok(&["create", "namespace", &scene.namespace]);
    scene.eventually("the default service account is there", "get serviceaccount default");
    scene.apply(&deployment("web", 2, 1));
    scene.rolled_out("deployment/web");
}
