//! Webhooks and custom resources.

use serde_json::{Value, json};

use super::{MUTATING, VALIDATING};
use crate::hooks::{Hooks, allow, deny, patch};
use crate::support::{Cluster, eventually};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const GROUP: &str = "hooked.example.com";

fn definition(versions: &[(&str, bool)], schema: &Value) -> Value {
    let version = |(name, storage): &(&str, bool)| json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{GROUP}")},
        "spec": {"group": GROUP, "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": versions.iter().map(version).collect::<Vec<Value>>()}})
}

/// A schema with a map of texts as data, of any keys or of these.
fn schema(keys: &[&str]) -> Value {
    let data = match keys {
        [] => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        keys => {
            let keys: serde_json::Map<String, Value> =
                keys.iter().map(|key| ((*key).to_string(), json!({"type": "string"}))).collect();
            json!({"type": "object", "properties": keys})
        }
    };
    json!({"type": "object", "properties": {"data": data}})
}

fn things(version: &str) -> String {
    format!("/apis/{GROUP}/{version}/namespaces/default/things")
}

fn thing(version: &str, name: &str, data: Value) -> Value {
    json!({"apiVersion": format!("{GROUP}/{version}"), "kind": "Thing", "metadata": {"name": name}, "data": data})
}

// conformance: deny create, update and delete of a custom resource
#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_are_refused_by_a_webhook() {
    let cluster = Cluster::start_local().await;
    cluster.made(DEFINITIONS, &definition(&[("v1", true)], &schema(&[]))).await;
    let hooks = Hooks::start(|_, review| {
        let request = &review["request"];
        let shown = if request["operation"] == "DELETE" { &request["oldObject"] } else { &request["object"] };
        Some(match shown["data"]["offending"] == "yes" {
            true => deny(review, "the custom resource contains unwanted data"),
            false => allow(review),
        })
    })
    .await;
    let webhook = hooks.webhook("deny.things", "/", &["CREATE", "UPDATE", "DELETE"], (GROUP, "v1", "things"));
    let offending = thing("v1", "bad", json!({"offending": "yes"}));
    // What is there before cannot be deleted.
    cluster.made(&things("v1"), &thing("v1", "old", json!({"offending": "yes"}))).await;
    cluster.configure(VALIDATING, "deny", &[webhook]).await;
    let words =
        "admission webhook \"deny.things.example.com\" denied the request: the custom resource contains unwanted data";
    cluster.is_refused(&things("v1"), &offending, words).await;
    let made = cluster.made(&things("v1"), &thing("v1", "good", json!({"offending": "no"}))).await;
    let at = format!("{}/good", things("v1"));
    let mut changed = made.clone();
    changed["data"]["offending"] = json!("yes");
    assert_eq!(cluster.refused("PUT", &at, Some(&changed)).await, words);
    assert_eq!(cluster.refused("PATCH", &at, Some(&json!({"data": {"offending": "yes"}}))).await, words);
    assert_eq!(cluster.refused("DELETE", &format!("{}/old", things("v1")), None).await, words);
    assert_eq!(cluster.ask("DELETE", &at, None).await.0, 200);
    cluster.stop().await;
}

// conformance: deny creation of a CRD
#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_refused_by_a_webhook() {
    let cluster = Cluster::start_local().await;
    let hooks = Hooks::start(|_, review| {
        let unwanted = review["request"]["object"]["metadata"]["labels"]["unwanted"] == "yes";
        Some(if unwanted { deny(review, "the crd contains unwanted label") } else { allow(review) })
    })
    .await;
    let of = ("apiextensions.k8s.io", "*", "customresourcedefinitions");
    cluster.configure(VALIDATING, "crd", &[hooks.webhook("deny.crd", "/", &["CREATE"], of)]).await;
    let mut unwanted = definition(&[("v1", true)], &schema(&[]));
    unwanted["metadata"]["labels"] = json!({"unwanted": "yes"});
    let words = "admission webhook \"deny.crd.example.com\" denied the request: the crd contains unwanted label";
    cluster.is_refused(DEFINITIONS, &unwanted, words).await;
    assert_eq!(cluster.refused("POST", DEFINITIONS, Some(&unwanted)).await, words);
    cluster.made(DEFINITIONS, &definition(&[("v1", true)], &schema(&[]))).await;
    cluster.stop().await;
}

/// Adds a stage on each path once the one before it is there.
async fn stages() -> Hooks {
    Hooks::start(|path, review| {
        let data = &review["request"]["object"]["data"];
        let add = |key: &str| patch(review, &json!([{"op": "add", "path": format!("/data/{key}"), "value": "yes"}]));
        Some(match path {
            "/first" if data["start"] == "yes" => add("stage-1"),
            "/second" if data["stage-1"] == "yes" => add("stage-2"),
            _ => allow(review),
        })
    })
    .await
}

async fn configure_stages(cluster: &Cluster, hooks: &Hooks) {
    let webhooks = ["first", "second"].map(|stage| {
        hooks.webhook(&format!("stage.{stage}"), &format!("/{stage}"), &["CREATE", "UPDATE"], (GROUP, "*", "things"))
    });
    cluster.configure(MUTATING, "stages", &webhooks).await;
    let tried = thing("v1", "tried", json!({"start": "yes"}));
    cluster.becomes(&things("v1"), &tried, "it is changed", |made| made["data"]["stage-1"] == "yes").await;
}

// conformance: mutate a custom resource
#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_are_changed_by_webhooks() {
    let cluster = Cluster::start_local().await;
    cluster.made(DEFINITIONS, &definition(&[("v1", true)], &schema(&[]))).await;
    let hooks = stages().await;
    configure_stages(&cluster, &hooks).await;
    let made = cluster.made(&things("v1"), &thing("v1", "a", json!({"start": "yes"}))).await;
    assert_eq!(made["data"], json!({"start": "yes", "stage-1": "yes", "stage-2": "yes"}));
    cluster.stop().await;
}

