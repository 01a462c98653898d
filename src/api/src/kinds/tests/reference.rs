//! What a reference server of Kubernetes was seen to do with the same objects: what it keeps of them, and what it
//! refuses. These rows are what differed and was mended.

use super::*;

/// The part of a new object at `place` (a JSON pointer).
fn kept(cases: &[(&str, Value, &str, Value)]) {
    for (plural, body, place, expected) in cases {
        let (object, errors) = create(plural, body.clone());
        assert_eq!(errors, Vec::<String>::new(), "{plural} {body}");
        assert_eq!(object.pointer(place).unwrap_or(&Value::Null), expected, "{plural} {body} {place}");
    }
}

fn pod(more: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "a", "image": "i"}]});
    more.as_object().into_iter().flatten().for_each(|(key, value)| spec[key] = value.clone());
    json!({"spec": spec})
}

#[test]
fn new_objects() {
    let service = |spec: Value| json!({"spec": spec});
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    kept(&[
        // A range of addresses is in both fields, whichever is sent.
        ("nodes", json!({"spec": {"podCIDR": "10.1.0.0/24"}}), "/spec/podCIDRs", json!(["10.1.0.0/24"])),
        ("nodes", json!({"spec": {"podCIDRs": ["10.1.0.0/24"]}}), "/spec/podCIDR", json!("10.1.0.0/24")),
        (
            "nodes",
            json!({"spec": {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.2.0.0/24", "fd00::/64"]}}),
            "/spec/podCIDRs",
            json!(["10.1.0.0/24"]),
        ),
        (
            "services",
            service(json!({"ports": [{"port": 80}], "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}})),
            "/spec/sessionAffinityConfig",
            Value::Null,
        ),
        ("pods", pod(json!({"hostNetwork": false, "nodeSelector": {}})), "/spec/hostNetwork", Value::Null),
        ("pods", pod(json!({"hostNetwork": false, "nodeSelector": {}})), "/spec/nodeSelector", Value::Null),
        ("pods", pod(json!({"shareProcessNamespace": false})), "/spec/shareProcessNamespace", json!(false)),
        (
            "rolebindings",
            json!({"roleRef": {"apiGroup": "", "kind": "Role", "name": "r"}}),
            "/roleRef/apiGroup",
            json!("rbac.authorization.k8s.io"),
        ),
        (
            "csidrivers",
            json!({"metadata": {"name": "a.b"}, "spec": {"volumeLifecycleModes": []}}),
            "/spec/volumeLifecycleModes",
            json!(["Persistent"]),
        ),
        ("clusterroles", json!({"rules": rules, "aggregationRule": null}), "/aggregationRule", Value::Null),
        (
            "replicationcontrollers",
            json!({"spec": {"selector": {}, "template": template()}}),
            "/spec/selector",
            json!({"app": "x"}),
        ),
    ]);
}

#[test]
fn refusals() {
    let cases: [(&str, Value, &[&str]); 5] = [
        (
            "clusterroles",
            json!({"aggregationRule": {}}),
            &[
                "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil",
            ],
        ),
        ("controllerrevisions", json!({"revision": 1}), &["data: Required value: data is mandatory"]),
        (
            "controllerrevisions",
            json!({"revision": -1, "data": {}}),
            &["revision: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            "csidrivers",
            json!({"spec": {"volumeLifecycleModes": ["Persistent", "Sometimes"]}}),
            &[
                "spec.volumeLifecycleModes: Unsupported value: \"Sometimes\": supported values: \"Ephemeral\", \"Persistent\"",
            ],
        ),
        (
            "nodes",
            json!({"spec": {"podCIDR": "x"}}),
            &[
                "spec.podCIDRs[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ],
        ),
    ];
    for (plural, body, expected) in cases {
        assert_eq!(create(plural, body.clone()).1, expected, "{plural} {body}");
    }
}

/// Names that other kinds may not have: whoever makes these objects derives their names from those of others.
#[test]
fn names() {
    for plural in ["events", "certificatesigningrequests", "poddisruptionbudgets", "clusterroles"] {
        let all = crate::registry().resources().iter();
        let rule = all.into_iter().find(|found| found.plural == plural).expect("served").name_rule;
        for name in ["system:node:a.17a", "node-csr-Ab_c", "UPPER"] {
            assert_eq!(rule(name), Vec::<String>::new(), "{plural} {name}");
        }
        assert!(!rule("a/b").is_empty(), "{plural}");
    }
}

/// Which kinds take finalizers that name no domain.
#[test]
fn finalizers() {
    for resource in crate::registry().resources().iter().filter(|resource| resource.has_verb("get")) {
        let free = match (&*resource.group_version.group, &*resource.plural) {
            ("admissionregistration.k8s.io" | "apiextensions.k8s.io" | "apiregistration.k8s.io", _) => true,
            ("coordination.k8s.io" | "node.k8s.io", _) => true,
            (group, plural) => matches!((group, plural), ("", "events") | ("policy", "poddisruptionbudgets")),
        };
        let object = json!({"metadata": {"name": "x", "finalizers": ["keep.example.com"]}});
        let errors: Vec<String> = validate_create(resource, &object).iter().map(ToString::to_string).collect();
        let refused = "metadata.finalizers[0]: Invalid value: \"keep.example.com\": name is neither a standard finalizer \
                       name nor is it fully qualified";
        assert_eq!(errors.iter().any(|error| error == refused), !free, "{}: {errors:?}", resource.plural);
    }
}

/// What a status has from the beginning: clients of typed languages refuse an object without it.
#[test]
fn statuses() {
    for (plural, expected) in [
        ("replicasets", json!({"replicas": 0})),
        ("statefulsets", json!({"replicas": 0})),
        ("replicationcontrollers", json!({"replicas": 0})),
        (
            "daemonsets",
            json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0}),
        ),
        (
            "poddisruptionbudgets",
            json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}),
        ),
        ("volumeattachments", json!({"attached": false})),
        ("ingresses", json!({"loadBalancer": {}})),
        ("deployments", json!({})),
    ] {
        let completed = complete(resource(plural), json!({"metadata": {"name": "x"}, "status": {}}));
        assert_eq!(completed["status"], expected, "{plural}");
    }
}

#[test]
fn generations_count_what_controllers_follow() {
    let deployments = resource("deployments");
    let base = json!({"metadata": {"name": "x", "generation": 3, "annotations": {"a": "b"}}, "spec": {"replicas": 1}});
    let with = |pointer: &str, value: Value| {
        let mut object = base.clone();
        *object.pointer_mut(pointer).expect("a place") = value;
        object
    };
    for (changed, generation) in [
        (base.clone(), 3),
        (with("/spec/replicas", json!(2)), 4),
        (with("/metadata/annotations", json!({"a": "c"})), 4),
        (with("/metadata/annotations", json!({})), 4),
        (with("/metadata/name", json!("x")), 3),
    ] {
        let mut object = changed;
        deployments.behaviour.prepare_update(&mut object, &base);
        assert_eq!(object["metadata"]["generation"], generation, "{object}");
    }
    // What else has annotations does not hand them on.
    let mut object = with("/metadata/annotations", json!({"a": "c"}));
    resource("replicasets").behaviour.prepare_update(&mut object, &base);
    assert_eq!(object["metadata"]["generation"], 3);
}
