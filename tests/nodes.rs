//! Nodes and the pods that the cluster itself is made of.

use serde_json::Value;

use crate::harness::{HOSTS, Scene, condition, drills, names};

drills![are_ready_with_versions_and_addresses, run_the_system_pods];

fn are_ready_with_versions_and_addresses(scene: &Scene) {
    let nodes = scene.kubectl.json("get nodes")["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(names(&nodes), HOSTS);
    for node in &nodes {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        assert_eq!(condition(node, "Ready"), "True", "{node:#}");
        let info = &node["status"]["nodeInfo"];
        assert!(info["kubeletVersion"].as_str().is_some_and(|version| version.starts_with('v')), "{info:#}");
        let address = |kind: &str| {
            let addresses = node["status"]["addresses"].as_array().cloned().unwrap_or_default();
            addresses.iter().find(|address| address["type"] == kind).map(|address| address["address"].clone())
        };
        assert_eq!(address("InternalIP"), Some(Value::from(scene.cluster.address(name))), "{node:#}");
        assert_eq!(address("Hostname"), Some(Value::from(name)), "{node:#}");
    }
    let wide = scene.kubectl.ok("get nodes -o wide");
    let heads = ["NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION"];
    assert!(heads.iter().all(|head| wide.contains(head)), "{wide}");
    let line = wide.lines().find(|line| line.starts_with("cp1 ")).unwrap_or_default();
    assert!(line.contains("control-plane") && line.contains("containerd://"), "{wide}");
    assert!(line.contains("Debian") && line.contains(scene.cluster.address("cp1")), "{wide}");
}

fn run_the_system_pods(scene: &Scene) {
    let system = scene.cluster.kubectl().namespace("kube-system");
    for what in ["deployment/dns", "deployment/metrics", "daemonset/ingress"] {
        system.ok(&["rollout", "status", what, "--timeout=60s"]);
    }
    let pods = system.json("get pods")["items"].as_array().cloned().unwrap_or_default();
    for pod in &pods {
        assert_eq!(pod["status"]["phase"], "Running", "{pod:#}");
        assert_eq!(condition(pod, "Ready"), "True", "{pod:#}");
    }
    let of = |app: &str| pods.iter().filter(|pod| pod["metadata"]["labels"]["k8s-app"] == app).count();
    assert_eq!((of("kube-dns"), of("metrics"), of("ingress")), (2, 1, 3), "{:?}", names(&pods));
}
