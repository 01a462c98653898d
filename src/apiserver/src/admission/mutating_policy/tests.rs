//! The plugin on a store with policies in it.

use serde_json::json;

use super::*;
use crate::admission::testing::{Asked, Cluster, create, run};
use crate::plugin::AllowAll;

fn policy(name: &str, spec: Value) -> Value {
    let rule = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
    let mut policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name},
        "spec": {"matchConstraints": {"resourceRules": [rule]}}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        policy["spec"][field] = value.clone();
    }
    policy
}

fn apply_configuration(text: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}})
}

fn json_patch(text: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": text}})
}

async fn plugin(cluster: &Cluster, policies: Vec<Value>) -> MutatingPolicies {
    for policy in policies {
        let name = meta::name(&policy).to_string();
        cluster.put("mutatingadmissionpolicies", policy).await;
        let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}, "spec": {"policyName": name}});
        cluster.put("mutatingadmissionpolicybindings", binding).await;
    }
    let policies = Followed::start(cluster.live.store()).await.expect("an index");
    MutatingPolicies { policies, live: cluster.live.clone(), authorizer: Arc::new(AllowAll) }
}

fn deployment() -> Value {
    let containers = json!([{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]);
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n", "annotations": {"x": "y"}},
        "spec": {"replicas": 1, "template": {"spec": {"containers": containers}}}})
}

fn asked() -> Asked {
    Asked { kind: "Deployment", ..create("apps", "deployments", "n") }
}

#[tokio::test]
async fn configurations_are_merged_and_patches_carried_out_in_their_order() {
    let cluster = Cluster::new();
    let mutations = json!([
        apply_configuration(
            "Object{metadata: Object.metadata{annotations: {'made': 'yes'}}, spec: Object.spec{replicas: object.spec.replicas + 1, \
             template: Object.spec.template{spec: Object.spec.template.spec{containers: [\
             Object.spec.template.spec.containers{name: 'b', image: 'k'}]}}}}",
        ),
        json_patch("[JSONPatch{op: 'replace', path: '/spec/replicas', value: object.spec.replicas * 10}]"),
    ]);
    let plugin = plugin(&cluster, vec![policy("p", json!({"mutations": mutations}))]).await;
    let made = run(&plugin, &asked(), Some(deployment())).await.expect("is admitted");
    assert_eq!(made["metadata"]["annotations"], json!({"x": "y", "made": "yes"}));
    assert_eq!(made["spec"]["replicas"], 20);
    let containers = made["spec"]["template"]["spec"]["containers"].as_array().expect("a list");
    let images: Vec<&str> = containers.iter().filter_map(|container| container["image"].as_str()).collect();
    assert_eq!(images, ["i", "k"]);
    assert_eq!(containers[1]["imagePullPolicy"], "Always", "what a policy has changed has its defaults");
}

#[tokio::test]
async fn what_cannot_be_changed_refuses_unless_failures_are_ignored() {
    let denied = "deployments.apps \"d\" is forbidden: policy 'p' with binding 'p' denied request:";
    for (mutation, why) in [
        (
            json_patch("[JSONPatch{op: 'replace', path: '/metadata/name', value: 'other'}]"),
            "metadata.name may not be changed".to_string(),
        ),
        (
            apply_configuration(
                "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [\
                 Object.spec.template.spec.containers{name: 'b', args: ['x']}]}}}}",
            ),
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: \
             .spec.template.spec.containers[0].args"
                .to_string(),
        ),
        (
            apply_configuration("Object{spec: Object.spec{replicas: object.nothing}}"),
            "expression 'Object{spec: Object.spec{replicas: object.nothing}}' resulted in error: no such key: nothing"
                .to_string(),
        ),
    ] {
        for (ignores, expected) in [("Ignore", None), ("Fail", Some(format!("{denied} {why}")))] {
            let cluster = Cluster::new();
            let spec = json!({"failurePolicy": ignores, "mutations": [mutation]});
            let plugin = plugin(&cluster, vec![policy("p", spec)]).await;
            let answer = run(&plugin, &asked(), Some(deployment())).await;
            let message = answer.as_ref().err().map(|status| status.message().to_string());
            assert_eq!(message, expected);
            assert!(answer.is_err() || answer.is_ok_and(|made| made == deployment()));
        }
    }
}

#[tokio::test]
async fn a_policy_that_asks_for_it_sees_what_later_ones_have_changed() {
    let count = "Object{metadata: Object.metadata{annotations: {'seen': string(object.spec.replicas)}}}";
    let raise = "Object{spec: Object.spec{replicas: 5}}";
    for (reinvocation, expected) in [("Never", "1"), ("IfNeeded", "5")] {
        let cluster = Cluster::new();
        let first = policy("a", json!({"reinvocationPolicy": reinvocation, "mutations": [apply_configuration(count)]}));
        let second = policy("b", json!({"reinvocationPolicy": "Never", "mutations": [apply_configuration(raise)]}));
        let plugin = plugin(&cluster, vec![first, second]).await;
        let made = run(&plugin, &asked(), Some(deployment())).await.expect("is admitted");
        assert_eq!(made["metadata"]["annotations"]["seen"], expected);
    }
}

#[tokio::test]
async fn a_patch_whose_test_fails_changes_nothing() {
    let cluster = Cluster::new();
    let patch = "[JSONPatch{op: 'test', path: '/spec/replicas', value: 3}, JSONPatch{op: 'replace', path: '/spec/replicas', value: 4}]";
    let plugin = plugin(&cluster, vec![policy("p", json!({"mutations": [json_patch(patch)]}))]).await;
    for (replicas, expected) in [(1, 1), (3, 4)] {
        let mut object = deployment();
        object["spec"]["replicas"] = json!(replicas);
        let made = run(&plugin, &asked(), Some(object)).await.expect("is admitted");
        assert_eq!(made["spec"]["replicas"], expected);
    }
}
