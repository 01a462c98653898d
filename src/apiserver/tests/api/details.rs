//! Small things of single kinds that clients look at, each as Kubernetes has it.

use serde_json::{Value, json};

use crate::support::{TestServer, start};

const JSON: &str = "application/json";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

async fn post(server: &TestServer, path: &str, body: &Value) -> (u16, Value) {
    server.json("POST", path, JSON, &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eviction_names_its_pod() {
    let server = start().await;
    let pods = "/api/v1/namespaces/default/pods";
    server.create("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    server.create(pods, pod).await;
    for name in [json!({}), json!({"name": "q"})] {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": name});
        let (code, status) = post(&server, &format!("{pods}/p/eviction"), &eviction).await;
        let told = json!("name in URL does not match name in Eviction object");
        assert_eq!((code, &status["message"]), (400, &told), "{eviction}");
    }
    assert_eq!(server.get(&format!("{pods}/p")).await.0, 200);
    server.stop().await;
}

/// The old form of a watch has no place for an object of a namespace without the namespace.
#[tokio::test(flavor = "multi_thread")]
async fn objects_of_namespaces_are_not_found_without_one() {
    let server = start().await;
    for path in ["/api/v1/watch/configmaps/a?timeoutSeconds=1", "/api/v1/configmaps/a", "/api/v1/configmaps/a?watch=1"]
    {
        let (code, status) = server.get(path).await;
        assert_eq!((code, &status["reason"]), (404, &json!("NotFound")), "{path}: {status}");
    }
    let mut nodes = server.watch("/api/v1/watch/namespaces/default?timeoutSeconds=5", "").await;
    assert_eq!(nodes.next_name().await, ("ADDED".to_string(), "default".to_string()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_ends_has_no_grace_period() {
    let server = start().await;
    server.create("/api/v1/namespaces", json!({"metadata": {"name": "a"}})).await;
    let (_, ending) = server.json("DELETE", "/api/v1/namespaces/a", "", "").await;
    assert_eq!(ending["status"]["phase"], "Terminating", "{ending}");
    assert!(ending["metadata"]["deletionTimestamp"].is_string(), "{ending}");
    assert_eq!(ending["metadata"].get("deletionGracePeriodSeconds"), None, "{ending}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn daemon_sets_count_their_templates() {
    const ANNOTATION: &str = "deprecated.daemonset.template.generation";
    let server = start().await;
    let sets = "/apis/apps/v1/namespaces/default/daemonsets";
    let template = |image: &str| json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": image}]}});
    let set = |image: &str| json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template(image)}});
    let counted = |object: &Value| object["metadata"]["annotations"][ANNOTATION].clone();
    let made = server.create(sets, set("1")).await;
    assert_eq!(counted(&made), "1", "{made}");
    let path = format!("{sets}/d");
    let (_, same) = server.json("PUT", &path, JSON, &set("1").to_string()).await;
    assert_eq!((counted(&same), &same["metadata"]["generation"]), (json!("1"), &json!(1)), "{same}");
    let (_, other) = server.json("PUT", &path, JSON, &set("2").to_string()).await;
    assert_eq!((counted(&other), &other["metadata"]["generation"]), (json!("2"), &json!(2)), "{other}");
    let claim = json!({"metadata": {"annotations": {ANNOTATION: "7"}}, "spec": {"minReadySeconds": 3}}).to_string();
    let (_, claimed) = server.json("PATCH", &path, "application/merge-patch+json", &claim).await;
    assert_eq!((counted(&claimed), &claimed["metadata"]["generation"]), (json!("2"), &json!(3)), "{claimed}");
    server.stop().await;
}

fn definition(plural: &str, kind: &str, spec: Value) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
    json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_definition_says_in_which_version_its_objects_are_stored() {
    let server = start().await;
    let made = server.create(DEFINITIONS, definition("foos", "Foo", json!({"type": "object"}))).await;
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]), "{made}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_resources_are_of_a_kind_and_have_sound_metadata() {
    let server = start().await;
    let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true});
    let spec = json!({"type": "object", "properties": {
        "one": embedded, "many": {"type": "array", "items": embedded},
        "named": {"type": "object", "additionalProperties": embedded}}});
    server.create(DEFINITIONS, definition("bars", "Bar", spec)).await;
    let bars = "/apis/example.com/v1/namespaces/default/bars";
    let sound = json!({"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "a", "labels": {"b": "c"}}});
    let refused = |one: Value| {
        let bar = json!({"apiVersion": "example.com/v1", "kind": "Bar", "metadata": {"name": "b"}, "spec": one});
        let server = &server;
        async move {
            let (code, status) = post(server, &format!("{bars}?dryRun=All"), &bar).await;
            let message = status["message"].as_str().unwrap_or_default().to_string();
            if code == 201 { None } else { Some(message.replace("Bar.example.com \"b\" is invalid: ", "")) }
        }
    };
    let with = |path: &str, value: Value| {
        let mut object = sound.clone();
        *object.pointer_mut(path).expect("a field") = value;
        object
    };
    assert_eq!(refused(json!({"one": sound, "many": [sound], "named": {"x": sound}})).await, None);
    let cases = [
        (json!({"one": with("/apiVersion", json!(""))}), "spec.one.apiVersion: Invalid value: \"\": must not be empty"),
        (
            json!({"one": with("/apiVersion", json!("a/b/c"))}),
            "spec.one.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
        ),
        (
            json!({"many": [sound, with("/kind", json!(""))]}),
            "spec.many[1].kind: Invalid value: \"\": must not be empty",
        ),
        (
            json!({"one": with("/kind", json!("a b"))}),
            "spec.one.kind: Invalid value: \"a b\": may have mixed case, but should otherwise match: a DNS-1035 label must \
             consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an \
             alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
        ),
        (
            json!({"named": {"x": with("/metadata/name", json!("a/b"))}}),
            "spec.named[x].metadata.name: Invalid value: \"a/b\": may not contain '/'",
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(refused(spec.clone()).await.as_deref(), Some(expected), "{spec}");
    }
    let labels = refused(json!({"one": with("/metadata/labels", json!({"b": "c d"}))})).await.unwrap_or_default();
    assert!(labels.starts_with("spec.one.metadata.labels: Invalid value: \"c d\":"), "{labels}");
    server.stop().await;
}
