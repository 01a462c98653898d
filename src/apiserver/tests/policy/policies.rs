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

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_held_to_policies() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let mut connects = rule("", "pods/exec", &["CONNECT"]);
    connects["resources"] =
        json!(["pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy", "nodes/proxy"]);
    let spec = json!({"validations": [
        {"expression": "object.kind != 'PodExecOptions' || !(has(object.stdin) && object.stdin == true && object.command == ['sh', '-c'])",
            "message": "no shells"},
        {"expression": "object.kind != 'PodPortForwardOptions' || object.ports.all(p, p != 80)", "message": "not that port"},
        {"expression": "!object.kind.endsWith('ProxyOptions') || object.path != '/secret/'", "message": "not that path"},
        {"expression": "request.name != 'nobody' || request.options == null", "message": "options"},
    ]});
    cluster.create(&admin, &policy("connects", &connects, &spec)).await;
    cluster.create(&admin, &binding("connects", &["Deny"], &json!({}))).await;
    let pod = "/api/v1/namespaces/default/pods/nobody";
    let answer = async |path: String| {
        let request = http::Request::get(path)
            .header("connection", "Upgrade")
            .header("upgrade", "SPDY/3.1")
            .body(Vec::new())
            .expect("a request");
        match cluster.client.request_text(request).await {
            Err(kube::Error::Api(status)) => status.message,
            other => format!("{other:?}"),
        }
    };
    let shell = format!("{pod}/exec?command=sh&command=-c&stdin=true&stdout=true");
    eventually("connections are refused", || async { answer(shell.clone()).await.contains("no shells").then_some(()) })
        .await;
    for (path, why) in [
        (format!("{pod}/exec?command=sh&command=-c&stdin=false&stdout=true"), "not found"),
        (format!("{pod}/portforward?ports=80"), "not that port"),
        (format!("{pod}/portforward?ports=81"), "not found"),
        (format!("{pod}/proxy/secret/"), "not that path"),
        (format!("{pod}/proxy/other"), "not found"),
        ("/api/v1/namespaces/default/services/http:nothing:80/proxy/secret/?a=b".to_string(), "not that path"),
        ("/api/v1/nodes/nowhere/proxy/secret/".to_string(), "not that path"),
    ] {
        let told = answer(path.clone()).await;
        assert!(told.contains(why), "{path}: {told}");
    }
    cluster.stop().await;
}

// conformance: a mutating policy changes what is written and adds annotations
#[tokio::test(flavor = "multi_thread")]
async fn mutating_policies_change_what_is_written() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let mutations = json!([
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
            "Object{metadata: Object.metadata{annotations: {'by': request.userInfo.username}}}"}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression":
            "[JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('a.b'), value: params.data.value}]"}},
    ]);
    let mut policy = policy(
        "marks",
        &rule("", "configmaps", &["CREATE"]),
        &json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "reinvocationPolicy": "Never", "mutations": mutations,
            "matchConditions": [{"name": "named", "expression": "object.metadata.name != 'params'"}]}),
    );
    policy["kind"] = json!("MutatingAdmissionPolicy");
    let reference = json!({"paramRef": {"name": "params", "parameterNotFoundAction": "Deny"}});
    let mut binding = binding("marks", &[], &reference);
    binding["kind"] = json!("MutatingAdmissionPolicyBinding");
    binding["spec"].as_object_mut().expect("a spec").remove("validationActions");
    cluster.create(&admin, &map("params", &json!({"value": "v"}))).await;
    cluster.create(&admin, &policy).await;
    cluster.create(&admin, &binding).await;
    let file = cluster.file("marked.json", &map("marked", &json!({"own": "x"})));
    let shown = eventually("the policy binds", || async {
        let arguments = ["create", "--dry-run=server", "-o", "json", "-f", &file];
        let (out, _, _) = cluster.output(&admin, &arguments).await;
        out.contains("a.b").then_some(out)
    })
    .await;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["data"], json!({"own": "x", "a.b": "v"}));
    assert_eq!(shown["metadata"]["annotations"]["by"], "admin");
    let wrong = json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": "Object{}"}}]);
    policy["metadata"]["name"] = json!("wrong");
    policy["spec"]["mutations"] = wrong;
    let refused = cluster.fails(&admin, &["create", "-f", &cluster.file("wrong.json", &policy)]).await;
    assert!(refused.contains("must evaluate to list(JSONPatch)"), "{refused}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_with_something_else_is_not_asked_for_again() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let widgets = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}});
    cluster.create(&admin, &widgets).await;
    let widget =
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "default"}});
    let file = cluster.file("widget.json", &widget);
    eventually("widgets are served", || async {
        cluster.output(&admin, &["create", "-f", &file]).await.2.then_some(())
    })
    .await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]}});
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}});
    cluster.create(&admin, &account).await;
    cluster.create(&admin, &pod).await;
    let mut deletions = rule("*", "*", &["DELETE"]);
    deletions["resources"] = json!(["pods", "widgets"]);
    let kept = json!({"validations": [{"expression": "false", "message": "is kept"}]});
    cluster.create(&admin, &policy("kept", &deletions, &kept)).await;
    cluster.create(&admin, &binding("kept", &["Deny"], &json!({}))).await;
    for object in ["pod/p", "widget/w"] {
        eventually("deletions are refused", || async {
            let (_, errors, _) = cluster.output(&admin, &["delete", "--dry-run=server", object]).await;
            errors.contains("is kept").then_some(())
        })
        .await;
    }
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "default"}});
    let file = cluster.file("eviction.json", &eviction);
    cluster.succeeds(&admin, &["create", "--raw", "/api/v1/namespaces/default/pods/p/eviction", "-f", &file]).await;
    cluster.succeeds(&admin, &["delete", "crd", "widgets.example.com", "--timeout=20s"]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_tell_which_of_their_expressions_do_not_fit_their_types() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let path = "-o=jsonpath={.status.observedGeneration} {.status.typeChecking.expressionWarnings}";
    let shown = |words: &'static str| {
        let (cluster, admin) = (&cluster, &admin);
        eventually(words, move || async move {
            let (out, _, _) = cluster.output(admin, &["get", "validatingadmissionpolicy", "typed", path]).await;
            out.contains(words).then_some(out)
        })
    };
    let spec = |expression: &str| json!({"validations": [{"expression": expression}]});
    let deployments = rule("apps", "deployments", &["CREATE"]);
    cluster.create(&admin, &policy("typed", &deployments, &spec("object.spec.replica > 1"))).await;
    let told = shown("undefined field 'replica'").await;
    assert!(told.starts_with("1 ") && told.contains("spec.validations[0].expression"), "{told}");
    let mended = cluster.file("mended.json", &policy("typed", &deployments, &spec("object.spec.replicas > 1")));
    cluster.succeeds(&admin, &["replace", "-f", &mended]).await;
    let told = shown("2 ").await;
    assert!(!told.contains("undefined"), "{told}");
    cluster.stop().await;
}
