//! Requests and what a reference server of Kubernetes was seen to answer, of those that differed and were mended.
//! A row is one request; rows of a table follow each other on one server.

use serde_json::{Value, json};

use crate::support::{TestServer, start};

const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// Method, path, media type, body, the code, where to look in the answer, and what is there.
type Row<'a> = (&'a str, String, &'a str, Value, u16, &'a str, Value);

async fn answers(server: &TestServer, rows: Vec<Row<'_>>) {
    for (method, path, media_type, body, code, place, expected) in rows {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (found, answer) = server.json(method, &path, media_type, &text).await;
        assert_eq!(found, code, "{method} {path} {body}: {answer}");
        assert_eq!(answer.pointer(place).unwrap_or(&Value::Null), &expected, "{method} {path} {body}: {answer}");
    }
}

fn maps(rest: &str) -> String {
    format!("/api/v1/namespaces/default/configmaps{rest}")
}

fn deployments(rest: &str) -> String {
    format!("/apis/apps/v1/namespaces/default/deployments{rest}")
}

#[tokio::test(flavor = "multi_thread")]
async fn patches() {
    let server = start().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
        {"name": "a", "image": "i", "env": [{"name": "E", "value": "1"}]}, {"name": "b", "image": "j"}]}});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "paused": false, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let containers = "/spec/template/spec/containers";
    let unnamed = "the name of the object (c based on URL) was undeterminable: name must be provided";
    let patched = |list: Value| json!({"spec": {"template": {"spec": {"containers": list}}}});
    answers(
        &server,
        vec![
            (
                "POST",
                maps(""),
                JSON,
                json!({"metadata": {"name": "c"}, "data": {"a": "1"}}),
                201,
                "/data/a",
                json!("1"),
            ),
            (
                "PATCH",
                maps("/c"),
                JSON_PATCH,
                json!([{"op": "replace", "path": "/data/n", "value": "x"}]),
                200,
                "/data/n",
                json!("x"),
            ),
            (
                "PATCH",
                maps("/c"),
                JSON_PATCH,
                json!([{"op": "remove", "path": "/data/zz"}]),
                422,
                "/reason",
                json!("Invalid"),
            ),
            (
                "PATCH",
                maps("/c"),
                JSON_PATCH,
                json!([{"op": "frob", "path": "/data/a"}]),
                422,
                "/reason",
                json!("Invalid"),
            ),
            ("PATCH", maps("/c"), JSON_PATCH, json!([1]), 400, "/reason", json!("BadRequest")),
            (
                "PATCH",
                maps("/c"),
                JSON_PATCH,
                json!([{"op": "add", "path": "/data/a", "value": 5}]),
                422,
                "/details/causes/0/field",
                json!("patch"),
            ),
            (
                "PATCH",
                maps("/c"),
                MERGE_PATCH,
                json!({"data": {"a": 5}}),
                422,
                "/details/causes/0/field",
                json!("patch"),
            ),
            ("PATCH", maps("/c"), MERGE_PATCH, json!({"metadata": null}), 400, "/message", json!(unnamed)),
            (
                "PATCH",
                maps("/c"),
                JSON_PATCH,
                json!([{"op": "remove", "path": "/metadata/name"}]),
                400,
                "/message",
                json!(unnamed),
            ),
            (
                "PATCH",
                maps("/c"),
                MERGE_PATCH,
                json!({"metadata": {"uid": "x"}}),
                422,
                "/details/causes/0/field",
                json!("metadata.uid"),
            ),
            (
                "PUT",
                maps("/c"),
                JSON,
                json!({"metadata": {"name": "c", "uid": "x"}}),
                409,
                "/reason",
                json!("Conflict"),
            ),
            ("POST", deployments(""), JSON, deployment, 201, "/spec/paused", Value::Null),
            (
                "PATCH",
                deployments("/d"),
                MERGE_PATCH,
                json!({"metadata": {"labels": {"l": "1"}}}),
                200,
                "/metadata/generation",
                json!(1),
            ),
            (
                "PATCH",
                deployments("/d"),
                MERGE_PATCH,
                json!({"metadata": {"annotations": {"a": "1"}}}),
                200,
                "/metadata/generation",
                json!(2),
            ),
            (
                "PATCH",
                deployments("/d"),
                STRATEGIC,
                patched(json!([{"name": "z", "image": "n"}])),
                200,
                &format!("{containers}/0/name"),
                json!("z"),
            ),
            (
                "PATCH",
                deployments("/d"),
                STRATEGIC,
                patched(json!([{"name": "a", "args": []}])),
                200,
                &format!("{containers}/1/args"),
                Value::Null,
            ),
            (
                "PATCH",
                deployments("/d"),
                STRATEGIC,
                patched(json!([{"name": "a", "$patch": "frob"}])),
                422,
                "/reason",
                json!("Invalid"),
            ),
        ],
    )
    .await;
    // JSON is all that a patch of JSON may be.
    let (code, answer) = server.json("PATCH", &maps("/c"), MERGE_PATCH, "data:\n  n: x\n").await;
    assert_eq!((code, &answer["reason"]), (400, &json!("BadRequest")), "{answer}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applying() {
    let server = start().await;
    let (named, unnamed) = (json!({"name": "c"}), json!({}));
    let map =
        |metadata: &Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}});
    let by = |manager: &str| maps(&format!("/c?fieldManager={manager}"));
    let missing = "the name of the object (c based on URL) was undeterminable: name must be provided";
    let uid = "Operation cannot be fulfilled on configmaps \"c\": uid mismatch: the provided object specified uid x, and \
               no existing object was found";
    answers(
        &server,
        vec![
            ("PATCH", by("m"), APPLY, map(&unnamed), 400, "/message", json!(missing)),
            ("PATCH", by("m"), APPLY, map(&json!({"name": "c", "uid": "x"})), 409, "/message", json!(uid)),
            (
                "PATCH",
                by("m"),
                APPLY,
                map(&json!({"name": "c", "managedFields": []})),
                400,
                "/message",
                json!("metadata.managedFields must be nil"),
            ),
            (
                "PATCH",
                by(&"m".repeat(129)),
                APPLY,
                map(&named),
                422,
                "/details/causes/0/reason",
                json!("FieldValueTooLong"),
            ),
            ("PATCH", by("m"), APPLY, map(&named), 201, "/metadata/namespace", json!("default")),
            ("PATCH", by("m"), APPLY, map(&unnamed), 200, "/metadata/name", json!("c")),
            (
                "PATCH",
                by("m"),
                APPLY,
                map(&json!({"name": "c", "uid": "x"})),
                422,
                "/details/causes/0/field",
                json!("metadata.uid"),
            ),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_lists() {
    let server = start().await;
    let owner = json!({"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u"});
    let named = |name: &str| json!({"metadata": {"name": name}});
    answers(
        &server,
        vec![
            ("POST", maps(""), JSON, json!({"metadata": "x"}), 400, "/reason", json!("BadRequest")),
            (
                "POST",
                maps(""),
                JSON,
                json!({"metadata": {"name": "o", "ownerReferences": [owner, owner]}}),
                201,
                "/metadata/ownerReferences",
                json!([owner]),
            ),
            ("PUT", maps("/o?dryRun=All"), JSON, named("o"), 200, "/metadata/ownerReferences", Value::Null),
            ("POST", maps(""), JSON, named("a"), 201, "/metadata/name", json!("a")),
            ("POST", maps(""), JSON, named("b"), 201, "/metadata/name", json!("b")),
            ("GET", maps("?limit=-1"), "", Value::Null, 200, "/metadata/continue", Value::Null),
            ("GET", maps("?timeoutSeconds=x"), "", Value::Null, 400, "/reason", json!("BadRequest")),
            (
                "GET",
                maps("?labelSelector=a%20in"),
                "",
                Value::Null,
                400,
                "/message",
                json!("unable to parse requirement: found '' expected: '('"),
            ),
            (
                "GET",
                maps("?labelSelector=a%3Db%3Dc"),
                "",
                Value::Null,
                400,
                "/message",
                json!("found '=', expected: ',' or 'end of string'"),
            ),
            ("DELETE", maps("?limit=1&labelSelector=!x"), "", Value::Null, 200, "/items/1", Value::Null),
            ("GET", maps("/b"), "", Value::Null, 200, "/metadata/name", json!("b")),
            (
                "POST",
                "/api/v1/namespaces/default/events".to_string(),
                JSON,
                json!({
                "metadata": {"name": "system:x.17a"}, "involvedObject": {"kind": "ClusterRole", "name": "system:x"}}),
                201,
                "/metadata/name",
                json!("system:x.17a"),
            ),
        ],
    )
    .await;
    let (_, object) = server.json("PUT", &maps("/o?dryRun=All"), JSON, &named("o").to_string()).await;
    assert!(object["metadata"]["resourceVersion"].is_string(), "{object}");
    server.stop().await;
}

/// Finalizers of many operators' objects are a domain and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn custom_objects_take_finalizers_without_a_path() {
    let server = start().await;
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = json!({"metadata": {"name": "foos.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "foos", "kind": "Foo"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}});
    server.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    let foos = "/apis/example.com/v1/namespaces/default/foos";
    let foo = json!({"apiVersion": "example.com/v1", "kind": "Foo",
        "metadata": {"name": "a", "finalizers": ["keep.example.com", "example.com/keep"]}});
    let request = http::Request::post(foos).header("content-type", JSON).body(foo.to_string().into_bytes());
    let (code, headers, body) = server.request(request.expect("a request")).await;
    assert_eq!(code, 201, "{}", String::from_utf8_lossy(&body));
    let warning = "299 - \"metadata.finalizers: \\\"keep.example.com\\\": prefer a domain-qualified finalizer name \
                   including a path (/) to avoid accidental conflicts with other finalizer writers\"";
    assert_eq!(headers.get("warning").map(String::as_str), Some(warning));
    // Of what was there nothing is said again.
    let patch = http::Request::patch(format!("{foos}/a")).header("content-type", MERGE_PATCH);
    let patch = patch.body(json!({"metadata": {"labels": {"l": "1"}}}).to_string().into_bytes());
    let (code, headers, _) = server.request(patch.expect("a request")).await;
    assert_eq!((code, headers.get("warning")), (200, None));
    server.stop().await;
}
