//! What is refused of workloads, networks, autoscalers and drivers, rule by rule.

use super::*;

fn refused(plural: &str, cases: &[(Value, &[&str])]) {
    for (body, expected) in cases {
        assert_eq!(&create(plural, body.clone()).1, expected, "{plural} {body}");
    }
}

fn with(base: &Value, fields: Value) -> Value {
    let mut object = base.clone();
    for (key, value) in fields.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}

/// A job's spec with these fields.
fn job(fields: Value) -> Value {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}});
    with(&json!({ "template": template }), fields)
}

#[test]
fn jobs() {
    let indexed = |fields: Value| json!({"spec": with(&job(json!({"completionMode": "Indexed", "completions": 3, "parallelism": 1})), fields)});
    let failing = |rule: Value| json!({"spec": job(json!({"podFailurePolicy": {"rules": [rule]}}))});
    let rule = "spec.podFailurePolicy.rules[0]";
    refused(
        "jobs",
        &[
            (
                json!({"spec": job(json!({"backoffLimitPerIndex": 1}))}),
                &["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
            ),
            (
                indexed(json!({"maxFailedIndexes": 4})),
                &[
                    "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
                    "spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions",
                ],
            ),
            (
                indexed(json!({"parallelism": 100_001})),
                &[
                    "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed",
                ],
            ),
            (
                indexed(json!({"completions": 100_001, "backoffLimitPerIndex": 1, "parallelism": 10_001})),
                &[
                    "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000",
                    "spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index",
                ],
            ),
            (
                json!({"spec": job(json!({"managedBy": "x"}))}),
                &["spec.managedBy: Invalid value: \"x\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
            ),
            (
                failing(
                    json!({"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [0, 2, 2, 1], "containerName": "d"}}),
                ),
                &[
                    &format!(
                        "{rule}.action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set"
                    ),
                    &format!(
                        "{rule}.onExitCodes.containerName: Invalid value: \"d\": must be one of the container or initContainer names in the pod template"
                    ),
                    &format!("{rule}.onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"),
                    &format!("{rule}.onExitCodes.values[2]: Duplicate value: 2"),
                    &format!("{rule}.onExitCodes.values: Invalid value: [0,2,2,1]: must be ordered"),
                ],
            ),
            (
                failing(json!({"action": "Count"})),
                &[&format!(
                    "{rule}: Invalid value: {{\"action\":\"Count\"}}: specifying one of OnExitCodes and OnPodConditions is required"
                )],
            ),
            (
                json!({"spec": job(json!({"successPolicy": {"rules": []}}))}),
                &["spec.successPolicy: Invalid value: {\"rules\":[]}: requires indexed completion mode"],
            ),
            (
                indexed(
                    json!({"successPolicy": {"rules": [{}, {"succeededIndexes": "0-1", "succeededCount": 3}, {"succeededIndexes": "1,0"}]}}),
                ),
                &[
                    "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified",
                    "spec.successPolicy.rules[1].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
                    "spec.successPolicy.rules[2].succeededIndexes: Invalid value: \"1,0\": error parsing succeededIndexes: non-increasing order, previous: 1, current: 0",
                ],
            ),
            (
                json!({"spec": job(json!({"podFailurePolicy": {"rules": []}, "podReplacementPolicy": "TerminatingOrFailed"}))}),
                &[
                    "spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \"Failed\"",
                ],
            ),
        ],
    );
    let mut long = indexed(json!({}));
    let name = "a".repeat(62);
    long["metadata"] = json!({"name": name, "namespace": "n", "uid": "u"});
    assert_eq!(
        create("jobs", long).1,
        [format!(
            "metadata.name: Invalid value: {name:?}: will not able to create pod with invalid DNS label: {name}-2"
        )]
    );
}

#[test]
fn what_may_change_of_jobs() {
    let plain = json!({"spec": job(json!({}))});
    let suspended = json!({"spec": job(json!({"suspend": true}))});
    let place = |object: &mut Value| object["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
    let errors = update("jobs", plain, place);
    assert!(
        errors[0].starts_with("spec.template: Invalid value: ") && errors[0].ends_with(": field is immutable"),
        "{errors:?}"
    );
    assert!(update("jobs", suspended.clone(), place).is_empty());
    assert!(
        update("jobs", suspended.clone(), |object| {
            object["spec"]["template"]["spec"]["affinity"] = json!({"nodeAffinity": {}});
            object["spec"]["template"]["metadata"]["annotations"] = json!({"a": "b"});
        })
        .is_empty()
    );
    let errors =
        update("jobs", suspended, |object| object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("j"));
    assert!(errors[0].ends_with(": field is immutable"), "{errors:?}");
    let indexed = json!({"spec": job(json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3}))});
    assert!(
        update("jobs", indexed.clone(), |object| {
            object["spec"]["completions"] = json!(4);
            object["spec"]["parallelism"] = json!(4);
        })
        .is_empty()
    );
    assert_eq!(
        update("jobs", indexed, |object| object["spec"]["completions"] = json!(4)),
        ["spec.completions: Invalid value: 4: can only be modified in tandem with spec.parallelism"]
    );
}

#[test]
fn cron_jobs() {
    let cron = |fields: Value| json!({"spec": with(&json!({"schedule": "* * * * *", "jobTemplate": {"spec": job(json!({}))}}), fields)});
    refused(
        "cronjobs",
        &[
            (cron(json!({})), &[]),
            (
                cron(json!({"timeZone": ""})),
                &["spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string"],
            ),
            (
                cron(json!({"timeZone": "local"})),
                &[
                    "spec.timeZone: Invalid value: \"local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
                ],
            ),
            (
                cron(json!({"jobTemplate": {"spec": job(json!({"selector": {"matchLabels": {"a": "b"}}}))}})),
                &[
                    "spec.jobTemplate.spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` will be auto-generated",
                ],
            ),
        ],
    );
}

#[test]
fn stateful_sets_mount_the_claims_that_they_make() {
    let mut set = workload();
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}}]);
    set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    assert_eq!(create("statefulsets", set.clone()).1, Vec::<String>::new());
    set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]["name"] = json!("other");
    assert_eq!(
        create("statefulsets", set).1,
        ["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"other\""]
    );
    let mut set = workload();
    set["spec"]["updateStrategy"] = json!({"rollingUpdate": {"maxUnavailable": 0}});
    assert_eq!(
        create("statefulsets", set).1,
        ["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0"]
    );
}

