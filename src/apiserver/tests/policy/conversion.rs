//! Conversion webhooks: custom resources that look different in each of their versions.

use futures::AsyncBufReadExt;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::hooks::Hooks;
use crate::support::{Cluster, eventually};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const GROUP: &str = "converted.example.com";

fn servers(version: &str) -> String {
    format!("/apis/{GROUP}/{version}/namespaces/default/servers")
}

/// v1 has `hostPort: "host:port"`, v2 `host` and `port`.
fn definition(hooks: &Hooks, stored: &str) -> Value {
    let text = json!({"type": "string"});
    let version = |name: &str, properties: Value, fields: Value| {
        json!({"name": name, "served": true, "storage": name == stored, "selectableFields": fields,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}})
    };
    let (one, two) = (json!([{"jsonPath": ".hostPort"}]), json!([{"jsonPath": ".host"}]));
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("servers.{GROUP}")},
        "spec": {"group": GROUP, "scope": "Namespaced",
            "names": {"plural": "servers", "singular": "server", "kind": "Server", "listKind": "ServerList"},
            "versions": [version("v1", json!({"hostPort": text}), one),
                version("v2", json!({"host": text, "port": text}), two)],
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": hooks.config("/convert"), "conversionReviewVersions": ["v1", "v1beta1"]}}}})
}

fn server(version: &str, name: &str, host: &str) -> Value {
    let mut object = json!({"apiVersion": format!("{GROUP}/{version}"), "kind": "Server", "metadata": {"name": name}});
    if version == "v1" {
        object["hostPort"] = json!(format!("{host}:80"));
    } else {
        (object["host"], object["port"]) = (json!(host), json!("80"));
    }
    object
}

/// The object in another version, as the webhook makes it.
fn converted(object: &Value, wanted: &str) -> Value {
    let mut made = json!({"apiVersion": wanted, "kind": object["kind"], "metadata": object["metadata"]});
    if wanted.ends_with("v2") {
        let (host, port) = object["hostPort"].as_str().and_then(|text| text.split_once(':')).unwrap_or(("", ""));
        (made["host"], made["port"]) = (json!(host), json!(port));
    } else {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        made["hostPort"] = json!(format!("{}:{}", text("host"), text("port")));
    }
    made
}

fn convert(review: &Value) -> Value {
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].as_str().unwrap_or_default();
    let objects = request["objects"].as_array().cloned().unwrap_or_default();
    let is_broken = |object: &Value| object["metadata"]["name"] == "broken";
    let (result, objects): (Value, Vec<Value>) = match objects.iter().any(is_broken) {
        true => (json!({"status": "Failure", "message": "this one cannot be converted"}), Vec::new()),
        false => (json!({"status": "Success"}), objects.iter().map(|object| converted(object, wanted)).collect()),
    };
    json!({"apiVersion": review["apiVersion"], "kind": "ConversionReview",
        "response": {"uid": request["uid"], "result": result, "convertedObjects": objects}})
}

async fn start() -> (Cluster, Hooks) {
    let cluster = Cluster::start_local().await;
    let hooks = Hooks::start(|_, review| Some(convert(review))).await;
    cluster.made(DEFINITIONS, &definition(&hooks, "v1")).await;
    (cluster, hooks)
}

/// Has objects stored in another version from now on.
async fn store(cluster: &Cluster, hooks: &Hooks, version: &str) {
    let versions = definition(hooks, version)["spec"]["versions"].clone();
    let at = format!("{DEFINITIONS}/servers.{GROUP}");
    let (code, answer) = cluster.ask("PATCH", &at, Some(&json!({"spec": {"versions": versions}}))).await;
    assert_eq!(code, 200, "{answer}");
}

