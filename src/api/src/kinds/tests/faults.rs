//! What is refused, kind by kind.

use super::*;

fn refused(cases: &[(&str, Value, &[&str])]) {
    for (plural, body, expected) in cases {
        assert_eq!(&create(plural, body.clone()).1, expected, "{plural} {body}");
    }
}

fn with_spec(base: Value, spec: Value) -> Value {
    let mut object = base;
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

#[test]
fn workloads() {
    refused(&[
        (
            "deployments",
            with_spec(workload(), json!({"selector": {"matchLabels": {"app": "y"}}})),
            &[
                "spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`",
            ],
        ),
        (
            "deployments",
            with_spec(workload(), json!({"replicas": -1})),
            &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            "deployments",
            with_spec(workload(), json!({"strategy": {"type": "Recreate", "rollingUpdate": {}}})),
            &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
        (
            "deployments",
            with_spec(workload(), json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}})),
            &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
        ),
        (
            "deployments",
            with_spec(workload(), json!({"minReadySeconds": 600})),
            &["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
        ),
        (
            "daemonsets",
            with_spec(workload(), json!({"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}})),
            &[
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
            ],
        ),
        (
            "jobs",
            json!({"spec": {"template": template()}}),
            &["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
        ),
        (
            "cronjobs",
            json!({"spec": {"schedule": "nope", "jobTemplate": {"spec": {"template": {"spec":
            {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}),
            &["spec.schedule: Invalid value: \"nope\": expected exactly 5 fields, found 1: [\"nope\"]"],
        ),
    ]);
}

#[test]
fn objects_that_say_nothing() {
    let mismatch = "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`";
    let containers = "spec.template.spec.containers: Required value";
    for body in [json!({}), json!({"spec": {}}), json!({"spec": null}), json!({"spec": {"template": {}}})] {
        let workload = &["spec.selector: Required value", mismatch, containers][..];
        refused(&[
            ("deployments", body.clone(), workload),
            ("replicasets", body.clone(), workload),
            ("statefulsets", body.clone(), workload),
            // Kubernetes asks for no selector here.
            ("daemonsets", body.clone(), &[mismatch, containers]),
            (
                "jobs",
                body.clone(),
                &[
                    containers,
                    "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
                ],
            ),
        ]);
    }
    refused(&[
        ("pods", json!({}), &["spec.containers: Required value"]),
        ("services", json!({}), &["spec.ports: Required value"]),
        // A template that is a pointer is not made up.
        ("replicationcontrollers", json!({}), &["spec.selector: Required value", "spec.template: Required value"]),
        ("podtemplates", json!({}), &["template.spec.containers: Required value"]),
        (
            "cronjobs",
            json!({}),
            &[
                "spec.schedule: Required value",
                "spec.jobTemplate.spec.template.spec.containers: Required value",
                "spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ],
        ),
        (
            "persistentvolumeclaims",
            json!({}),
            &[
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ],
        ),
        (
            "rolebindings",
            json!({}),
            &[
                "roleRef.kind: Unsupported value: \"\": supported values: \"Role\", \"ClusterRole\"",
                "roleRef.name: Required value",
            ],
        ),
    ]);
}

#[test]
fn ports_on_the_network_of_hosts() {
    let on_host = |port: Value| {
        let mut object = workload();
        object["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
        object["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([port]);
        object
    };
    let path = "spec.template.spec.containers[0].ports[0].hostPort";
    refused(&[
        // What is missing is filled in when a pod is made of the template.
        ("daemonsets", on_host(json!({"containerPort": 80})), &[]),
        ("daemonsets", on_host(json!({"containerPort": 80, "hostPort": 80})), &[]),
        (
            "daemonsets",
            on_host(json!({"containerPort": 80, "hostPort": 81})),
            &[&format!("{path}: Invalid value: 81: must match `containerPort` when `hostNetwork` is true")],
        ),
    ]);
}

#[test]
fn configuration_and_rights() {
    let rule = |rule: Value| json!({"rules": [rule]});
    let binding = |role: Value, subject: Value| json!({"roleRef": role, "subjects": [subject]});
    let role = json!({"kind": "Role", "name": "r"});
    refused(&[
        (
            "configmaps",
            json!({"data": {"a": "1"}, "binaryData": {"a": "MQ=="}}),
            &["data[a]: Invalid value: \"a\": duplicate of key present in binaryData"],
        ),
        ("secrets", json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}), &["data[tls.key]: Required value"]),
        (
            "roles",
            rule(json!({"apiGroups": [""], "resources": ["pods"]})),
            &["rules[0].verbs: Required value: verbs must contain at least one value"],
        ),
        (
            "roles",
            rule(json!({"verbs": ["get"], "nonResourceURLs": ["/x"]})),
            &["rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs"],
        ),
        ("clusterroles", rule(json!({"verbs": ["get"], "nonResourceURLs": ["/x"]})), &[]),
        ("rolebindings", binding(role.clone(), json!({"kind": "User", "name": "u"})), &[]),
        (
            "rolebindings",
            binding(role.clone(), json!({"kind": "ServiceAccount", "name": "u"})),
            &["subjects[0].namespace: Required value"],
        ),
        (
            "clusterrolebindings",
            binding(role, json!({"kind": "Group", "name": "g"})),
            &["roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""],
        ),
        (
            "certificatesigningrequests",
            json!({"spec": {"request": "eA==", "signerName": "x"}}),
            &[
                "spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST",
                "spec.usages: Required value: usages are required",
                "spec.signerName: Invalid value: \"x\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
            ],
        ),
        (
            "leases",
            json!({"spec": {"leaseDurationSeconds": 0}}),
            &["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        ),
        (
            "priorityclasses",
            json!({"value": 2_000_000_000}),
            &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
        ),
        (
            "nodes",
            json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}, {"key": "k", "effect": "NoSchedule"}]}}),
            &[
                "spec.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"k\"}: taints must be unique by key and effect pair",
            ],
        ),
        (
            "nodes",
            json!({"spec": {"taints": [{"key": "k", "effect": "Never"}]}}),
            &[
                "spec.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            ],
        ),
    ]);
}

#[test]
fn networks_and_storage() {
    let slice = |addresses: Value| json!({"addressType": "IPv4", "endpoints": [{"addresses": addresses}]});
    let path = |path: Value| json!({"spec": {"rules": [{"http": {"paths": [path]}}]}});
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    refused(&[
        (
            "endpointslices",
            slice(json!([])),
            &["endpoints[0].addresses: Required value: must contain at least 1 address"],
        ),
        (
            "endpointslices",
            slice(json!(["::1"])),
            &["endpoints[0].addresses[0]: Invalid value: \"::1\": must be a valid IPv4 address"],
        ),
        (
            "endpointslices",
            slice(json!(["127.0.0.1"])),
            &[
                "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ],
        ),
        (
            "endpoints",
            json!({"subsets": [{}]}),
            &["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"],
        ),
        (
            "ingresses",
            json!({"spec": {}}),
            &["spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified"],
        ),
        (
            "ingresses",
            path(json!({"path": "x", "pathType": "Prefix", "backend": backend})),
            &["spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path"],
        ),
        (
            "ingresses",
            path(json!({"path": "/", "backend": {}})),
            &["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"],
        ),
        (
            "ingresses",
            path(json!({"path": "/", "pathType": "Exact", "backend": {}})),
            &["spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required"],
        ),
        (
            "networkpolicies",
            json!({"spec": {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]}}),
            &[
                "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
            ],
        ),
        (
            "persistentvolumeclaims",
            json!({"spec": {}}),
            &[
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ],
        ),
        (
            "persistentvolumes",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}}),
            &["spec: Required value: must specify a volume type"],
        ),
        ("storageclasses", json!({}), &["provisioner: Required value"]),
        (
            "poddisruptionbudgets",
            json!({"spec": {"minAvailable": 1, "maxUnavailable": "101%"}}),
            &[
                "spec: Invalid value: {\"maxUnavailable\":\"101%\",\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set",
                "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
            ],
        ),
    ]);
}

#[test]
fn what_may_not_change() {
    let immutable = |path: &str, shown: &str| vec![format!("{path}: Invalid value: {shown}: field is immutable")];
    let relabel = |object: &mut Value| {
        object["spec"]["selector"]["matchLabels"]["tier"] = json!("t");
        object["spec"]["template"]["metadata"]["labels"]["tier"] = json!("t");
    };
    let shown = "{\"matchLabels\":{\"app\":\"x\",\"tier\":\"t\"}}";
    for plural in ["deployments", "replicasets", "daemonsets"] {
        assert_eq!(update(plural, workload(), relabel), immutable("spec.selector", shown), "{plural}");
    }
    assert_eq!(
        update("statefulsets", workload(), |object| object["spec"]["serviceName"] = json!("s")),
        ["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
             'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are \
             forbidden"]
    );
    assert_eq!(
        update("configmaps", json!({"immutable": true, "data": {"a": "1"}}), |object| object["data"]["a"] = json!("2")),
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
    assert_eq!(update("secrets", json!({}), |object| object["type"] = json!("t")), immutable("type", "\"t\""));
    let binding = json!({"roleRef": {"kind": "Role", "name": "r"}});
    assert_eq!(
        update("rolebindings", binding, |object| object["roleRef"]["name"] = json!("s")),
        [
            "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"s\"}: cannot change roleRef"
        ]
    );
    assert!(update("deployments", workload(), |object| object["spec"]["replicas"] = json!(3)).is_empty());
}
