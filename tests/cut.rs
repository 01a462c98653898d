//! A worker that is cut off from the network while its pods run on.

use serde_json::Value;
use testkit::eventually;

use crate::faults::{LOST_BOUND, node_is};
use crate::harness::{PATIENCE, Scene, busybox_pod, condition, deployment, drills, get_many, service};

drills![a_cut_worker_is_replaced_and_comes_back];

/// Pods of the drill leave a lost node at once; the default is five minutes.
const IMPATIENT: &str = "tolerations:
        - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
        - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      containers:";

/// Heals the host, however the drill ends.
struct Healed<'a>(&'a Scene);

impl Drop for Healed<'_> {
    fn drop(&mut self) {
        self.0.cluster.host_verb("heal", "w2");
    }
}

fn a_cut_worker_is_replaced_and_comes_back(scene: &Scene) {
    let web = deployment("web", 4, 1).replace("containers:", IMPATIENT);
    scene.apply(&[web, service("web", "NodePort")].concat());
    scene.rolled_out("deployment/web");
    let on_w2 = |pods: &[Value]| pods.iter().filter(|pod| pod["spec"]["nodeName"] == "w2").count();
    assert!(on_w2(&scene.pods("app=web")) > 0, "some pods are on the worker that is cut off");
    let port = scene.kubectl.ok("get service web -o jsonpath={.spec.ports[0].nodePort}");
    let url = format!("http://{}:{port}/", scene.cluster.address("w1"));
    let healed = Healed(scene);
    scene.cluster.host_verb("cut", "w2");
    node_is(scene, "w2", "Unknown", LOST_BOUND);
    let nodes = scene.kubectl.ok("get nodes");
    assert!(nodes.lines().any(|line| line.starts_with("w2 ") && line.contains("NotReady")), "{nodes}");
    eventually(LOST_BOUND, "four pods are Ready on the other worker", || {
        let pods = scene.pods("app=web");
        let ready = pods.iter().filter(|pod| pod["spec"]["nodeName"] == "w1" && condition(pod, "Ready") == "True");
        let count = ready.count();
        if count == 4 { Ok(()) } else { Err(scene.kubectl.ok("get pods -o wide")) }
    });
    eventually(PATIENCE, "the service answers without the lost pods", || get_many(&url, 20));
    drop(healed);
    node_is(scene, "w2", "True", PATIENCE);
    eventually(PATIENCE, "the lost pods are gone, from the API and from their host", || {
        let list = scene.kubectl.ok("get pods --no-headers -o wide");
        let running = scene.cluster.host(
            "w2",
            "ctr -n k8s.io tasks ls -q | wc -l; ctr -n k8s.io containers ls | grep -c rkctl.local/web || true",
        );
        let gone = list.lines().count() == 4 && !list.contains(" w2 ") && running.lines().last() == Some("0");
        if gone { Ok(()) } else { Err(format!("{list}\n{running}")) }
    });
    scene.apply(&busybox_pod("again", Some("w2")));
    scene.ready("pod/again");
}