// conformance: conversion webhook: CR stored v1 read at v2; list of mixed stored versions returned all at v2 (2)
#[tokio::test(flavor = "multi_thread")]
async fn objects_are_read_in_every_version_whichever_they_are_stored_in() {
    let (cluster, hooks) = start().await;
    cluster.made(&servers("v1"), &server("v1", "one", "a.example.com")).await;
    let (code, read) = cluster.ask("GET", &format!("{}/one", servers("v2")), None).await;
    assert_eq!((code, &read["host"], &read["port"]), (200, &json!("a.example.com"), &json!("80")), "{read}");
    assert_eq!((&read["apiVersion"], &read["hostPort"]), (&json!(format!("{GROUP}/v2")), &Value::Null));
    let (_, own) = cluster.ask("GET", &format!("{}/one", servers("v1")), None).await;
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        assert_eq!(own["metadata"][field], read["metadata"][field], "{field}");
    }
    // One is stored as v1, the others as v2.
    store(&cluster, &hooks, "v2").await;
    cluster.made(&servers("v1"), &server("v1", "two", "b.example.com")).await;
    cluster.made(&servers("v2"), &server("v2", "three", "c.example.com")).await;
    for (version, field) in [("v2", "host"), ("v1", "hostPort")] {
        let (_, list) = cluster.ask("GET", &servers(version), None).await;
        let items = list["items"].as_array().expect("items");
        assert_eq!(items.len(), 3);
        for item in items {
            assert_eq!(item["apiVersion"], format!("{GROUP}/{version}"));
            assert!(item[field].as_str().is_some_and(|text| text.contains(".example.com")), "{item}");
        }
    }
    // Writing an object stores it in the version that is stored now.
    let reviews = hooks.seen("/convert").len();
    let at = format!("{}/one", servers("v2"));
    let (code, patched) = cluster.ask("PATCH", &at, Some(&json!({"port": "81"}))).await;
    assert_eq!((code, &patched["port"], &patched["metadata"]["generation"]), (200, &json!("81"), &json!(2)));
    let after = hooks.seen("/convert").len();
    assert!(after > reviews);
    cluster.ask("GET", &at, None).await;
    assert_eq!(hooks.seen("/convert").len(), after, "it is stored as v2");
    let (_, old) = cluster.ask("GET", &format!("{}/one", servers("v1")), None).await;
    assert_eq!(old["hostPort"], "a.example.com:81");
    eventually("the status tells of both versions", || async {
        let (_, definition) = cluster.ask("GET", &format!("{DEFINITIONS}/servers.{GROUP}"), None).await;
        (definition["status"]["storedVersions"] == json!(["v1", "v2"])).then_some(())
    })
    .await;
    let (code, gone) = cluster.ask("DELETE", &format!("{}/one", servers("v1")), None).await;
    assert_eq!(code, 200, "{gone}");
    cluster.stop().await;
}

/// The types of a watch's events, with the name and version of their objects.
async fn events(cluster: &Cluster, path: &str, count: usize) -> Vec<(String, String, String)> {
    let request = http::Request::get(path).body(Vec::new()).expect("a request");
    let stream = cluster.client.request_stream(request).await.expect("a stream");
    let lines = stream.lines().take(count).collect::<Vec<_>>();
    let lines = tokio::time::timeout(std::time::Duration::from_secs(20), lines).await.expect("events in time");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let read = |line: std::io::Result<String>| -> (String, String, String) {
        let event: Value = serde_json::from_str(&line.expect("a line")).expect("an event");
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]), text(&event["object"]["apiVersion"]))
    };
    lines.into_iter().map(read).collect()
}

