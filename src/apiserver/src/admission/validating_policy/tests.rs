//! The plugin on a store with policies in it.

use serde_json::json;

use super::*;
use crate::admission::testing::{Asked, Cluster, create, run};
use crate::plugin::Decision;
use crate::request::{Attributes, User};

/// Allows whatever is asked of `allowed`.
struct Picky;

#[async_trait]
impl Authorizer for Picky {
    async fn authorize(&self, user: &User, attributes: &Attributes) -> Decision {
        match attributes.resource == "allowed" || user.name == "system:serviceaccount:n:robot" {
            true => Decision::Allow("is allowed".to_string()),
            false => Decision::NoOpinion("is not".to_string()),
        }
    }
}

fn policy(spec: Value) -> Value {
    let rule = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
    let mut policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "p"},
        "spec": {"matchConstraints": {"resourceRules": [rule]}}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        policy["spec"][field] = value.clone();
    }
    policy
}

fn binding(spec: Value) -> Value {
    let mut binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "b"},
        "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        binding["spec"][field] = value.clone();
    }
    binding
}

async fn plugin(cluster: &Cluster, of: Value, with: Value) -> ValidatingPolicies {
    cluster.put("validatingadmissionpolicies", policy(of)).await;
    cluster.put("validatingadmissionpolicybindings", binding(with)).await;
    let policies = Followed::start(cluster.live.store()).await.expect("an index");
    ValidatingPolicies { policies, live: cluster.live.clone(), authorizer: Arc::new(Picky) }
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": data})
}

async fn answer(plugin: &ValidatingPolicies, asked: &Asked, object: Option<Value>) -> String {
    run(plugin, asked, object)
        .await
        .map_or_else(|status| format!("{} {}", status.code(), status.message()), |_| "ok".into())
}

#[tokio::test]
async fn requests_are_refused_in_kubernetes_words() {
    let denied = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request:";
    for (validation, expected) in [
        (json!({"expression": "object.data.a == 'b'"}), "ok".to_string()),
        (
            json!({"expression": "object.data.a == 'c'"}),
            format!("422 configmaps \"c\" is forbidden: {denied} failed expression: object.data.a == 'c'"),
        ),
        (
            json!({"expression": "false", "message": "no", "reason": "Forbidden"}),
            format!("403 configmaps \"c\" is forbidden: {denied} no"),
        ),
        (
            json!({"expression": "object.x"}),
            format!(
                "422 configmaps \"c\" is forbidden: {denied} expression 'object.x' resulted in error: must evaluate to bool"
            ),
        ),
    ] {
        let cluster = Cluster::new();
        let plugin = plugin(&cluster, json!({"validations": [validation]}), json!({})).await;
        let asked = create("", "configmaps", "n");
        assert_eq!(answer(&plugin, &asked, Some(map(json!({"a": "b"})))).await, expected);
        // Policies can always be taken back, and questions always be asked.
        for (group, resource) in [
            ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
            ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ] {
            assert_eq!(answer(&plugin, &create(group, resource, ""), Some(map(json!({})))).await, "ok");
        }
    }
}

#[tokio::test]
async fn deletions_have_the_object_as_it_was() {
    let cluster = Cluster::new();
    let plugin = plugin(
        &cluster,
        json!({"validations": [{"expression": "object != null || oldObject.data.keep != 'yes'"}]}),
        json!({}),
    )
    .await;
    let gone = |keep: &str| Asked {
        operation: Operation::Delete,
        old: Some(map(json!({"keep": keep}))),
        name: "c".to_string(),
        ..create("", "configmaps", "n")
    };
    assert_eq!(answer(&plugin, &gone("no"), None).await, "ok");
    assert!(answer(&plugin, &gone("yes"), None).await.starts_with("422 configmaps \"c\" is forbidden"));
}

#[tokio::test]
async fn parameters_are_found_by_name_and_by_selector() {
    let kind = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    let of = json!({"paramKind": kind, "validations": [{"expression": "object.data.a == params.data.a", "message": "differs"}]});
    let labelled = |name: &str, namespace: &str, a: &str| json!({"apiVersion": "v1", "metadata": {"name": name, "namespace": namespace, "labels": {"l": name}}, "data": {"a": a}});
    let denied = "422 configmaps \"c\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request:";
    for (reference, expected) in [
        (json!({"name": "same", "parameterNotFoundAction": "Deny"}), "ok".to_string()),
        (json!({"name": "other", "parameterNotFoundAction": "Deny"}), format!("{denied} differs")),
        (json!({"name": "same", "namespace": "m", "parameterNotFoundAction": "Deny"}), format!("{denied} differs")),
        (json!({"selector": {"matchLabels": {"l": "same"}}, "parameterNotFoundAction": "Deny"}), "ok".to_string()),
        (json!({"selector": {}, "parameterNotFoundAction": "Deny"}), format!("{denied} differs")),
        (json!({"name": "none", "parameterNotFoundAction": "Allow"}), "ok".to_string()),
        (
            json!({"name": "none", "parameterNotFoundAction": "Deny"}),
            format!(
                "{denied} failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
            ),
        ),
    ] {
        let cluster = Cluster::new();
        cluster.put("configmaps", labelled("same", "n", "b")).await;
        cluster.put("configmaps", labelled("other", "n", "z")).await;
        cluster.put("configmaps", labelled("same", "m", "z")).await;
        let plugin = plugin(&cluster, of.clone(), json!({"paramRef": reference})).await;
        let asked = create("", "configmaps", "n");
        assert_eq!(answer(&plugin, &asked, Some(map(json!({"a": "b"})))).await, expected, "{reference}");
    }
}

#[tokio::test]
async fn the_authorizer_and_the_namespace_can_be_asked() {
    let cluster = Cluster::new();
    cluster.put("namespaces", json!({"apiVersion": "v1", "metadata": {"name": "n", "labels": {"env": "prod"}}})).await;
    let check = |chain: &str| json!({"expression": format!("authorizer.{chain}.check('create').allowed()")});
    let of = json!({"validations": [
        {"expression": "namespaceObject.metadata.labels.env == 'prod'"},
        check("group('').resource('allowed')"),
        check("serviceAccount('n', 'robot').group('').resource('configmaps')"),
        check("requestResource"),
    ]});
    let plugin = plugin(&cluster, of, json!({})).await;
    let refused = answer(&plugin, &create("", "configmaps", "n"), Some(map(json!({})))).await;
    assert!(refused.ends_with("failed expression: authorizer.requestResource.check('create').allowed()"), "{refused}");
    let allowed = create("", "allowed", "n");
    assert_eq!(answer(&plugin, &allowed, Some(map(json!({})))).await, "ok");
}

#[tokio::test]
async fn what_is_not_meant_is_not_looked_at() {
    let cluster = Cluster::new();
    let of = json!({"validations": [{"expression": "false"}]});
    let resources = json!({"resourceRules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"]}]});
    let plugin = plugin(&cluster, of, json!({"matchResources": resources})).await;
    assert_eq!(answer(&plugin, &create("", "configmaps", "n"), Some(map(json!({})))).await, "ok");
    assert_ne!(answer(&plugin, &create("", "secrets", "n"), Some(map(json!({})))).await, "ok");
}