// conformance: mutate a custom resource, unknown added field is pruned by schema
#[tokio::test(flavor = "multi_thread")]
async fn what_the_schema_does_not_know_of_a_change_is_pruned() {
    let cluster = Cluster::start_local().await;
    cluster.made(DEFINITIONS, &definition(&[("v1", true)], &schema(&["start", "stage-1"]))).await;
    let hooks = stages().await;
    configure_stages(&cluster, &hooks).await;
    let made = cluster.made(&things("v1"), &thing("v1", "a", json!({"start": "yes"}))).await;
    assert_eq!(made["data"], json!({"start": "yes", "stage-1": "yes"}));
    assert!(!hooks.seen("/second").is_empty());
    cluster.stop().await;
}

// conformance: mutate a custom resource while the CRD storage version moves v1→v2; patch still applies
#[tokio::test(flavor = "multi_thread")]
async fn changes_apply_while_the_storage_version_moves() {
    let cluster = Cluster::start_local().await;
    cluster.made(DEFINITIONS, &definition(&[("v1", true), ("v2", false)], &schema(&[]))).await;
    let hooks = stages().await;
    configure_stages(&cluster, &hooks).await;
    cluster.made(&things("v1"), &thing("v1", "a", json!({"start": "yes"}))).await;
    let at = format!("{DEFINITIONS}/things.{GROUP}");
    let moved = definition(&[("v1", false), ("v2", true)], &schema(&[]));
    let versions = json!({"spec": {"versions": moved["spec"]["versions"]}});
    assert_eq!(cluster.ask("PATCH", &at, Some(&versions)).await.0, 200);
    let path = format!("{}/a", things("v1"));
    let (code, patched) = cluster.ask("PATCH", &path, Some(&json!({"data": {"dummy": "test"}}))).await;
    assert_eq!(code, 200, "{patched}");
    let expected = json!({"start": "yes", "stage-1": "yes", "stage-2": "yes", "dummy": "test"});
    assert_eq!(patched["data"], expected);
    let (_, other) = cluster.ask("GET", &format!("{}/a", things("v2")), None).await;
    assert_eq!((&other["apiVersion"], &other["data"]), (&json!(format!("{GROUP}/v2")), &expected));
    eventually("the status tells of both versions", || async {
        let (_, definition) = cluster.ask("GET", &at, None).await;
        (definition["status"]["storedVersions"] == json!(["v1", "v2"])).then_some(())
    })
    .await;
    cluster.stop().await;
}

// Two versions of a definition differ in nothing but their name, and each schema may know what the other does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_of_another_version_takes_nothing_away() {
    let cluster = Cluster::start_local().await;
    let mut two = definition(&[("v1", false), ("v2", true)], &schema(&["start", "stage-1"]));
    two["spec"]["versions"][1]["schema"]["openAPIV3Schema"] = schema(&["start", "stage-1", "newer"]);
    cluster.made(DEFINITIONS, &two).await;
    let hooks = stages().await;
    let webhook = hooks.webhook("stage.first", "/first", &["CREATE", "UPDATE"], (GROUP, "v1", "things"));
    cluster.configure(MUTATING, "stages", &[webhook]).await;
    let tried = thing("v1", "tried", json!({"start": "yes"}));
    cluster.becomes(&things("v1"), &tried, "it is changed", |made| made["data"]["stage-1"] == "yes").await;

    let made = cluster.made(&things("v2"), &thing("v2", "a", json!({"start": "yes", "newer": "kept"}))).await;
    assert_eq!(made["apiVersion"], format!("{GROUP}/v2"));
    assert_eq!(made["data"], json!({"start": "yes", "stage-1": "yes", "newer": "kept"}));
    let shown = hooks.seen("/first");
    assert_eq!(shown.last().expect("asked")["request"]["object"]["apiVersion"], format!("{GROUP}/v1"));
    let at = format!("{}/a", things("v2"));
    let (code, changed) = cluster.ask("PATCH", &at, Some(&json!({"metadata": {"labels": {"a": "b"}}}))).await;
    assert_eq!((code, &changed["data"]["newer"]), (200, &json!("kept")), "{changed}");
    cluster.stop().await;
}

// What the server says of an object no webhook says.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_makes_no_object_that_is_being_deleted() {
    let cluster = Cluster::start_local().await;
    cluster.made(DEFINITIONS, &definition(&[("v1", true)], &schema(&[]))).await;
    let hooks = Hooks::start(|_, review| {
        let set =
            |field: &str| json!({"op": "add", "path": format!("/metadata/{field}"), "value": "2001-01-01T00:00:00Z"});
        let changes = [
            set("creationTimestamp"),
            set("deletionTimestamp"),
            json!({"op": "add", "path": "/data/changed", "value": "yes"}),
        ];
        Some(patch(review, &json!(changes)))
    })
    .await;
    let webhook = hooks.webhook("old.things", "/", &["CREATE"], (GROUP, "v1", "things"));
    cluster.configure(MUTATING, "old", &[webhook]).await;
    let tried = thing("v1", "tried", json!({}));
    let is_changed = |made: &Value| made["data"]["changed"] == "yes";
    cluster.becomes(&things("v1"), &tried, "it is changed", is_changed).await;
    let made = cluster.made(&things("v1"), &thing("v1", "a", json!({}))).await;
    assert!(is_changed(&made) && made["metadata"]["deletionTimestamp"].is_null(), "{made}");
    assert_ne!(made["metadata"]["creationTimestamp"], "2001-01-01T00:00:00Z");
    cluster.stop().await;
}
