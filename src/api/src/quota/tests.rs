//! What objects take, and which quotas are about them.

use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn taken(group: &str, resource: &str, object: Value) -> Vec<(String, String)> {
    let cost = cost(group, resource, &object, now());
    cost.into_iter().map(|(name, amount)| (name, amount.to_string())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, amount)| (name.to_string(), amount.to_string())).collect()
}

#[test]
fn a_pod_takes_its_largest_moment() {
    let container = |requests: Value, limits: Value| json!({"resources": {"requests": requests, "limits": limits}});
    let mut sidecar = container(json!({"cpu": "1"}), json!({}));
    sidecar["restartPolicy"] = json!("Always");
    let pod = json!({"metadata": {}, "spec": {
        "containers": [container(json!({"cpu": "500m", "x.io/gpu": "2"}), json!({"memory": "64Mi"})),
                       container(json!({"cpu": "250m", "hugepages-2Mi": "4Mi"}), json!({"memory": "64Mi"}))],
        "initContainers": [sidecar, container(json!({"cpu": "1", "ephemeral-storage": "1Gi"}), json!({}))],
        "overhead": {"cpu": "10m", "memory": "1Mi"}}});
    let expected = pairs(&[
        ("count/pods", "1"),
        ("cpu", "2010m"),
        ("ephemeral-storage", "1Gi"),
        ("hugepages-2Mi", "4Mi"),
        ("limits.memory", "129Mi"),
        ("memory", "1Mi"),
        ("pods", "1"),
        ("requests.cpu", "2010m"),
        ("requests.ephemeral-storage", "1Gi"),
        ("requests.hugepages-2Mi", "4Mi"),
        ("requests.memory", "1Mi"),
        ("requests.x.io/gpu", "2"),
    ]);
    assert_eq!(taken("", "pods", pod), expected);
    let whole = json!({"spec": {"containers": [container(json!({"cpu": "1"}), json!({}))], "resources": {"requests": {"cpu": "3"}}}});
    assert!(taken("", "pods", whole).contains(&("requests.cpu".to_string(), "3".to_string())));
}

#[test]
fn a_pod_that_has_ended_takes_its_place_alone() {
    let spec = json!({"containers": [{"resources": {"requests": {"cpu": "1"}}}]});
    let place = pairs(&[("count/pods", "1")]);
    for (metadata, status, ended) in [
        (json!({}), json!({"phase": "Running"}), false),
        (json!({}), json!({"phase": "Failed"}), true),
        (json!({}), json!({"phase": "Succeeded"}), true),
        (json!({"deletionTimestamp": "2026-01-01T11:59:50Z", "deletionGracePeriodSeconds": 30}), json!({}), false),
        (json!({"deletionTimestamp": "2026-01-01T11:59:00Z", "deletionGracePeriodSeconds": 30}), json!({}), true),
    ] {
        let pod = json!({"metadata": metadata, "spec": spec, "status": status});
        assert_eq!(taken("", "pods", pod.clone()) == place, ended, "{pod}");
    }
}

#[test]
fn services_claims_and_devices_count_in_parts() {
    let balanced = json!({"spec": {"type": "LoadBalancer", "ports": [{}, {"nodePort": 30000}]}});
    let expected =
        [("count/services", "1"), ("services", "1"), ("services.loadbalancers", "1"), ("services.nodeports", "2")];
    assert_eq!(taken("", "services", balanced.clone()), pairs(&expected));
    let mut sparing = balanced;
    sparing["spec"]["allocateLoadBalancerNodePorts"] = json!(false);
    assert!(taken("", "services", sparing).contains(&("services.nodeports".into(), "1".into())));
    let claim = json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"allocatedResources": {"storage": "2Gi"}}});
    let expected = [
        ("count/persistentvolumeclaims", "1"),
        ("fast.storageclass.storage.k8s.io/persistentvolumeclaims", "1"),
        ("fast.storageclass.storage.k8s.io/requests.storage", "2Gi"),
        ("persistentvolumeclaims", "1"),
        ("requests.storage", "2Gi"),
    ];
    assert_eq!(taken("", "persistentvolumeclaims", claim), pairs(&expected));
    let devices = json!({"spec": {"devices": {"requests": [
        {"exactly": {"deviceClassName": "gpu", "count": 2}},
        {"firstAvailable": [{"deviceClassName": "gpu"}, {"deviceClassName": "tpu", "allocationMode": "All"}]}]}}});
    let expected = [
        ("count/resourceclaims.resource.k8s.io", "1"),
        ("gpu.deviceclass.resource.k8s.io/devices", "3"),
        ("tpu.deviceclass.resource.k8s.io/devices", "32"),
    ];
    assert_eq!(taken("resource.k8s.io", "resourceclaims", devices), pairs(&expected));
    assert_eq!(taken("apps", "deployments", json!({})), pairs(&[("count/deployments.apps", "1")]));
}

