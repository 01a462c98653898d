//! What kubectl tells a person: describe, top, explain, events.

use crate::harness::{HOSTS, Scene, busybox_pod, deployment, drills, service};

drills![tell_what_things_are, show_what_nodes_and_pods_use, explain_fields, say_why_a_pod_does_not_fit];

fn tell_what_things_are(scene: &Scene) {
    scene.apply(&[deployment("web", 2, 1), service("web", "ClusterIP")].concat());
    scene.rolled_out("deployment/web");
    let said = |what: &str, parts: &[&str]| {
        let described = scene.kubectl.ok(&format!("describe {what}"));
        for part in parts {
            assert!(described.contains(part), "`{part}` is missing in\n{described}");
        }
    };
    scene.until("the pod's events are told", "describe pods --selector app=web", |said| {
        ["Scheduled", "Pulled", "Created", "Started"].iter().all(|reason| said.contains(reason)).then_some(())
    });
    said("pods --selector app=web", &["Node:", "IP:", "rkctl.local/web:1", "Ready:          True", "QoS Class:"]);
    said("deployment web", &["2 desired | 2 updated | 2 total | 2 available", "RollingUpdate", "ScalingReplicaSet"]);
    said("service web", &["Endpoints:", ":8080", "TargetPort:               http/TCP"]);
    said(
        "node w1",
        &["Allocated resources:", "MemoryPressure", "HolderIdentity:  w1", "Non-terminated Pods:", "PodCIDR:"],
    );
    let events = scene.kubectl.ok("get events");
    assert!(events.contains("SuccessfulCreate") && events.contains("replicaset/web-"), "{events}");
}

fn show_what_nodes_and_pods_use(scene: &Scene) {
    scene.apply(&busybox_pod("busy", None));
    scene.ready("pod/busy");
    let nodes = scene.until("the figures of all nodes", "top nodes", |said| {
        HOSTS.iter().all(|host| said.lines().any(|line| line.starts_with(host))).then(|| said.to_owned())
    });
    for line in nodes.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_figure =
            |word: &str, unit: &str| word.strip_suffix(unit).is_some_and(|n| n.parse::<u64>().is_ok_and(|n| n > 0));
        assert!(words.len() == 5 && is_figure(words[1], "m") && is_figure(words[3], "Mi"), "{nodes}");
    }
    scene.until("the figures of the drill's pod", "top pods", |said| {
        // NAME CPU(cores) MEMORY(bytes)
        let is_it = |line: &str| line.starts_with("busy ") && line.trim_end().ends_with("Mi");
        said.lines().any(is_it).then_some(())
    });
    let containers = scene.kubectl.ok("top pods --containers --namespace kube-system");
    assert!(containers.lines().any(|line| line.contains("dns")), "{containers}");
}

fn explain_fields(scene: &Scene) {
    let strategy = scene.kubectl.ok("explain deployment.spec.strategy");
    assert!(strategy.contains("rollingUpdate") && strategy.contains("GROUP:      apps"), "{strategy}");
    let all = scene.kubectl.ok("explain pod.spec.containers --recursive");
    assert!(all.contains("imagePullPolicy") && all.contains("securityContext"), "{all}");
    let resources = scene.kubectl.ok("api-resources --namespaced=true");
    assert!(resources.contains("deployments") && resources.contains("networking.k8s.io/v1"), "{resources}");
}

const TOO_LARGE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: large}
spec:
  containers:
    - {name: large, image: 'rkctl.local/busybox:1', imagePullPolicy: Never, resources: {requests: {memory: 100Ti}}}
";

fn say_why_a_pod_does_not_fit(scene: &Scene) {
    scene.apply(TOO_LARGE);
    scene.until("an event says why", "describe pod large", |said| {
        (said.contains("FailedScheduling") && said.contains("Insufficient memory")).then_some(())
    });
    let phase = scene.kubectl.ok("get pod large -o jsonpath={.status.phase}");
    assert_eq!(phase, "Pending");
}
