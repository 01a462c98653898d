//! What writes do beyond storing.

use serde_json::{Value, json};
use store::Store as _;

use crate::support::{TestServer, start};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn patch(server: &TestServer, path: &str, patch: Value) -> (u16, Value) {
    server.json("PATCH", path, "application/merge-patch+json", &patch.to_string()).await
}

fn pod(name: &str, labels: Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_generated_and_taken_ones_refused() {
    let server = start().await;
    let created = server.create(CONFIG_MAPS, json!({"metadata": {"generateName": "x-"}})).await;
    let name = created["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("x-") && name.len() == 7, "{name}");
    let again = json!({"metadata": {"name": name}}).to_string();
    let (code, status) = server.json("POST", CONFIG_MAPS, "application/json", &again).await;
    assert_eq!((code, &status["reason"]), (409, &json!("AlreadyExists")));
    let (code, status) =
        server.json("POST", CONFIG_MAPS, "application/json", r#"{"metadata": {"name": "Not valid"}}"#).await;
    assert_eq!((code, &status["reason"]), (422, &json!("Invalid")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_duplicate_fields_are_warned_of_or_refused() {
    let server = start().await;
    let body = r#"{"metadata": {"name": "a"}, "data": {"k": "v"}, "data": {"k": "w"}, "odd": 1}"#;
    let request = |validation: &str| {
        let path = format!("{CONFIG_MAPS}?dryRun=All&fieldValidation={validation}");
        http::Request::post(path)
            .header("content-type", "application/json")
            .body(body.as_bytes().to_vec())
            .expect("a request")
    };
    let (code, headers, _) = server.request(request("Warn")).await;
    assert_eq!(code, 201);
    assert!(headers["warning"].contains("odd") || headers["warning"].contains("data"), "{headers:?}");
    let (code, _, answer) = server.request(request("Strict")).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(code == 400 && answer.contains("unknown field") && answer.contains("duplicate field"), "{answer}");
    let (code, headers, _) = server.request(request("Ignore")).await;
    assert!(code == 201 && !headers.contains_key("warning"));
    // A dry run keeps nothing.
    assert_eq!(server.get(&format!("{CONFIG_MAPS}/a")).await.0, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizers_and_preconditions_hold_an_object() {
    let server = start().await;
    let object = json!({"metadata": {"name": "a", "finalizers": ["example.com/hold"]}});
    server.create(CONFIG_MAPS, object).await;
    let path = format!("{CONFIG_MAPS}/a");
    let (code, _) = server.json("DELETE", &path, "application/json", r#"{"preconditions": {"uid": "other"}}"#).await;
    assert_eq!(code, 409);
    let (code, waiting) = server.json("DELETE", &path, "", "").await;
    assert_eq!(code, 200);
    assert!(waiting["metadata"]["deletionTimestamp"].is_string(), "{waiting}");
    assert_eq!(patch(&server, &path, json!({"metadata": {"finalizers": null}})).await.0, 200);
    assert_eq!(server.get(&path).await.0, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_goes_when_it_is_finalized() {
    let server = start().await;
    server.create("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await;
    let (_, mut namespace) = server.json("DELETE", "/api/v1/namespaces/n", "", "").await;
    assert_eq!(namespace["status"]["phase"], "Terminating");
    namespace["spec"]["finalizers"] = json!([]);
    let path = "/api/v1/namespaces/n/finalize";
    let (code, status) = server.json("PUT", path, "application/json", &namespace.to_string()).await;
    assert_eq!(code, 200, "{status}");
    assert_eq!(server.get("/api/v1/namespaces/n").await.0, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_bound_once_report_status_and_end_with_grace() {
    let server = start().await;
    server.create(PODS, pod("p", json!({}))).await;
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}).to_string();
    let path = format!("{PODS}/p/binding");
    assert_eq!(server.json("POST", &path, "application/json", &binding).await.0, 201);
    let (code, status) = server.json("POST", &path, "application/json", &binding).await;
    assert!(
        code == 409 && status["message"].as_str().is_some_and(|text| text.contains("already assigned")),
        "{status}"
    );
    let (code, changed) =
        patch(&server, &format!("{PODS}/p/status"), json!({"status": {"phase": "Running"}, "spec": {"nodeName": "x"}}))
            .await;
    assert_eq!(code, 200, "{changed}");
    assert_eq!((&changed["status"]["phase"], &changed["spec"]["nodeName"]), (&json!("Running"), &json!("n1")));
    let (_, found) = server.get(&format!("{PODS}?fieldSelector=spec.nodeName%3Dn1")).await;
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    let (_, ending) = server.json("DELETE", &format!("{PODS}/p"), "", "").await;
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(
        server.json("DELETE", &format!("{PODS}/p"), "application/json", r#"{"gracePeriodSeconds": 0}"#).await.0,
        200
    );
    assert_eq!(server.get(&format!("{PODS}/p")).await.0, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subresources_of_a_pod_change_their_part_alone() {
    const STRATEGIC: &str = "application/strategic-merge-patch+json";
    let server = start().await;
    server.create(PODS, pod("p", json!({"l": "v"}))).await;
    let change = |subresource: &'static str, change: Value| {
        let server = &server;
        async move {
            let path = format!("{PODS}/p/{subresource}?fieldManager=hand");
            server.json("PATCH", &path, STRATEGIC, &change.to_string()).await
        }
    };
    let debug = json!({"metadata": {"labels": {"l": "w"}}, "spec": {"nodeName": "n",
        "ephemeralContainers": [{"name": "debug", "image": "d"}]}});
    let (code, changed) = change("ephemeralcontainers", debug).await;
    assert_eq!(code, 200, "{changed}");
    assert_eq!(changed["spec"]["ephemeralContainers"][0]["name"], "debug");
    assert_eq!((&changed["metadata"]["labels"]["l"], changed["spec"].get("nodeName")), (&json!("v"), None));
    assert_eq!(changed["metadata"]["generation"], 2);
    let entries = changed["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let entry = entries.iter().find(|entry| entry["subresource"] == "ephemeralcontainers").expect("an entry");
    assert!(entry["fieldsV1"]["f:spec"].get("f:ephemeralContainers").is_some(), "{entry}");
    assert!(entry["fieldsV1"].get("f:metadata").is_none() && entry["fieldsV1"]["f:spec"].get("f:nodeName").is_none());
    let gone = json!({"spec": {"ephemeralContainers": [{"name": "debug", "$patch": "delete"}]}});
    let (code, status) = change("ephemeralcontainers", gone).await;
    assert!(code == 422 && status["message"].as_str().is_some_and(|text| text.contains("may not be removed")));
    let image = json!({"spec": {"containers": [{"name": "c", "image": "other", "resizePolicy":
        [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]}]}});
    let (code, changed) = change("resize", image).await;
    assert_eq!((code, &changed["spec"]["containers"][0]["image"]), (200, &json!("i")), "{changed}");
    assert_eq!(changed["spec"]["containers"][0]["resizePolicy"][0]["resourceName"], "cpu");
    let class = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}});
    let (code, status) = change("resize", class).await;
    assert!(code == 422 && status["message"].as_str().is_some_and(|text| text.contains("QOS")), "{status}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disruption_budget_stops_evictions() {
    let server = start().await;
    server.create(PODS, pod("p", json!({"app": "a"}))).await;
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    patch(&server, &format!("{PODS}/p/status"), running).await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget =
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    server.create(budgets, budget).await;
    let observed = |allowed: i64| json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
    patch(&server, &format!("{budgets}/b/status"), observed(0)).await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}).to_string();
    let (code, status) = server.json("POST", &format!("{PODS}/p/eviction"), "application/json", &eviction).await;
    assert_eq!((code, &status["reason"]), (429, &json!("TooManyRequests")), "{status}");
    patch(&server, &format!("{budgets}/b/status"), observed(1)).await;
    let mut events = server.watch(&format!("{PODS}?watch=true"), "application/json").await;
    assert_eq!(events.next_name().await, ("ADDED".to_string(), "p".to_string()));
    assert_eq!(server.json("POST", &format!("{PODS}/p/eviction"), "application/json", &eviction).await.0, 201);
    assert_eq!(server.get(&format!("{PODS}/p")).await.0, 404);
    let marked = events.next().await.expect("an event");
    let conditions = marked["object"]["status"]["conditions"].to_string();
    assert!(conditions.contains("DisruptionTarget") && conditions.contains("EvictionByEvictionAPI"), "{marked}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_are_deleted_by_selector() {
    let server = start().await;
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        server.create(CONFIG_MAPS, json!({"metadata": {"name": name, "labels": {"l": label}}})).await;
    }
    let (code, deleted) = server.json("DELETE", &format!("{CONFIG_MAPS}?labelSelector=l%3Dx"), "", "").await;
    assert_eq!((code, deleted["items"].as_array().map(Vec::len)), (200, Some(2)));
    let (_, left) = server.get(CONFIG_MAPS).await;
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_of_one_object_lose_nothing() {
    let server = start().await;
    server.create(CONFIG_MAPS, json!({"metadata": {"name": "a"}})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let writers = (0..5).map(|writer| {
        let (server, path) = (&server, path.as_str());
        async move {
            for round in 0..4 {
                let (code, status) = patch(server, path, json!({"data": {format!("k{writer}-{round}"): "v"}})).await;
                assert_eq!(code, 200, "{status}");
            }
        }
    });
    futures::future::join_all(writers).await;
    let (_, object) = server.get(&path).await;
    assert_eq!(object["data"].as_object().map(serde_json::Map::len), Some(20));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_needs_a_name_or_may_have_none_is_not_allowed_otherwise() {
    let server = start().await;
    let body = json!({"metadata": {"name": "b"}}).to_string();
    let review = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}).to_string();
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x";
    for (method, path, body) in [
        ("POST", format!("{CONFIG_MAPS}/a"), &body),
        ("POST", "/api/v1/namespaces/a".to_string(), &body),
        ("POST", reviews.to_string(), &review),
        ("PUT", CONFIG_MAPS.to_string(), &body),
        ("PATCH", CONFIG_MAPS.to_string(), &body),
    ] {
        let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let (code, status) = server.json(method, &path, media_type, body).await;
        assert_eq!((code, &status["reason"]), (405, &json!("MethodNotAllowed")), "{method} {path}: {status}");
    }
    assert_eq!(server.get(&format!("{CONFIG_MAPS}/b")).await.0, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_nests_too_deep_is_refused() {
    let server = start().await;
    let path = &format!("{CONFIG_MAPS}/a");
    server.create(CONFIG_MAPS, json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await;
    let chain = (0..90).fold(json!({}), |inner, _| json!({"n": inner}));
    let steps: Vec<Value> = (0..2000)
        .flat_map(|_| {
            [
                json!({"op": "add", "path": "/b", "value": chain}),
                json!({"op": "move", "from": "/data", "path": format!("/b{}/a", "/n".repeat(90))}),
                json!({"op": "move", "from": "/b", "path": "/data"}),
            ]
        })
        .collect();
    let patch = Value::Array(steps).to_string();
    let (code, status) = server.json("PATCH", path, "application/json-patch+json", &patch).await;
    assert_eq!((code, &status["reason"]), (422, &json!("Invalid")), "{status}");
    assert_eq!(server.get(path).await.1["data"], json!({"k": "v"}));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_by_themselves_however_they_are_written_and_nothing_else_does() {
    let server = start().await;
    let core = "/api/v1/namespaces/default/events";
    let object = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "one", "finalizers": ["example.com/kept"]},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}, "reason": "Tested", "type": "Normal",
    });
    server.create(core, object).await;
    let newer = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "two"}, "reason": "Tested",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}, "type": "Normal", "action": "Testing",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.com/tests",
        "reportingInstance": "one",
    });
    server.create("/apis/events.k8s.io/v1/namespaces/default/events", newer).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stays"}});
    server.create("/api/v1/namespaces/default/configmaps", map).await;
    let goes = async |key: &str| {
        let entry = server.store.get(key).await.expect("the store").expect("is there");
        entry.lease.is_some()
    };
    assert!(goes("/registry/events/default/one").await && goes("/registry/events/default/two").await);
    assert!(!goes("/registry/configmaps/default/stays").await);
    let patch = json!({"count": 2}).to_string();
    let (code, _) = server.json("PATCH", &format!("{core}/one"), "application/merge-patch+json", &patch).await;
    assert_eq!((code, goes("/registry/events/default/one").await), (200, true), "counted again");
    let (code, marked) = server.json("DELETE", &format!("{core}/one"), "application/json", "").await;
    assert!(code < 300 && marked["metadata"]["deletionTimestamp"].is_string(), "{marked}");
    assert!(goes("/registry/events/default/one").await, "what waits for its finalizer goes as well");
    server.stop().await;
}