#[test]
fn ingresses_and_their_classes() {
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let rule = |path: Value| json!({"spec": {"rules": [{"http": {"paths": [path]}}]}});
    let at = "spec.rules[0].http.paths[0]";
    refused(
        "ingresses",
        &[
            (
                rule(json!({"path": "/a//b/..", "pathType": "Prefix", "backend": backend})),
                &[
                    &format!("{at}.path: Invalid value: \"/a//b/..\": must not contain '//'"),
                    &format!("{at}.path: Invalid value: \"/a//b/..\": cannot end with '/..'"),
                ],
            ),
            (
                rule(json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {}}}})),
                &[&format!("{at}.backend: Required value: port name or number is required")],
            ),
            (
                rule(json!({"path": "/", "pathType": "Prefix", "backend": {"resource": {"kind": "K"}}})),
                &[&format!("{at}.backend.resource.name: Required value")],
            ),
            (
                json!({"spec": {"defaultBackend": backend, "tls": [{"secretName": "A"}]}}),
                &[
                    "spec.tls[0].secretName: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ],
            ),
        ],
    );
    let class = |spec: Value| json!({ "spec": spec });
    refused(
        "ingressclasses",
        &[
            (class(json!({})), &["spec.controller: Required value"]),
            (
                class(json!({"controller": "x"})),
                &["spec.controller: Invalid value: \"x\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
            ),
            (
                class(json!({"controller": "a.b/c", "parameters": {"kind": "K", "name": "n", "scope": "Namespace"}})),
                &["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
            ),
            (
                class(
                    json!({"controller": "a.b/c", "parameters": {"kind": "K", "name": "n", "scope": "Cluster", "namespace": "x"}}),
                ),
                &["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"],
            ),
        ],
    );
}

#[test]
fn addresses_and_policies() {
    refused(
        "servicecidrs",
        &[
            (json!({"spec": {}}), &["spec.cidrs: Required value: at least one CIDR required"]),
            (
                json!({"spec": {"cidrs": ["10.0.0.0/8", "11.0.0.0/8"]}}),
                &[
                    "spec.cidrs: Invalid value: [\"10.0.0.0/8\",\"11.0.0.0/8\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
                ],
            ),
        ],
    );
    let one = json!({"spec": {"cidrs": ["10.0.0.0/8"]}});
    assert!(
        update("servicecidrs", one.clone(), |object| object["spec"]["cidrs"] = json!(["10.0.0.0/8", "fd00::/64"]))
            .is_empty()
    );
    assert_eq!(
        update("servicecidrs", one, |object| object["spec"]["cidrs"] = json!(["11.0.0.0/8"])),
        ["spec.cidrs[0]: Invalid value: \"11.0.0.0/8\": field is immutable"]
    );
    refused(
        "networkpolicies",
        &[(
            json!({"spec": {"podSelector": {}, "ingress": [{"ports": [{"endPort": 5}, {"port": "http", "endPort": 5}, {"port": 8, "endPort": 5}]}]}}),
            &[
                "spec.ingress[0].ports[0].endPort: Invalid value: 5: may not be specified when `port` is not specified",
                "spec.ingress[0].ports[1].endPort: Invalid value: 5: may not be specified when `port` is non-numeric",
                "spec.ingress[0].ports[2].endPort: Invalid value: 5: must be greater than or equal to `port`",
            ],
        )],
    );
}

#[test]
fn autoscalers() {
    let base = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}});
    let metric = |metric: Value| json!({"spec": with(&base, json!({"metrics": [metric]}))});
    let at = "spec.metrics[0]";
    refused(
        "horizontalpodautoscalers",
        &[
            (
                metric(json!({"type": "Pods"})),
                &[&format!("{at}.pods: Required value: must populate information for the given metric source")],
            ),
            (
                metric(json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}})),
                &[&format!(
                    "{at}.resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization"
                )],
            ),
            (
                metric(
                    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 0}}}),
                ),
                &[&format!("{at}.resource.target.averageUtilization: Invalid value: 0: must be greater than 0")],
            ),
            (
                metric(
                    json!({"type": "External", "external": {"metric": {"name": "m"}, "target": {"type": "Value", "value": "1", "averageValue": "1"}}}),
                ),
                &[&format!(
                    "{at}.external.target.value: Forbidden: may not set both a target value for metric and a per-pod target"
                )],
            ),
            (
                metric(
                    json!({"type": "Object", "object": {"describedObject": {"kind": "K"}, "metric": {}, "target": {"type": "Value", "value": "0"}}}),
                ),
                &[
                    &format!("{at}.object.describedObject.name: Required value"),
                    &format!("{at}.object.metric.name: Required value: must specify a metric name"),
                    &format!("{at}.object.target.value: Invalid value: \"0\": must be positive"),
                ],
            ),
            (
                json!({"spec": with(&base, json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601, "policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}]}}}))}),
                &[
                    "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
                    "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero",
                    "spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
                ],
            ),
        ],
    );
}

