use serde_json::{Value, json};

use super::super::identity::CONFIG_SOURCE;
use super::*;

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({ "metadata": { "name": "p" }, "spec": spec })).unwrap()
}

fn asks(requests: Value) -> Value {
    json!({ "containers": [{ "name": "a", "resources": { "requests": requests } }] })
}

fn serves(port: Value) -> Value {
    json!({ "containers": [{ "name": "a", "ports": [port] }] })
}

fn place() -> Place {
    let labels = [("zone".to_string(), "a".to_string()), ("cores".into(), "8".into())].into();
    let allocatable = Allocatable { milli_cpu: 2000, memory_bytes: 1 << 30, disk_bytes: 1 << 40 };
    Place { name: "w1".into(), labels, allocatable, max_pods: 3, ..Place::default() }
}

/// The pod that is there: 300m of processor and host port 8181 of all addresses.
fn there() -> Arc<Pod> {
    let mut spec = asks(json!({ "cpu": "300m" }));
    spec["containers"][0]["ports"] = json!([{ "containerPort": 80, "hostPort": 8181 }]);
    Arc::new(pod(spec))
}

#[test]
fn a_pod_is_refused_in_kubelets_words() {
    let affinity = |operator: &str, key: &str, values: Value| {
        let term = json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] });
        json!({ "containers": [], "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [term] } } } })
    };
    let cpu = "Node didn't have enough resource: cpu, requested: 1701, used: 300, capacity: 2000";
    let memory = "Node didn't have enough resource: memory, requested: 107374182400, used: 0, capacity: 1073741824";
    let selector = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    let ports = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    let sysctl =
        |name: &str| json!({ "containers": [], "securityContext": { "sysctls": [{ "name": name, "value": "1" }] } });
    let with = |mut spec: Value, field: &str| {
        spec[field] = json!(true);
        spec
    };
    let cases = [
        (asks(json!({ "cpu": "1700m" })), None),
        (asks(json!({ "cpu": "1701m" })), Some(("OutOfcpu", cpu))),
        (asks(json!({ "memory": "100Gi" })), Some(("OutOfmemory", memory))),
        (json!({ "containers": [], "nodeSelector": { "zone": "a" } }), None),
        (json!({ "containers": [], "nodeSelector": { "zone": "b" } }), Some(("NodeAffinity", selector))),
        (affinity("In", "zone", json!(["a", "b"])), None),
        (affinity("Gt", "cores", json!(["7"])), None),
        (affinity("NotIn", "zone", json!(["a"])), Some(("NodeAffinity", selector))),
        (affinity("Exists", "disk", json!([])), Some(("NodeAffinity", selector))),
        (serves(json!({ "containerPort": 80 })), None),
        (serves(json!({ "containerPort": 80, "hostPort": 8181, "protocol": "UDP" })), None),
        (serves(json!({ "containerPort": 80, "hostPort": 8181, "hostIP": "10.0.0.1" })), Some(("NodePorts", ports))),
        (sysctl("net.ipv4.ip_unprivileged_port_start"), None),
        (sysctl("net/ipv4/tcp_syncookies"), None),
        (
            sysctl("net.core.somaxconn"),
            Some(("SysctlForbidden", r#"forbidden sysctl: "net.core.somaxconn" not allowlisted"#)),
        ),
        (
            with(sysctl("net.ipv4.tcp_syncookies"), "hostNetwork"),
            Some((
                "SysctlForbidden",
                r#"forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled"#,
            )),
        ),
        (
            with(sysctl("kernel.shm_rmid_forced"), "hostIPC"),
            Some((
                "SysctlForbidden",
                r#"forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host ipc enabled"#,
            )),
        ),
        (json!({ "containers": [], "securityContext": { "supplementalGroupsPolicy": "Merge" } }), None),
        (
            json!({ "containers": [], "securityContext": { "supplementalGroupsPolicy": "Strict" } }),
            Some((
                "SupplementalGroupsPolicyNotSupported",
                "SupplementalGroupsPolicy=Strict is not supported in this node",
            )),
        ),
    ];
    for (spec, expected) in cases {
        let found = refusal(&pod(spec.clone()), &place(), &[there()]);
        let found = found.as_ref().map(|verdict| (verdict.reason.as_str(), verdict.message.as_str()));
        let expected = expected.map(|(reason, message)| (reason, format!("Pod was rejected: {message}")));
        assert_eq!(found, expected.as_ref().map(|(reason, message)| (*reason, message.as_str())), "{spec}");
    }
}

#[test]
fn a_full_node_takes_static_pods_alone() {
    let mut wanted = pod(json!({ "containers": [], "nodeSelector": { "zone": "b" } }));
    let full = [there(), there(), there()];
    assert_eq!(refusal(&wanted, &place(), &full).unwrap().reason, "OutOfpods");
    wanted.metadata.annotations = Some([(CONFIG_SOURCE.to_string(), "file".to_string())].into());
    assert_eq!(refusal(&wanted, &place(), &full), None);
}
