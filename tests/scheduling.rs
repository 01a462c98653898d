//! Nodes that are tainted, cordoned and drained. They change where everybody's pods may run, so they are alone.

use serde_json::Value;
use testkit::eventually;

use crate::harness::{PATIENCE, Scene, busybox_pod, deployment, drills};

drills![taints_evict, cordoned_nodes_get_no_pods, drained_nodes_are_empty, labels_attract];

/// Gives the node back as it was, however the drill ends.
struct Restored<'a>(&'a Scene, &'static str);

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        for words in ["uncordon NODE", "taint node NODE drill-", "label node NODE drill-"] {
            let _was_so = self.0.kubectl.run(&words.replace("NODE", self.1));
        }
    }
}

/// Where the running pods of a label are.
fn nodes_of(scene: &Scene, selector: &str) -> Vec<String> {
    let is_up = |pod: &&Value| pod["status"]["phase"] == "Running";
    let pods = scene.pods(selector);
    pods.iter().filter(is_up).map(|pod| pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()).collect()
}

fn all_on(scene: &Scene, selector: &str, node: &str, count: usize) {
    eventually(PATIENCE, &format!("{count} pods with {selector} run on {node}"), || {
        let found = nodes_of(scene, selector);
        if found == vec![node; count] { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

fn taints_evict(scene: &Scene) {
    let _restored = Restored(scene, "w1");
    let tolerates = "tolerations: [{key: drill, operator: Exists}]\n  containers:";
    let brave = busybox_pod("brave", Some("w1")).replace("containers:", tolerates);
    scene.apply(&[deployment("web", 4, 1), busybox_pod("timid", Some("w1")), brave].concat());
    scene.rolled_out("deployment/web");
    scene.ready("pod/timid");
    scene.ready("pod/brave");
    let uid = scene.pod("brave")["metadata"]["uid"].clone();
    scene.kubectl.ok("taint node w1 drill=yes:NoExecute");
    scene.kubectl.ok("wait --for=delete pod/timid --timeout=60s");
    all_on(scene, "app=web", "w2", 4);
    assert_eq!(scene.pod("brave")["metadata"]["uid"], uid, "who tolerates it stays");
    scene.kubectl.ok("taint node w1 drill-");
    scene.apply(&busybox_pod("timid", Some("w1")));
    scene.ready("pod/timid");
}

fn cordoned_nodes_get_no_pods(scene: &Scene) {
    let _restored = Restored(scene, "w1");
    scene.apply(&busybox_pod("before", Some("w1")));
    scene.ready("pod/before");
    assert_eq!(scene.kubectl.ok("cordon w1"), "node/w1 cordoned\n");
    let nodes = scene.kubectl.ok("get nodes");
    assert!(nodes.lines().any(|line| line.starts_with("w1 ") && line.contains("Ready,SchedulingDisabled")), "{nodes}");
    scene.apply(&deployment("web", 3, 1));
    all_on(scene, "app=web", "w2", 3);
    scene.ready("pod/before");
    scene.apply(&busybox_pod("waits", Some("w1")));
    scene.until("the event says why it waits", "describe pod waits", |said| {
        said.contains("unschedulable").then_some(())
    });
    scene.kubectl.ok("uncordon w1");
    scene.ready("pod/waits");
}

fn drained_nodes_are_empty(scene: &Scene) {
    let _restored = Restored(scene, "w1");
    scene.apply(&[deployment("web", 4, 1), busybox_pod("bare", Some("w1"))].concat());
    scene.rolled_out("deployment/web");
    scene.ready("pod/bare");
    let drain = "drain w1 --ignore-daemonsets --delete-emptydir-data --timeout=90s";
    let refused = scene.kubectl.err(drain);
    assert!(refused.contains("bare") && refused.contains("--force"), "{refused}");
    let said = scene.kubectl.ok(&format!("{drain} --force"));
    assert!(said.contains("node/w1 drained"), "{said}");
    all_on(scene, "app=web", "w2", 4);
    let left = scene.kubectl.ok("get pods --all-namespaces --field-selector spec.nodeName=w1 -o name");
    assert!(left.lines().all(|pod| pod.starts_with("pod/ingress-")), "only DaemonSets' pods are left: {left}");
    scene.kubectl.ok("uncordon w1");
    scene.kubectl.ok("rollout restart deployment/web");
    scene.rolled_out("deployment/web");
    eventually(PATIENCE, "the node gets pods again", || nodes_of(scene, "app=web").iter().any(|node| node == "w1"));
    let system = scene.cluster.kubectl().namespace("kube-system");
    system.ok("rollout status deployment/dns --timeout=60s");
    system.ok("rollout status deployment/metrics --timeout=60s");
}

fn labels_attract(scene: &Scene) {
    let _restored = Restored(scene, "w2");
    let choosy = busybox_pod("choosy", Some("w2")).replace("kubernetes.io/hostname: w2", "drill: 'here'");
    scene.apply(&choosy);
    scene
        .until("no node is as it wants", "describe pod choosy", |said| said.contains("FailedScheduling").then_some(()));
    scene.kubectl.ok("label node w2 drill=here");
    scene.ready("pod/choosy");
    assert_eq!(scene.pod("choosy")["spec"]["nodeName"], "w2");
    let nodes = scene.kubectl.ok("get nodes -l drill=here -o name");
    assert_eq!(nodes, "node/w2\n");
}
