//! What is refused of services, storage, quotas and limits, rule by rule.

use super::*;

fn refused(plural: &str, cases: &[(Value, &[&str])]) {
    for (spec, expected) in cases {
        assert_eq!(&create(plural, json!({ "spec": spec })).1, expected, "{plural} {spec}");
    }
}

/// `base` with other fields.
fn with(base: &Value, fields: Value) -> Value {
    let mut object = base.clone();
    for (key, value) in fields.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}

#[test]
fn limits() {
    let limits = |item: Value| json!({"limits": [item]});
    refused(
        "limitranges",
        &[
            (
                limits(json!({"type": "Node"})),
                &["spec.limits[0].type: Invalid value: \"Node\": must be a standard limit type or fully qualified"],
            ),
            (json!({"limits": [{"type": "Pod"}, {"type": "Pod"}]}), &["spec.limits[1].type: Duplicate value: \"Pod\""]),
            (
                limits(json!({"type": "Pod", "default": {"cpu": "1"}})),
                &["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"],
            ),
            (
                limits(json!({"type": "Container", "max": {"storage": "1"}})),
                &[
                    "spec.limits[0].max[storage]: Invalid value: \"storage\": must be a standard resource for containers",
                    "spec.limits[0].default[storage]: Invalid value: \"storage\": must be a standard resource for containers",
                    "spec.limits[0].defaultRequest[storage]: Invalid value: \"storage\": must be a standard resource for containers",
                ],
            ),
            (
                limits(json!({"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}})),
                &["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"],
            ),
            (
                limits(json!({"type": "Container", "defaultRequest": {"cpu": "2"}, "default": {"cpu": "1"}})),
                &[
                    "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater than default limit value 1",
                ],
            ),
            (
                limits(json!({"type": "PersistentVolumeClaim", "max": {"cpu": "1"}})),
                &[
                    "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
                ],
            ),
            (
                limits(json!({"type": "Pod", "maxLimitRequestRatio": {"cpu": "500m"}})),
                &["spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1"],
            ),
            (
                limits(
                    json!({"type": "Pod", "min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "3"}}),
                ),
                &[
                    "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
                ],
            ),
            (
                limits(json!({"type": "Container", "defaultRequest": {"a.b/c": "1"}, "default": {"a.b/c": "2"}})),
                &[
                    "spec.limits[0].defaultRequest[a.b/c]: Invalid value: \"1\": default value 2 must equal to defaultRequest value 1 in a.b/c",
                ],
            ),
        ],
    );
}

#[test]
fn quotas() {
    refused(
        "resourcequotas",
        &[
            (
                json!({"hard": {"gpus": "1"}}),
                &[
                    "spec.hard[gpus]: Invalid value: \"gpus\": must be a standard resource type or fully qualified",
                    "spec.hard[gpus]: Invalid value: \"gpus\": must be a standard resource for quota",
                ],
            ),
            (json!({"hard": {"pods": "500m"}}), &["spec.hard[pods]: Invalid value: \"500m\": must be an integer"]),
            (json!({"hard": {"count/deployments.apps": "1", "requests.nvidia.com/gpu": "1"}}), &[]),
            (
                json!({"hard": {"services": "1"}, "scopes": ["Terminating"]}),
                &["spec.scopes: Invalid value: [\"Terminating\"]: unsupported scope applied to resource"],
            ),
            (
                json!({"scopes": ["BestEffort", "NotBestEffort"]}),
                &["spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"],
            ),
            (
                json!({"scopeSelector": {"matchExpressions": [{"scopeName": "BestEffort", "operator": "In", "values": ["a"]}]}}),
                &[
                    "spec.scopeSelector.matchExpressions.operator: Invalid value: \"In\": must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
                ],
            ),
            (
                json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}}),
                &[
                    "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
                ],
            ),
            (
                json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists", "values": ["a"]}]}}),
                &[
                    "spec.scopeSelector.matchExpressions.values: Invalid value: [\"a\"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
                ],
            ),
        ],
    );
    assert_eq!(
        update("resourcequotas", json!({"spec": {"scopes": ["BestEffort"]}}), |object| object["spec"]["scopes"] =
            json!([])),
        ["spec.scopes: Invalid value: null: field is immutable"]
    );
}

#[test]
fn services() {
    let base = json!({"ports": [{"port": 80}]});
    refused(
        "services",
        &[
            (
                with(&base, json!({"clusterIP": "a", "clusterIPs": ["b"]})),
                &[
                    "spec.clusterIPs: Invalid value: [\"b\"]: first value must match `clusterIP`",
                    "spec.clusterIPs[0]: Invalid value: \"b\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                ],
            ),
            (
                with(&base, json!({"clusterIPs": ["None", "10.0.0.1"]})),
                &["spec.clusterIPs: Invalid value: [\"None\",\"10.0.0.1\"]: 'None' must be the first and only value"],
            ),
            (
                with(&base, json!({"clusterIPs": ["10.0.0.1", "10.0.0.2"]})),
                &[
                    "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family",
                ],
            ),
            (with(&base, json!({"ipFamilies": ["IPv4", "IPv4"]})), &["spec.ipFamilies[1]: Duplicate value: \"IPv4\""]),
            (
                with(&base, json!({"clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv6"]})),
                &[
                    "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`",
                ],
            ),
            (
                json!({"type": "ExternalName", "externalName": "a.b", "ipFamilyPolicy": "SingleStack"}),
                &["spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services"],
            ),
            (
                with(&base, json!({"loadBalancerSourceRanges": ["10.0.0.0/33"]})),
                &[
                    "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
                    "spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                ],
            ),
            (
                with(&base, json!({"trafficDistribution": "Near"})),
                &[
                    "spec.trafficDistribution: Unsupported value: \"Near\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\"",
                ],
            ),
            (
                json!({"ports": [{"port": 80, "nodePort": 30000}]}),
                &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
            ),
            (
                json!({"ports": [{"port": 80, "appProtocol": "a b"}]}),
                &[
                    "spec.ports[0].appProtocol: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                ],
            ),
        ],
    );
    let addressed = json!({"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"], "ports": [{"port": 80}]}});
    assert_eq!(
        update("services", addressed.clone(), |object| object["spec"]["clusterIPs"] = json!(["10.0.0.2", "fd00::1"])),
        ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\",\"fd00::1\"]: may not change once set"]
    );
    assert_eq!(
        update("services", addressed, |object| {
            object["spec"]["clusterIPs"] = json!(["10.0.0.1"]);
            object["spec"]["ipFamilies"] = json!(["IPv4"]);
        }),
        [
            "spec.ipFamilyPolicy: Invalid value: null: must be set to 'SingleStack' when releasing the secondary clusterIP",
            "spec.ipFamilyPolicy: Invalid value: null: must be set to 'SingleStack' when releasing the secondary ipFamily",
        ]
    );
}

#[test]
fn volumes_and_claims() {
    let volume = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}});
    let local = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "beta.kubernetes.io/os", "operator": "Exists"}]}]}});
    refused(
        "persistentvolumes",
        &[
            (
                with(&volume, json!({"local": {"path": "/a/.."}})),
                &[
                    "spec.local.path: Invalid value: \"/a/..\": must not contain '..'",
                    "spec.nodeAffinity: Required value: Local volume requires node affinity",
                ],
            ),
            (
                with(&volume, json!({"capacity": {"cpu": "1"}, "hostPath": {"path": "/a"}})),
                &["spec.capacity: Unsupported value: {\"cpu\":\"1\"}: supported values: \"storage\""],
            ),
            (
                with(&volume, json!({"capacity": {"storage": "0"}, "hostPath": {"path": "/a"}})),
                &["spec.capacity[storage]: Invalid value: \"0\": must be greater than zero"],
            ),
            (
                with(&volume, json!({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"})),
                &["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
            ),
            (
                with(&volume, json!({"hostPath": {"path": "/a"}, "volumeAttributesClassName": ""})),
                &[
                    "spec.volumeAttributesClassName: Required value: an empty string is disallowed",
                    "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
                ],
            ),
            (with(&volume, json!({"csi": {"driver": "d"}})), &["spec.csi.volumeHandle: Required value"]),
            (
                with(
                    &volume,
                    json!({"csi": {"driver": "d", "volumeHandle": "h", "nodeExpandSecretRef": {"name": "s"}}}),
                ),
                &["spec.csi.nodeExpandSecretRef.namespace: Required value"],
            ),
            (
                with(&volume, json!({"azureFile": {"secretName": "s", "shareName": "s", "secretNamespace": ""}})),
                &["spec.azureFile.secretNamespace: Required value"],
            ),
        ],
    );
    let placed = json!({"spec": with(&volume, json!({"local": {"path": "/a"}, "nodeAffinity": local}))});
    assert!(
        update("persistentvolumes", placed.clone(), |object| {
            object["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["key"] =
                json!("kubernetes.io/os");
        })
        .is_empty()
    );
    let errors = update("persistentvolumes", placed.clone(), |object| {
        object["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["key"] =
            json!("other");
    });
    assert!(errors[0].ends_with("field is immutable, except for updating from beta label to GA"), "{errors:?}");
    assert_eq!(
        update("persistentvolumes", placed, |object| object["spec"]["local"]["path"] = json!("/b")),
        ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"]
    );

    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}});
    refused(
        "persistentvolumeclaims",
        &[
            (
                with(&claim, json!({"dataSource": {"kind": "VolumeSnapshot", "name": "s"}})),
                &[
                    "spec.dataSource: Invalid value: \"VolumeSnapshot\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
                    "spec.dataSourceRef: Invalid value: \"VolumeSnapshot\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
                ],
            ),
            (
                with(
                    &claim,
                    json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}, "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "b"}}),
                ),
                &["spec: Invalid value: \"spec.dataSource\": must match dataSourceRef"],
            ),
            (
                with(&claim, json!({"volumeAttributesClassName": "A"})),
                &[
                    "spec.volumeAttributesClassName: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ],
            ),
        ],
    );
    let immutable = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    let unbound = json!({ "spec": claim });
    assert_eq!(
        update(
            "persistentvolumeclaims",
            unbound.clone(),
            |object| object["spec"]["resources"]["requests"]["storage"] = json!("3Gi")
        ),
        [immutable]
    );
    assert!(
        update("persistentvolumeclaims", unbound.clone(), |object| object["spec"]["storageClassName"] = json!("fast"))
            .is_empty()
    );
    let grow = |by: &str| {
        let (mut old, _) = create("persistentvolumeclaims", unbound.clone());
        old["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
        let mut new = old.clone();
        new["spec"]["resources"]["requests"]["storage"] = json!(by);
        let errors = resource("persistentvolumeclaims").behaviour.validate_update(&new, &old);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(grow("3Gi").is_empty() && grow("1500Mi").is_empty());
    assert_eq!(grow("1Gi"), ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]);
}
