//! Watches as clients see them.

use serde_json::json;
use store::embedded::{Embedded, Options};
use tempfile::TempDir;

use crate::support::{TestServer, start, start_on};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn make(server: &TestServer, name: &str, label: &str) -> serde_json::Value {
    let object = json!({"metadata": {"name": name, "labels": {"l": label}}});
    server.create(CONFIG_MAPS, object).await
}

async fn label(server: &TestServer, name: &str, label: &str) {
    let patch = json!({"metadata": {"labels": {"l": label}}}).to_string();
    let (code, status) =
        server.json("PATCH", &format!("{CONFIG_MAPS}/{name}"), "application/merge-patch+json", &patch).await;
    assert_eq!(code, 200, "{status}");
}

fn pair(type_: &str, name: &str) -> (String, String) {
    (type_.to_string(), name.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_and_go_with_the_selector() {
    let server = start().await;
    let mut events = server.watch(&format!("{CONFIG_MAPS}?watch=1&labelSelector=l%3Dyes"), "").await;
    make(&server, "other", "no").await;
    make(&server, "a", "yes").await;
    assert_eq!(events.next_name().await, pair("ADDED", "a"));
    label(&server, "other", "yes").await;
    assert_eq!(events.next_name().await, pair("ADDED", "other"));
    label(&server, "a", "no").await;
    let gone = events.next().await.expect("an event");
    assert_eq!((&gone["type"], &gone["object"]["metadata"]["labels"]["l"]), (&json!("DELETED"), &json!("yes")));
    server.json("DELETE", &format!("{CONFIG_MAPS}/other"), "", "").await;
    assert_eq!(events.next_name().await, pair("DELETED", "other"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_resumes_after_a_version_and_starts_with_what_is_there() {
    let server = start().await;
    let first = make(&server, "a", "x").await;
    make(&server, "b", "x").await;
    let version = first["metadata"]["resourceVersion"].as_str().expect("a version").to_string();
    let mut resumed = server.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}"), "").await;
    assert_eq!(resumed.next_name().await, pair("ADDED", "b"));
    let mut fresh = server.watch(&format!("{CONFIG_MAPS}?watch=1"), "").await;
    assert_eq!(fresh.next_name().await, pair("ADDED", "a"));
    assert_eq!(fresh.next_name().await, pair("ADDED", "b"));
    let path = format!(
        "{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut streamed = server.watch(&path, "").await;
    assert_eq!(streamed.next_name().await, pair("ADDED", "a"));
    assert_eq!(streamed.next_name().await, pair("ADDED", "b"));
    let bookmark = streamed.next().await.expect("a bookmark");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_metadata_are_watched_too() {
    let server = start().await;
    make(&server, "a", "x").await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let mut tables = server.watch(&format!("{CONFIG_MAPS}?watch=1"), accept).await;
    let event = tables.next().await.expect("an event");
    assert_eq!((&event["object"]["kind"], &event["object"]["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    let accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let mut metadata = server.watch(&format!("{CONFIG_MAPS}?watch=1"), accept).await;
    let event = metadata.next().await.expect("an event");
    assert_eq!(event["object"]["kind"], "PartialObjectMetadata");
    assert!(event["object"].get("data").is_none());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_end_with_their_time_and_with_the_server() {
    let server = start().await;
    let mut short = server.watch(&format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1"), "").await;
    assert_eq!(short.next().await, None);
    let mut long = server.watch(&format!("{CONFIG_MAPS}?watch=1"), "").await;
    let mut longest = server.watch(&format!("{CONFIG_MAPS}?watch=1&timeoutSeconds={}", i64::MAX), "").await;
    make(&server, "a", "x").await;
    assert_eq!(long.next_name().await, pair("ADDED", "a"));
    assert_eq!(longest.next_name().await, pair("ADDED", "a"));
    server.stop().await;
    assert_eq!(long.next().await, None);
}

/// As with Kubernetes, no seconds are the default, and a watch that begins with what is there marks where that ends.
#[tokio::test(flavor = "multi_thread")]
async fn watches_without_versions_and_seconds_are_as_usual() {
    let server = start().await;
    let path = format!("{CONFIG_MAPS}?watch=1&labelSelector=l&timeoutSeconds=0&allowWatchBookmarks=true");
    let mut usual = server.watch(&path, "").await;
    let bookmark = usual.next().await.expect("a bookmark");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true", "{bookmark}");
    make(&server, "a", "x").await;
    assert_eq!(usual.next_name().await, pair("ADDED", "a"));
    let (code, status) = server.get(&format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true")).await;
    assert_eq!(code, 422, "{status}");
    assert_eq!(
        status["message"],
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting \
         resourceVersionMatch to NotOlderThan"
    );
    let (code, status) = server.get(&format!("{CONFIG_MAPS}?sendInitialEvents=true")).await;
    assert_eq!((code, &status["details"]["causes"][0]["field"]), (422, &json!("sendInitialEvents")), "{status}");
    let (code, status) = server.get(&format!("{CONFIG_MAPS}?watch=1&resourceVersion=x")).await;
    assert_eq!(code, 422, "{status}");
    let why = "resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax";
    assert_eq!(status["message"], format!("configmaps \"\" is invalid: {why}"));
    let (code, status) = server.get(&format!("{CONFIG_MAPS}?resourceVersion=x")).await;
    assert_eq!((code, &status["message"]), (400, &json!(format!("invalid resource version: {why}"))));
    server.stop().await;
}

/// What no watch can resume from and no list can show any more says so, each in the form clients look for.
// conformance: a continue token that expired goes on from its last key at another version
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_has_expired() {
    let folder = TempDir::new().expect("a folder");
    let options = Options { ring_events: 8, ..Options::default() };
    let server = start_on(Embedded::open(&folder.path().join("state.db"), options).expect("a store")).await;
    for name in ["a", "b", "c"] {
        server.create(CONFIG_MAPS, json!({"metadata": {"name": name}})).await;
    }
    let (_, first) = server.get(&format!("{CONFIG_MAPS}?limit=2")).await;
    let version = first["metadata"]["resourceVersion"].as_str().expect("a version").to_string();
    let token = first["metadata"]["continue"].as_str().expect("a token").to_string();
    for at in 0..16 {
        server.create(CONFIG_MAPS, json!({"metadata": {"name": format!("later-{at:02}")}})).await;
    }

    let mut watch = server.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}"), "").await;
    let event = watch.next().await.expect("an event");
    assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("ERROR"), &json!("Status")));
    assert_eq!((&event["object"]["code"], &event["object"]["reason"]), (&json!(410), &json!("Expired")));
    assert_eq!(watch.next().await, None);

    let exact = format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    let (code, status) = server.get(&exact).await;
    assert_eq!((code, &status["reason"]), (410, &json!("Expired")), "{status}");

    let (code, status) = server.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
    assert_eq!((code, &status["reason"]), (410, &json!("Expired")), "{status}");
    let token = status["metadata"]["continue"].as_str().expect("another token");
    let (code, rest) = server.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
    assert_eq!((code, &rest["items"][0]["metadata"]["name"]), (200, &json!("c")), "{rest}");
    server.stop().await;
}