#[test]
fn drivers_and_classes_of_storage() {
    refused(
        "csidrivers",
        &[(
            json!({"spec": {"tokenRequests": [{"audience": "a", "expirationSeconds": 1}, {"audience": "a"}]}}),
            &[
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
                "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
            ],
        )],
    );
    refused(
        "csinodes",
        &[(
            json!({"spec": {"drivers": [{"name": "d", "topologyKeys": ["a", "a"], "allocatable": {"count": -1}}]}}),
            &[
                "spec.drivers[0].nodeID: Required value",
                "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
                "spec.drivers[0].topologyKeys[1]: Duplicate value: \"a\"",
            ],
        )],
    );
    refused(
        "volumeattachments",
        &[(
            json!({"spec": {"attacher": "a", "nodeName": "n", "source": {}}}),
            &["spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"],
        )],
    );
    refused(
        "volumeattributesclasses",
        &[(json!({"driverName": "d"}), &["parameters: Required value: must contain at least one key/value pair"])],
    );
    refused(
        "storageclasses",
        &[(
            json!({"provisioner": "p", "allowedTopologies": [{"matchLabelExpressions": [{"key": "z", "values": ["a", "a"]}, {"key": "z", "values": ["b"]}]}]}),
            &[
                "allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"a\"",
                "allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: \"z\"",
            ],
        )],
    );
}
