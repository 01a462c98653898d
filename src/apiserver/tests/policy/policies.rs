//! Admission policies as kubectl's users meet them.

use serde_json::{Value, json};

use crate::support::{Cluster, Credentials, eventually};

fn rule(groups: &str, resources: &str, operations: &[&str]) -> Value {
    json!({"apiGroups": [groups], "apiVersions": ["v1"], "operations": operations, "resources": [resources]})
}

fn policy(name: &str, rule: &Value, spec: &Value) -> Value {
    let mut policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name}, "spec": {"matchConstraints": {"resourceRules": [rule]}}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        policy["spec"][field] = value.clone();
    }
    policy
}

fn binding(name: &str, actions: &[&str], spec: &Value) -> Value {
    let mut binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": actions}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        binding["spec"][field] = value.clone();
    }
    binding
}

fn map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data})
}

/// Waits until a dry run of a creation is refused, or warned of, with these words.
async fn told(cluster: &Cluster, admin: &Credentials, object: &Value, words: &str) -> String {
    let file = cluster.file("tried.json", object);
    eventually(words, || async {
        let (out, errors, _) = cluster.output(admin, &["create", "--dry-run=server", "-f", &file]).await;
        let all = out + &errors;
        all.contains(words).then_some(all)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_bind_as_soon_as_they_are_made() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let sized = policy(
        "sized",
        &rule("apps", "deployments", &["CREATE", "UPDATE"]),
        &json!({
            "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
            "validations": [{"expression": "variables.replicas <= 3",
                "messageExpression": "'at most 3 replicas, not ' + string(variables.replicas)"}],
        }),
    );
    cluster.create(&admin, &sized).await;
    let deployment = |replicas: u32| {
        let template =
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "default"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template}})
    };
    let large = cluster.file("large.json", &deployment(5));
    cluster.succeeds(&admin, &["create", "--dry-run=server", "-f", &large]).await;
    cluster.create(&admin, &binding("sized", &["Deny"], &json!({}))).await;
    let refused = told(&cluster, &admin, &deployment(5), "denied request").await;
    let words = "The deployments \"d\" is invalid: : ValidatingAdmissionPolicy 'sized' with binding 'sized' denied \
                 request: at most 3 replicas, not 5";
    assert!(refused.contains(words), "{refused}");
    cluster.create(&admin, &deployment(2)).await;
    let patch = ["patch", "deployment", "d", "-p", r#"{"spec":{"replicas":9}}"#];
    assert!(cluster.fails(&admin, &patch).await.contains("at most 3 replicas, not 9"));
    // Nobody can lock himself out: what binds can be taken back.
    cluster.succeeds(&admin, &["delete", "validatingadmissionpolicybinding", "sized"]).await;
    eventually("the policy binds no more", || async { cluster.output(&admin, &patch).await.2.then_some(()) }).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_say_what_becomes_of_a_violation() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "named", "expression": "request.name.startsWith('x')"}],
        "validations": [{"expression": "object.data.size() <= int(params.data.max)", "message": "too much"}]});
    cluster.create(&admin, &map("limit", &json!({"max": "1"}))).await;
    cluster.create(&admin, &policy("warns", &rule("", "configmaps", &["CREATE"]), &spec)).await;
    let reference = json!({"paramRef": {"name": "limit", "parameterNotFoundAction": "Deny"}});
    cluster.create(&admin, &binding("warns", &["Warn", "Audit"], &reference)).await;
    let two = json!({"a": "1", "b": "2"});
    let warned = told(&cluster, &admin, &map("x", &two), "Warning:").await;
    let words = "Warning: Validation failed for ValidatingAdmissionPolicy 'warns' with binding 'warns': too much";
    assert!(warned.contains(words) && warned.contains("configmap/x created"), "{warned}");
    let (out, errors, success) = cluster
        .output(&admin, &["create", "--dry-run=server", "-f", &cluster.file("other.json", &map("other", &two))])
        .await;
    assert!(success && !errors.contains("Warning"), "{out}{errors}");
    cluster.succeeds(&admin, &["patch", "configmap", "limit", "-p", r#"{"data":{"max":"2"}}"#]).await;
    let file = cluster.file("x.json", &map("x", &two));
    let (out, errors, success) = cluster.output(&admin, &["create", "-f", &file]).await;
    assert!(success && !errors.contains("Warning"), "{out}{errors}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_and_other_versions_are_held_to_policies() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let kept = json!({"validations": [{"expression": "!has(oldObject.metadata.labels) || !('keep' in oldObject.metadata.labels)",
        "reason": "Forbidden", "message": "is kept"}]});
    cluster.create(&admin, &policy("kept", &rule("", "configmaps", &["DELETE"]), &kept)).await;
    cluster.create(&admin, &binding("kept", &["Deny"], &json!({}))).await;
    let mut object = map("k", &json!({}));
    object["metadata"]["labels"] = json!({"keep": "yes"});
    cluster.create(&admin, &object).await;
    eventually("deletions are refused", || async {
        let (_, errors, _) = cluster.output(&admin, &["delete", "--dry-run=server", "configmap", "k"]).await;
        errors.contains("Error from server (Forbidden)").then_some(())
    })
    .await;
    assert!(cluster.fails(&admin, &["delete", "configmap", "k"]).await.contains("denied request: is kept"));
    // Rules for one version mean every version of an object unless they say otherwise.
    let of_scaler = json!({"validations": [{"expression": "request.resource.version == 'v1' && \
        request.requestResource.version == 'v2' && has(object.spec.targetCPUUtilizationPercentage)", "message": "seen"}]});
    let mut only_v1 = rule("autoscaling", "horizontalpodautoscalers", &["CREATE"]);
    only_v1["apiVersions"] = json!(["v1"]);
    cluster.create(&admin, &policy("scalers", &only_v1, &of_scaler)).await;
    cluster.create(&admin, &binding("scalers", &["Deny"], &json!({}))).await;
    let scaler = |version: &str, cpu: Value| {
        let mut spec =
            json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "maxReplicas": 3});
        for (field, value) in cpu.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h", "namespace": "default"}, "spec": spec})
    };
    let first = scaler("v1", json!({"targetCPUUtilizationPercentage": 50}));
    told(&cluster, &admin, &first, "denied request: seen").await;
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    let second =
        scaler("v2", json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]}));
    cluster.create(&admin, &second).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_cannot_be_evaluated_are_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let wrong = policy(
        "wrong",
        &rule("", "pods", &["CREATE"]),
        &json!({"validations": [{"expression": "object.spec.replicas <"}, {"expression": "params.x == 1"}]}),
    );
    let refused = cluster.fails(&admin, &["create", "-f", &cluster.file("wrong.json", &wrong)]).await;
    assert!(refused.contains("spec.validations[0].expression: Invalid value: \"object.spec.replicas <\""), "{refused}");
    assert!(refused.contains("compilation failed: ERROR: <input>:1:1: undeclared reference to 'params'"), "{refused}");
    cluster.stop().await;
}
