use machinery::schema;

use super::*;
use crate::metadata::{validate_create, validate_update};
use crate::resource::Resource;

fn pods() -> &'static Resource {
    crate::registry().get("", "v1", "pods").expect("pods are served")
}

/// A pod as it is after all defaults.
fn pod(spec: Value) -> Value {
    let resource = pods();
    let mut object =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "spec": spec});
    crate::normalize::normalize(resource, &mut object);
    schema::default(&mut object, resource.schema(), resource.definitions());
    resource.behaviour.default(&mut object);
    resource.behaviour.prepare_create(&mut object);
    object
}

fn faults(spec: Value) -> Vec<String> {
    validate_create(pods(), &pod(spec)).iter().map(ToString::to_string).collect()
}

#[test]
fn a_small_pod_gets_all_its_defaults() {
    let object = pod(json!({"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}],
        "livenessProbe": {"httpGet": {"port": 80}}}]}));
    assert_eq!(validate_create(pods(), &object), Vec::new());
    assert_eq!(
        object["spec"],
        json!({
            "containers": [{
                "name": "c", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "livenessProbe": {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "timeoutSeconds": 1,
                    "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
        })
    );
    assert_eq!(object["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    assert_eq!(object["metadata"]["generation"], 1);
}

#[test]
fn faults_have_the_paths_and_words_that_people_search_for() {
    let with = |extra: Value| {
        let mut container = json!({"name": "c", "image": "i"});
        for (key, value) in extra.as_object().into_iter().flatten() {
            container[key] = value.clone();
        }
        json!({"containers": [container]})
    };
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({}), &["spec.containers: Required value"]),
        (
            json!({"containers": [{}]}),
            &["spec.containers[0].name: Required value", "spec.containers[0].image: Required value"],
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]}),
            &["spec.containers[1].name: Duplicate value: \"c\""],
        ),
        (
            json!({"restartPolicy": "Sometimes", "containers": [{"name": "c", "image": "i"}]}),
            &[
                "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            ],
        ),
        (with(json!({"ports": [{}]})), &["spec.containers[0].ports[0].containerPort: Required value"]),
        (
            with(json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]})),
            &["spec.containers[0].volumeMounts[0].name: Not found: \"v\""],
        ),
        (
            with(
                json!({"env": [{"name": "E", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            ),
            &[
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            ],
        ),
        (
            with(json!({"env": [{"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "spec.nope"}}}]})),
            &[
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.nope\": error converting \
               fieldPath: field label not supported: spec.nope",
            ],
        ),
        (
            with(json!({"resources": {"limits": {"cpu": "500m"}, "requests": {"cpu": "1"}}})),
            &[
                "spec.containers[0].resources.requests: Invalid value: \"1\": must be less than or equal to cpu limit of 500m",
            ],
        ),
        (
            with(json!({"livenessProbe": {}})),
            &["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
        ),
        (
            with(json!({"readinessProbe": {"tcpSocket": {"port": 1}, "exec": {"command": ["a"]}}})),
            &["spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}],
                "initContainers": [{"name": "i", "image": "i", "livenessProbe": {"exec": {"command": ["a"]}}}]}),
            &[
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            ],
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}], "tolerations": [{"operator": "Equal", "value": "x"}]}),
            &[
                "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which \
               means \"match all values and all keys\"",
            ],
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", "hostPath": {}, "secret": {}}]}),
            &[
                "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type",
                "spec.volumes[0].hostPath.path: Required value",
            ],
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}], "dnsPolicy": "None"}),
            &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(faults(spec.clone()), expected, "{spec}");
    }
}

#[test]
fn a_running_pod_changes_only_where_it_may() {
    let spec = json!({"nodeName": "a", "containers": [{"name": "c", "image": "i:1"}],
        "tolerations": [{"key": "k", "operator": "Exists"}]});
    let old = pod(spec);
    let change = |edit: fn(&mut Value)| -> Vec<String> {
        let mut new = old.clone();
        edit(&mut new["spec"]);
        validate_update(pods(), &new, &old).iter().map(ToString::to_string).collect()
    };
    assert!(change(|spec| spec["containers"][0]["image"] = json!("i:2")).is_empty());
    assert!(change(|spec| spec["activeDeadlineSeconds"] = json!(5)).is_empty());
    assert!(change(|spec| spec["hostNetwork"] = json!(false)).is_empty());
    let added = json!([{"key": "k", "operator": "Exists"}, {"key": "l", "operator": "Exists"}]);
    let mut new = old.clone();
    new["spec"]["tolerations"] = added;
    assert!(validate_update(pods(), &new, &old).is_empty());
    assert_eq!(
        change(|spec| spec["tolerations"] = json!([])),
        ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]
    );
    let errors = change(|spec| spec["nodeName"] = json!("b"));
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    ));
    assert!(errors[0].ends_with("changed: spec.nodeName"));
    assert_eq!(
        change(|spec| spec["containers"] = json!([])),
        ["spec.containers: Required value", "spec.containers: Forbidden: pod updates may not add or remove containers"]
    );
}

#[test]
fn status_and_ephemeral_containers_have_their_own_ways_in() {
    let old = pod(json!({"containers": [{"name": "c", "image": "i"}]}));
    let mut new = old.clone();
    new["spec"]["nodeName"] = json!("x");
    new["status"] = json!({"phase": "Running"});
    Pod.prepare_subresource_update("status", &mut new, &old);
    assert_eq!(new["spec"], old["spec"]);
    assert_eq!(new["status"], json!({"phase": "Running", "qosClass": "BestEffort"}));
    let mut new = old.clone();
    new["spec"]["nodeName"] = json!("x");
    new["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "i"}]);
    Pod.prepare_subresource_update("ephemeralcontainers", &mut new, &old);
    assert!(new["spec"].get("nodeName").is_none());
    assert_eq!(new["metadata"]["generation"], 2);
    assert!(Pod.validate_subresource_update("ephemeralcontainers", &new, &old).is_empty());
    assert!(!Pod.validate_subresource_update("ephemeralcontainers", &old, &new).is_empty());
}

#[test]
fn a_resize_that_nobody_would_carry_out_is_refused() {
    let with = |resources: Value, own: Value| {
        pod(json!({"containers": [{"name": "c", "image": "i", "resources": resources}], "resources": own}))
    };
    let (small, large) = (json!({"requests": {"cpu": "100m"}}), json!({"requests": {"cpu": "200m"}}));
    let same = json!({"requests": {"cpu": "0.1"}});
    let old = with(small.clone(), json!({}));
    for (new, expected) in [
        (with(small.clone(), json!({})), None),
        (with(same, json!({})), None),
        (with(large.clone(), json!({})), Some("spec.containers[0].resources: Forbidden: the nodes of this cluster")),
        (with(small, large), Some("spec.resources: Forbidden: the nodes of this cluster")),
    ] {
        let faults = Pod.validate_subresource_update("resize", &new, &old);
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults.is_empty(), expected.is_none(), "{faults:?}");
        assert!(expected.is_none_or(|expected| faults.iter().any(|fault| fault.starts_with(expected))), "{faults:?}");
    }
}

#[test]
fn grace_is_the_pods_own() {
    let own = pod(json!({"terminationGracePeriodSeconds": 5, "containers": [{"name": "c", "image": "i"}]}));
    assert_eq!(Pod.default_grace_period_seconds(&own), Some(5));
    assert_eq!(Pod.default_grace_period_seconds(&json!({})), Some(30));
}
