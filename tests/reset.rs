//! `rkctl reset`: hosts as they were, and good for a cluster again. The last drill, since the cluster is gone then.

use testkit::eventually;

use crate::harness::{HOSTS, PATIENCE, Scene, condition, deployment, differences, drills, names};

drills![leaves_hosts_as_they_were_and_up_works_again];

fn leaves_hosts_as_they_were_and_up_works_again(scene: &Scene) {
    scene.apply(&deployment("web", 2, 1));
    scene.rolled_out("deployment/web");
    let said = scene.cluster.reset();
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