#[test]
fn every_name_says_what_is_counted() {
    let objects = |group, resource| Counted::Objects { group, resource };
    let parts = |resource| Counted::Parts { group: "", resource };
    for (name, expected) in [
        ("pods", parts("pods")),
        ("requests.cpu", parts("pods")),
        ("requests.nvidia.com/gpu", parts("pods")),
        ("limits.memory", parts("pods")),
        ("requests.storage", parts("persistentvolumeclaims")),
        ("a.storageclass.storage.k8s.io/requests.storage", parts("persistentvolumeclaims")),
        ("services.nodeports", parts("services")),
        ("secrets", objects("", "secrets")),
        ("count/pods", objects("", "pods")),
        ("count/jobs.batch", objects("batch", "jobs")),
        ("count/widgets.example.com", objects("example.com", "widgets")),
    ] {
        assert_eq!(counted(name), expected, "{name}");
    }
}

#[test]
fn scopes_choose_pods_and_claims() {
    let quota = |scopes: Value, expressions: Value| json!({"spec": {"scopes": scopes, "scopeSelector": {"matchExpressions": expressions}}});
    let expression = |scope: &str, operator: &str, values: Value| json!([{"scopeName": scope, "operator": operator, "values": values}]);
    let plain = json!({"spec": {"containers": [{}]}});
    let busy = json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}}}], "activeDeadlineSeconds": 5,
        "priorityClassName": "high", "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
        [{"podAffinityTerm": {"namespaceSelector": {}}}]}}}});
    for (quota, of_plain, of_busy) in [
        (quota(json!(null), json!(null)), true, true),
        (quota(json!(["BestEffort"]), json!(null)), true, false),
        (quota(json!(["NotBestEffort", "Terminating"]), json!(null)), false, true),
        (quota(json!(["NotTerminating"]), json!(null)), true, false),
        (quota(json!(null), expression("PriorityClass", "In", json!(["high"]))), false, true),
        (quota(json!(null), expression("PriorityClass", "NotIn", json!(["high"]))), true, false),
        (quota(json!(null), expression("PriorityClass", "DoesNotExist", json!(null))), true, false),
        (quota(json!(null), expression("CrossNamespacePodAffinity", "Exists", json!(null))), false, true),
        (quota(json!(null), expression("VolumeAttributesClass", "NotIn", json!(["gold"]))), false, false),
    ] {
        assert_eq!(
            (in_scope(&quota, "", "pods", &plain), in_scope(&quota, "", "pods", &busy)),
            (of_plain, of_busy),
            "{quota}"
        );
    }
    let gold = json!({"spec": {"volumeAttributesClassName": "gold"}});
    let of_gold = quota(json!(null), expression("VolumeAttributesClass", "In", json!(["gold"])));
    assert!(in_scope(&of_gold, "", "persistentvolumeclaims", &gold));
    assert!(!in_scope(&of_gold, "", "persistentvolumeclaims", &json!({})));
    assert!(!in_scope(&quota(json!(["BestEffort"]), json!(null)), "", "configmaps", &json!({})));
}
