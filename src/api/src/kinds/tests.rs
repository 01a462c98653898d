//! Tables of cases for all kinds: what is filled in, what is refused, what may change; and that nothing an object
//! can hold brings the server down.

mod any_object;
mod bounds;
mod certificates;
mod devices;
mod extension;
mod fairness;
mod faults;
mod pods;
mod reference;
mod status;
mod workloads;

use machinery::schema;
use serde_json::{Value, json};

use crate::metadata::{validate_create, validate_update};
use crate::resource::Resource;

/// The served resource called `plural` in its group's preferred version.
fn resource(plural: &str) -> &'static Resource {
    let all = crate::registry().resources().iter();
    all.into_iter().find(|found| found.plural == plural).expect("a served resource")
}

/// The object as it stands after decoding, defaults and preparation.
fn complete(resource: &Resource, mut object: Value) -> Value {
    schema::prune(&mut object, resource.schema(), resource.definitions());
    crate::normalize::normalize(resource, &mut object);
    schema::decode(&mut object, resource.schema(), resource.definitions()).expect("types are right");
    schema::default(&mut object, resource.schema(), resource.definitions());
    resource.behaviour.default(&mut object);
    object
}

fn create(plural: &str, body: Value) -> (Value, Vec<String>) {
    let resource = resource(plural);
    let mut object = json!({"metadata": {"name": "x", "uid": "u"}});
    if resource.namespaced {
        object["metadata"]["namespace"] = json!("n");
    }
    for (key, value) in body.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    let mut object = complete(resource, object);
    resource.behaviour.prepare_create(&mut object);
    let errors = validate_create(resource, &object).iter().map(ToString::to_string).collect();
    (object, errors)
}

fn update(plural: &str, body: Value, edit: fn(&mut Value)) -> Vec<String> {
    let (old, errors) = create(plural, body);
    assert_eq!(errors, Vec::<String>::new());
    let mut object = old.clone();
    edit(&mut object);
    let resource = resource(plural);
    let mut object = complete(resource, object);
    resource.behaviour.prepare_update(&mut object, &old);
    validate_update(resource, &object, &old).iter().map(ToString::to_string).collect()
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}

fn workload() -> Value {
    json!({"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template()}})
}

#[test]
fn workloads_get_their_defaults() {
    let (object, errors) = create("deployments", workload());
    assert_eq!(errors, Vec::<String>::new());
    let spec = &object["spec"];
    assert_eq!(
        (&spec["replicas"], &spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]),
        (&json!(1), &json!(10), &json!(600))
    );
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    assert_eq!(spec["template"]["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
    assert!(spec["template"]["spec"].get("enableServiceLinks").is_none());
    assert_eq!(object["metadata"]["generation"], 1);

    let (object, _) = create("daemonsets", workload());
    assert_eq!(
        object["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})
    );
    let (object, errors) = create("statefulsets", workload());
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(object["spec"]["updateStrategy"], json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}));
    assert_eq!(
        object["spec"]["persistentVolumeClaimRetentionPolicy"],
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
    );
    let (object, errors) = create("replicationcontrollers", json!({"spec": {"template": template()}}));
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(
        (&object["spec"]["selector"], &object["metadata"]["labels"]),
        (&json!({"app": "x"}), &json!({"app": "x"}))
    );
}

/// What Go holds by value is there with its defaults although nobody wrote it; what is behind a pointer is not.
#[test]
fn what_nobody_wrote_gets_its_defaults() {
    let (object, _) = create("pods", json!({}));
    assert_eq!(object["spec"]["restartPolicy"], "Always");
    assert_eq!(object["spec"]["securityContext"], json!({}));
    assert!(object["spec"].get("affinity").is_none());
    let (object, _) = create("services", json!({}));
    assert_eq!(
        (&object["spec"]["type"], &object["spec"]["internalTrafficPolicy"]),
        (&json!("ClusterIP"), &json!("Cluster"))
    );
    let (object, _) = create("deployments", json!({}));
    assert_eq!(
        (&object["spec"]["replicas"], &object["spec"]["strategy"]["type"]),
        (&json!(1), &json!("RollingUpdate"))
    );
    assert_eq!(object["spec"]["template"]["spec"]["dnsPolicy"], "ClusterFirst");
    let (object, _) = create("replicationcontrollers", json!({}));
    assert_eq!(object["spec"], json!({"replicas": 1}));
    let (object, errors) = create("networkpolicies", json!({}));
    assert_eq!((errors.len(), &object["spec"]), (0, &json!({"podSelector": {}, "policyTypes": ["Ingress"]})));
    // A change that leaves the specification out is one that empties it.
    assert_eq!(
        update("services", json!({"spec": {"ports": [{"port": 80}]}}), |object| drop(crate::edit::remove(
            object, "spec"
        ))),
        ["spec.ports: Required value"]
    );
}

#[test]
fn jobs_find_their_pods_by_their_uid() {
    let mut template = template();
    template["spec"]["restartPolicy"] = json!("Never");
    let (object, errors) = create("jobs", json!({"spec": {"template": template}}));
    assert_eq!(errors, Vec::<String>::new());
    let spec = &object["spec"];
    assert_eq!(spec["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
    assert_eq!(spec["template"]["metadata"]["labels"]["job-name"], "x");
    assert_eq!((&spec["completions"], &spec["parallelism"], &spec["backoffLimit"]), (&json!(1), &json!(1), &json!(6)));
    assert_eq!(spec["podReplacementPolicy"], "TerminatingOrFailed");
}

#[test]
fn what_the_server_adds_to_other_kinds() {
    let (object, errors) = create("namespaces", json!({}));
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(object["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "x"}));
    assert_eq!(
        (&object["spec"], &object["status"]),
        (&json!({"finalizers": ["kubernetes"]}), &json!({"phase": "Active"}))
    );

    let (object, _) = create("secrets", json!({"data": {"a": "MQ=="}, "stringData": {"b": "2"}}));
    assert_eq!((&object["data"], &object["type"]), (&json!({"a": "MQ==", "b": "Mg=="}), &json!("Opaque")));
    assert!(object.get("stringData").is_none());

    let (object, _) = create("nodes", json!({"status": {"capacity": {"cpu": "2"}}}));
    assert_eq!(object["status"], json!({"capacity": {"cpu": "2"}, "allocatable": {"cpu": "2"}}));

    let limits = json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}, "min": {"memory": "1Mi"}}]}});
    let (object, errors) = create("limitranges", limits);
    assert_eq!(errors, Vec::<String>::new());
    let item = &object["spec"]["limits"][0];
    assert_eq!(
        (&item["default"], &item["defaultRequest"]),
        (&json!({"cpu": "1"}), &json!({"cpu": "1", "memory": "1Mi"}))
    );

    let (object, errors) = create("networkpolicies", json!({"spec": {"podSelector": {}, "egress": [{}]}}));
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(object["spec"]["policyTypes"], json!(["Ingress", "Egress"]));

    let target = json!({"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"});
    let (object, errors) =
        create("horizontalpodautoscalers", json!({"spec": {"maxReplicas": 3, "scaleTargetRef": target}}));
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(object["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    assert_eq!(object["spec"]["minReplicas"], 1);

    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let (object, errors) = create("persistentvolumeclaims", claim);
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(
        (&object["spec"]["volumeMode"], &object["status"]),
        (&json!("Filesystem"), &json!({"phase": "Pending"}))
    );
}

#[test]
fn what_will_surprise_is_said() {
    let mut object = workload();
    object["spec"]["template"]["spec"]["nodeSelector"] = json!({"beta.kubernetes.io/os": "linux"});
    object["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A"}, {"name": "A"}]);
    assert_eq!(
        resource("deployments").behaviour.warnings(&object),
        [
            "spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.template.spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
        ]
    );
}