// conformance: selectableFields: list, watch and informers honour CR field selectors across two converted versions
#[tokio::test(flavor = "multi_thread")]
async fn selectors_ask_for_fields_of_their_own_version() {
    let (cluster, hooks) = start().await;
    cluster.made(&servers("v1"), &server("v1", "one", "a.example.com")).await;
    store(&cluster, &hooks, "v2").await;
    cluster.made(&servers("v2"), &server("v2", "two", "a.example.com")).await;
    cluster.made(&servers("v1"), &server("v1", "three", "b.example.com")).await;
    let selected = |version: &str, selector: &str| format!("{}?fieldSelector={selector}", servers(version));
    let names = async |path: String| -> Vec<String> {
        let (code, list) = cluster.ask("GET", &path, None).await;
        assert_eq!(code, 200, "{list}");
        let items = list["items"].as_array().expect("items").iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_string()).collect()
    };
    assert_eq!(names(selected("v2", "host%3Da.example.com")).await, ["one", "two"]);
    assert_eq!(names(selected("v1", "hostPort%3Da.example.com:80")).await, ["one", "two"]);
    assert_eq!(names(selected("v1", "hostPort%3Db.example.com:80")).await, ["three"]);
    assert_eq!(names(format!("{}&limit=1", selected("v2", "host%3Db.example.com"))).await, ["three"]);
    let refused = cluster.refused("GET", &selected("v2", "hostPort%3Da"), None).await;
    assert_eq!(refused, "field label not supported: hostPort");
    // A watch begins with what is there, and tells of what comes to be meant and ceases to.
    for (version, selector) in [("v1", "hostPort%3Da.example.com:80"), ("v2", "host%3Da.example.com")] {
        let (_, list) = cluster.ask("GET", &servers(version), None).await;
        let revision = list["metadata"]["resourceVersion"].as_str().expect("a revision");
        let path = |from: &str| format!("{}&watch=true&timeoutSeconds=20{from}", selected(version, selector));
        let own = format!("{GROUP}/{version}");
        let expected = |events: &[(&str, &str)]| -> Vec<(String, String, String)> {
            events.iter().map(|(type_, name)| (type_.to_string(), name.to_string(), own.clone())).collect()
        };
        assert_eq!(events(&cluster, &path(""), 2).await, expected(&[("ADDED", "one"), ("ADDED", "two")]));
        for (name, host) in [("three", "a.example.com"), ("one", "c.example.com"), ("three", "b.example.com")] {
            let patch = json!({"host": host});
            let (code, _) = cluster.ask("PATCH", &format!("{}/{name}", servers("v2")), Some(&patch)).await;
            assert_eq!(code, 200);
        }
        let changes = events(&cluster, &path(&format!("&resourceVersion={revision}")), 3).await;
        assert_eq!(changes, expected(&[("ADDED", "three"), ("DELETED", "one"), ("DELETED", "three")]));
        let back = json!({"host": "a.example.com"});
        assert_eq!(cluster.ask("PATCH", &format!("{}/one", servers("v2")), Some(&back)).await.0, 200);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_converted_is_told_of() {
    let (cluster, _hooks) = start().await;
    cluster.made(&servers("v1"), &server("v1", "broken", "a.example.com")).await;
    let (code, status) = cluster.ask("GET", &format!("{}/broken", servers("v2")), None).await;
    let message = format!("conversion webhook for {GROUP}/v1, Kind=Server failed: this one cannot be converted");
    assert_eq!((code, &status["message"]), (500, &json!(message)));
    assert_eq!(cluster.refused("GET", &servers("v2"), None).await, message);
    assert_eq!(cluster.ask("GET", &servers("v1"), None).await.0, 200);
    // Nothing is kept of what cannot be stored.
    let (code, status) = cluster.ask("POST", &servers("v2"), Some(&server("v2", "broken", "b"))).await;
    assert_eq!(code, 500, "{status}");
    assert_eq!(cluster.ask("DELETE", &format!("{}/broken", servers("v1")), None).await.0, 200);
    assert_eq!(cluster.ask("GET", &servers("v2"), None).await.0, 200);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_applied_configurations_are_converted_too() {
    let (cluster, _hooks) = start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let file = cluster.file("one.json", &server("v2", "one", "a.example.com"));
    cluster.succeeds(&admin, &["apply", "--server-side", "-f", &file]).await;
    let shown = ["get", &format!("servers.v1.{GROUP}"), "one", "-o", "jsonpath={.hostPort}"];
    assert_eq!(cluster.succeeds(&admin, &shown).await, "a.example.com:80");
    let file = cluster.file("one.json", &server("v2", "one", "b.example.com"));
    cluster.succeeds(&admin, &["apply", "--server-side", "-f", &file]).await;
    assert_eq!(cluster.succeeds(&admin, &shown).await, "b.example.com:80");
    let table = cluster.succeeds(&admin, &["get", &format!("servers.v1.{GROUP}")]).await;
    assert!(table.contains("one"), "{table}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_of_the_same_version_have_an_object_converted_once() {
    let (cluster, hooks) = start().await;
    cluster.made(&servers("v1"), &server("v1", "one", "a.example.com")).await;
    let (_, list) = cluster.ask("GET", &servers("v1"), None).await;
    let revision = list["metadata"]["resourceVersion"].as_str().expect("a revision").to_string();
    let path = format!("{}?watch=true&timeoutSeconds=20&resourceVersion={revision}", servers("v2"));
    let before = hooks.seen("/convert").len();
    let watching = futures::future::join_all((0..20).map(|_| events(&cluster, &path, 2)));
    let changing = async {
        for host in ["b", "c"] {
            let patch = json!({"hostPort": format!("{host}:80")});
            let (code, _) = cluster.ask("PATCH", &format!("{}/one", servers("v1")), Some(&patch)).await;
            assert_eq!(code, 200);
        }
    };
    let (seen, ()) = tokio::join!(watching, changing);
    let change = ("MODIFIED".to_string(), "one".to_string(), format!("{GROUP}/v2"));
    assert!(seen.iter().all(|events| *events == [change.clone(), change.clone()]), "{seen:?}");
    // The object as it was, and after each change.
    assert_eq!(hooks.seen("/convert").len() - before, 3);
    cluster.stop().await;
}
