//! Behaviour that clients see on the wire.

use serde_json::{Value, json};

use store::{Precondition, Store};

use apiserver::plugin::Plugins;

use crate::streams::upgrade;
use crate::support::{eventually, start, start_configured};

fn config_map(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"k": "v"}})
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn updates_conflict_on_old_versions_and_pass_on_new_ones() {
    let server = start().await;
    let mut object = server.create(CONFIG_MAPS, config_map("a", json!({}))).await;
    object["data"]["k"] = "w".into();
    let path = format!("{CONFIG_MAPS}/a");
    let (code, updated) = server.json("PUT", &path, "application/json", &object.to_string()).await;
    assert_eq!((code, &updated["data"]["k"]), (200, &json!("w")));
    object["data"]["k"] = "x".into();
    let (code, status) = server.json("PUT", &path, "application/json", &object.to_string()).await;
    assert_eq!(code, 409, "{status}");
    assert_eq!(
        status["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
    // The same again changes nothing, not even the version.
    let (_, again) = server.json("PUT", &path, "application/json", &updated.to_string()).await;
    assert_eq!(again["metadata"]["resourceVersion"], updated["metadata"]["resourceVersion"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_at_one_version() {
    let server = start().await;
    for name in ["a", "b", "c", "d", "e"] {
        server
            .create(CONFIG_MAPS, config_map(name, json!({"even": if "bd".contains(name) { "yes" } else { "no" }})))
            .await;
    }
    let (_, first) = server.get(&format!("{CONFIG_MAPS}?limit=2")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    server.create(CONFIG_MAPS, config_map("f", json!({}))).await;
    let token = first["metadata"]["continue"].as_str().expect("a token");
    let (_, second) = server.get(&format!("{CONFIG_MAPS}?limit=10&continue={token}")).await;
    let names: Vec<&str> = second["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect();
    assert_eq!(names, ["c", "d", "e"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let (_, even) = server.get(&format!("{CONFIG_MAPS}?labelSelector=even%3Dyes&limit=1")).await;
    assert_eq!(even["items"][0]["metadata"]["name"], "b");
    assert!(even["metadata"]["continue"].is_string() && even["metadata"].get("remainingItemCount").is_none());
    let (_, one) = server.get(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dc")).await;
    assert_eq!(one["items"].as_array().map(Vec::len), Some(1));
    let (code, status) = server.get(&format!("{CONFIG_MAPS}?fieldSelector=data.k%3Dc")).await;
    assert_eq!(
        (code, status["message"].as_str()),
        (400, Some("\"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""))
    );
    server.stop().await;
}

/// As Kubernetes has it: the list's kind says what the items are. What can stand alone says it itself.
#[tokio::test(flavor = "multi_thread")]
async fn items_of_lists_do_not_say_what_they_are() {
    let server = start().await;
    server.create(CONFIG_MAPS, config_map("a", json!({"a": "b"}))).await;
    let first = |list: &Value| {
        let (item, kind) = (&list["items"][0], &list["kind"]);
        (kind.clone(), item.get("apiVersion").cloned(), item.get("kind").cloned(), item["metadata"]["name"].clone())
    };
    let untyped = (json!("ConfigMapList"), None, None, json!("a"));
    for query in ["labelSelector=a", "labelSelector=a&pretty=true", "labelSelector=a&limit=1"] {
        let (_, list) = server.get(&format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!(first(&list), untyped, "{query}: {list}");
        assert!(list["items"][0]["metadata"]["resourceVersion"].is_string(), "{list}");
    }
    let (_, components) = server.get("/api/v1/componentstatuses").await;
    assert_eq!(components["items"][0].get("kind"), None, "{components}");
    let shaped = |form: &str| {
        let accept = format!("application/json;as={form};g=meta.k8s.io;v=v1");
        let path = format!("{CONFIG_MAPS}?labelSelector=a&includeObject=Object");
        let request = http::Request::get(path).header("accept", accept).body(Vec::new()).expect("a request");
        let answer = server.request(request);
        async move { serde_json::from_slice::<Value>(&answer.await.2).expect("JSON") }
    };
    let metadata = shaped("PartialObjectMetadataList").await;
    assert_eq!(metadata["items"][0]["kind"], "PartialObjectMetadata");
    assert_eq!(shaped("Table").await["rows"][0]["object"]["kind"], "ConfigMap");
    let event = server.watch(&format!("{CONFIG_MAPS}?watch=1&labelSelector=a"), "application/json").await.next().await;
    assert_eq!(event.expect("an event")["object"]["kind"], "ConfigMap");
    let (_, deleted) = server.json("DELETE", &format!("{CONFIG_MAPS}?labelSelector=a"), "", "").await;
    assert_eq!(first(&deleted), untyped, "{deleted}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn component_statuses_are_asked_for() {
    const PATH: &str = "/api/v1/componentstatuses";
    let server = start().await;
    let (code, list) = server.get(PATH).await;
    assert_eq!(code, 200, "{list}");
    let condition = |list: &Value, name: &str| {
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let found = items.into_iter().find(|item| item["metadata"]["name"] == name).expect("the component");
        found["conditions"][0].clone()
    };
    assert_eq!(condition(&list, "etcd-0")["status"], "True");
    // Nothing but the API server runs here.
    for name in ["controller-manager", "scheduler"] {
        let condition = condition(&list, name);
        assert_eq!(condition["status"], "False", "{condition}");
        assert!(condition["error"].as_str().is_some_and(|why| why.contains("does not run")), "{condition}");
    }
    let table = server.kubectl(&["get", "cs"]).await;
    assert!(table.contains("Unhealthy") && table.contains("Healthy"), "{table}");
    // A store that takes no more writes is not healthy, whatever it still reads.
    server.store.close();
    let (_, etcd) = server.get(&format!("{PATH}/etcd-0")).await;
    assert_eq!(etcd["conditions"][0]["status"], "False", "{etcd}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn api_services_say_whether_they_are_available() {
    const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
    let server = start().await;
    let condition = |object: &Value| object["status"]["conditions"][0].clone();
    let has = |name: &'static str, reason: &'static str| {
        let server = &server;
        eventually("the condition says so", move || async move {
            let (_, object) = server.get(&format!("{SERVICES}/{name}")).await;
            let found = condition(&object);
            (found["type"] == "Available" && found["reason"] == reason).then_some(found)
        })
    };
    let local = has("v1.apps", "Local").await;
    assert_eq!(
        (&local["status"], &local["message"]),
        (&json!("True"), &json!("Local APIServices are always available"))
    );
    let remote = json!({"metadata": {"name": "v1.example.com"}, "spec": {"group": "example.com", "version": "v1",
        "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": true,
        "service": {"namespace": "default", "name": "backend", "port": 443}}});
    server.create(SERVICES, remote).await;
    let found = has("v1.example.com", "ServiceNotFound").await;
    assert_eq!(found["message"], "service/backend in \"default\" is not present");
    let service = json!({"metadata": {"name": "backend"}, "spec": {"ports": [{"port": 443}]}});
    server.create("/api/v1/namespaces/default/services", service).await;
    // Endpoints may not be on loopback, where nobody listens on port 1.
    let endpoints = |subsets: Value| {
        let metadata = json!({"name": "backend", "namespace": "default"});
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}).to_string()
    };
    let key = "/registry/endpoints/default/backend";
    let stored = server.store.put(key, endpoints(json!([])).into(), Precondition::Absent).await.expect("stored");
    has("v1.example.com", "MissingEndpoints").await;
    let closed = endpoints(json!([{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 1}]}]));
    let before = Precondition::Revision(stored.mod_revision);
    server.store.put(key, closed.into(), before).await.expect("stored");
    let found = has("v1.example.com", "FailedDiscoveryCheck").await;
    assert!(found["message"].as_str().is_some_and(|why| why.contains("backend.default.svc")), "{found}");
    let table = server.kubectl(&["get", "apiservices"]).await;
    assert!(table.contains("default/backend") && table.contains("False (FailedDiscoveryCheck)"), "{table}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_server_refuses_clients_and_not_its_own_components() {
    let server = start_configured(Plugins::allow_all(), |config| {
        (config.limits.reads_in_flight, config.limits.writes_in_flight) = (0, 0);
    })
    .await;
    // A part of its time it waits in a queue.
    let head = "GET /api/v1/namespaces/default?timeout=2s HTTP/1.1\nHost: a\n\n";
    let (answer, _) = upgrade(&server, head).await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    let request = http::Request::get("/api/v1/namespaces/default").body(Vec::new()).expect("a request");
    server.component.request_text(request).await.expect("is answered");
    server.stop().await;
}

/// Go's servers take what clients should have escaped and did not, and scripts rely on it.
#[tokio::test(flavor = "multi_thread")]
async fn targets_that_are_not_escaped_are_understood() {
    let server = start().await;
    let head = |query: &str| format!("GET /api/v1/namespaces/default/configmaps?{query} HTTP/1.1\nHost: a\n\n");
    let (answer, _) = upgrade(&server, &head("x=<\"a\">&labelSelector=a")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // What makes no sense is refused with a reason.
    let (answer, mut stream) = upgrade(&server, &head("labelSelector=a<\"b")).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("application/json"), "{answer}");
    let mut body = vec![0; 64];
    tokio::io::AsyncReadExt::read(&mut stream, &mut body).await.expect("a body");
    assert!(String::from_utf8_lossy(&body).contains("\"kind\":\"Status\""), "{}", String::from_utf8_lossy(&body));
    server.stop().await;
}