// conformance: signing requests take conditions by approval and the certificate by status
#[test]
fn signing_requests_are_decided_by_approval_and_answered_by_status() {
    let behaviour = &resource("certificatesigningrequests").behaviour;
    let condition = |type_: &str| json!({"type": type_, "status": "True"});
    let old = json!({"spec": {"username": "a"}, "status": {}});
    let wanted = json!({"spec": {"username": "b"},
        "status": {"certificate": "Y2VydA==", "conditions": [condition("Approved"), condition("Failed")]}});
    let mut decided = wanted.clone();
    behaviour.prepare_subresource_update("approval", &mut decided, &old);
    assert_eq!(decided["spec"], old["spec"]);
    // Any condition may be told there, and no certificate.
    assert_eq!(decided["status"], json!({"conditions": [condition("Approved"), condition("Failed")]}));
    assert!(behaviour.validate_subresource_update("approval", &decided, &old).is_empty());
    let told = |type_: &str, message: &str| {
        let conditions = [json!({"type": type_, "status": "True", "message": message}), condition("Failed")];
        json!({"spec": {}, "status": {"conditions": conditions}})
    };
    let (before, mut retold) = (told("Approved", "before"), told("Approved", "after"));
    behaviour.prepare_subresource_update("status", &mut retold, &before);
    assert_eq!(retold["status"], before["status"], "what was decided stays as it was");
    let mut answered = json!({"status": {"certificate": "Y2VydA==", "conditions": [condition("Failed")]}});
    behaviour.prepare_subresource_update("status", &mut answered, &old);
    assert_eq!(answered["status"], json!({"certificate": "Y2VydA==", "conditions": [condition("Failed")]}));
    for type_ in ["Approved", "Denied"] {
        let mut smuggled = json!({"spec": {}, "status": {"conditions": [condition(type_)]}});
        behaviour.prepare_subresource_update("status", &mut smuggled, &old);
        let errors = behaviour.validate_subresource_update("status", &smuggled, &old);
        let wrong = format!("status.conditions: Forbidden: updates may not add a condition of type {type_:?}");
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [wrong]);
    }
    let approved = json!({"spec": {}, "status": {"conditions": [condition("Approved")]}});
    let errors = behaviour.validate_subresource_update("approval", &old, &approved);
    assert_eq!(errors.len(), 1, "{errors:?}");
}

#[test]
fn what_kubernetes_calls_immutable_is() {
    for (plural, old, new) in [
        ("controllerrevisions", json!({"data": {"a": 1}}), json!({"data": {"a": 2}})),
        ("ingressclasses", json!({"spec": {"controller": "a.b/c"}}), json!({"spec": {"controller": "a.b/d"}})),
    ] {
        let behaviour = &resource(plural).behaviour;
        assert!(behaviour.validate_update(&old, &old).is_empty(), "{plural}");
        let errors = behaviour.validate_update(&new, &old);
        assert_eq!(errors.iter().map(|error| error.detail.as_str()).collect::<Vec<_>>(), ["field is immutable"]);
    }
}

#[test]
fn new_pods_are_not_yet_debugged_or_placed_before_they_may_be() {
    let behaviour = &resource("pods").behaviour;
    let pod =
        json!({"spec": {"nodeName": "n", "schedulingGates": [{"name": "g"}], "ephemeralContainers": [{"name": "e"}]}});
    let paths: Vec<String> = behaviour.validate_new(&pod).iter().map(|error| error.path.to_string()).collect();
    assert_eq!(paths, ["spec.ephemeralContainers", "spec.nodeName"]);
    assert!(behaviour.validate_new(&json!({"spec": {"nodeName": "n"}})).is_empty());
}
