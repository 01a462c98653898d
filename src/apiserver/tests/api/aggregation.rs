//! The aggregation layer with real servers behind it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use apiserver::plugin::Plugins;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use store::{Precondition, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::streams::{play, upgrade};
use crate::support::{PATIENCE, TestServer, eventually, start, start_configured};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const NAME: &str = "v1beta1.demo.example.com";

/// What the server behind the layer answers: its documents, an echo over upgrades, and of everything else how it was
/// asked.
async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_string();
    if let Some(protocol) = request.headers().get("upgrade").cloned() {
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(&mut request).await.expect("an upgrade");
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).header("connection", "Upgrade");
        return Ok(response.header("upgrade", protocol).body(Full::default()).expect("a response"));
    }
    let document = match path.as_str() {
        "/apis/demo.example.com/v1beta1" => json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": "demo.example.com/v1beta1",
            "resources": [{"name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing",
                "verbs": ["get", "list"]}],
        }),
        "/openapi/v2" => json!({
            "swagger": "2.0",
            "paths": {"/apis/demo.example.com/v1beta1/things": {"get": {"description": "lists things"}}},
            "definitions": {"com.example.Thing": thing()},
        }),
        "/openapi/v3" => json!({"paths": {"apis/demo.example.com/v1beta1":
            {"serverRelativeURL": "/openapi/v3/apis/demo.example.com/v1beta1?hash=ABC"}}}),
        "/openapi/v3/apis/demo.example.com/v1beta1" => json!({
            "openapi": "3.0.0",
            "info": {"title": "demo", "version": "v1"},
            "paths": {"/apis/demo.example.com/v1beta1/things": {"get": {
                "x-kubernetes-action": "list",
                "x-kubernetes-group-version-kind": {"group": "demo.example.com", "version": "v1beta1", "kind": "Thing"},
            }}},
            "components": {"schemas": {"com.example.Thing": thing()}},
        }),
        _ => {
            let headers = request.headers().iter();
            let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().into()));
            json!({"path": path, "headers": headers.collect::<serde_json::Map<String, Value>>()})
        }
    };
    let response = Response::builder().header("content-type", "application/json");
    Ok(response.body(Full::from(document.to_string())).expect("a response"))
}

fn thing() -> Value {
    json!({
        "type": "object",
        "description": "A thing of another server.",
        "properties": {"size": {"type": "integer", "description": "How large it is."}},
        "x-kubernetes-group-version-kind": [{"group": "demo.example.com", "version": "v1beta1", "kind": "Thing"}],
    })
}

/// Endpoints may not be on loopback, where a test's server has to be: they are written past the rules.
async fn put_endpoints(server: &TestServer, service: &str, subsets: Value) {
    let key = format!("/registry/endpoints/default/{service}");
    let before = server.store.get(&key).await.expect("the store");
    let precondition = before.map_or(Precondition::Absent, |entry| Precondition::Revision(entry.mod_revision));
    let object = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": service, "namespace": "default"},
        "subsets": subsets});
    server.store.put(&key, object.to_string().into(), precondition).await.expect("endpoints are stored");
}

fn subsets(at: SocketAddr) -> Value {
    json!([{"addresses": [{"ip": at.ip().to_string()}], "ports": [{"port": at.port()}]}])
}

fn api_service(server: &TestServer, group: &str, service: &str) -> Value {
    let ca = std::fs::read(server.folder.path().join("ca.crt")).expect("a CA");
    json!({
        "metadata": {"name": format!("v1beta1.{group}")},
        "spec": {
            "group": group,
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"namespace": "default", "name": service},
            "caBundle": STANDARD.encode(ca),
        },
    })
}

async fn create_service(server: &TestServer, name: &str, port: u16) {
    let object = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": port}]}});
    server.create("/api/v1/namespaces/default/services", object).await;
}

async fn condition(server: &TestServer, name: &str) -> Value {
    let (_, object) = server.get(&format!("{SERVICES}/{name}")).await;
    object["status"]["conditions"][0].clone()
}

async fn becomes(server: &TestServer, name: &str, status: &str, reason: &str) -> Value {
    eventually(&format!("{name} is {status} for {reason}"), || async {
        let condition = condition(server, name).await;
        (condition["status"] == status && condition["reason"] == reason).then_some(condition)
    })
    .await
}

async fn patch(server: &TestServer, path: &str, patch: Value) {
    let (code, object) = server.json("PATCH", path, "application/merge-patch+json", &patch.to_string()).await;
    assert_eq!(code, 200, "{object}");
}

/// A server with another one behind the layer.
async fn start_with_backend() -> TestServer {
    let server = start().await;
    let backend = play(&server, answer).await;
    create_service(&server, "backend", 443).await;
    put_endpoints(&server, "backend", subsets(backend)).await;
    server.create(SERVICES, api_service(&server, "demo.example.com", "backend")).await;
    becomes(&server, NAME, "True", "Passed").await;
    server
}

// conformance: APIService aggregation: the 1.17 sample-apiserver works behind the aggregator (proxy, auth delegation, availability)
#[tokio::test(flavor = "multi_thread")]
async fn conditions_say_what_is_missing_as_soon_as_it_changes() {
    let server = start().await;
    let backend = play(&server, answer).await;
    server.create(SERVICES, api_service(&server, "demo.example.com", "backend")).await;
    let condition = becomes(&server, NAME, "False", "ServiceNotFound").await;
    assert_eq!(condition["message"], "service/backend in \"default\" is not present");
    create_service(&server, "backend", 80).await;
    becomes(&server, NAME, "False", "ServicePortError").await;
    patch(&server, "/api/v1/namespaces/default/services/backend", json!({"spec": {"ports": [{"port": 443}]}})).await;
    becomes(&server, NAME, "False", "EndpointsNotFound").await;
    put_endpoints(&server, "backend", json!([])).await;
    becomes(&server, NAME, "False", "MissingEndpoints").await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    put_endpoints(&server, "backend", subsets(closed)).await;
    becomes(&server, NAME, "False", "FailedDiscoveryCheck").await;
    put_endpoints(&server, "backend", subsets(backend)).await;
    becomes(&server, NAME, "True", "Passed").await;
    // Who is trusted is what the object says.
    let path = format!("{SERVICES}/{NAME}");
    let other = rcgen::generate_simple_self_signed(vec!["other".to_string()]).expect("a certificate");
    patch(&server, &path, json!({"spec": {"caBundle": STANDARD.encode(other.cert.pem())}})).await;
    becomes(&server, NAME, "False", "FailedDiscoveryCheck").await;
    patch(&server, &path, json!({"spec": {"caBundle": null, "insecureSkipTLSVerify": true}})).await;
    becomes(&server, NAME, "True", "Passed").await;
    let (_, _, metrics) = server.request(Request::get("/metrics").body(Vec::new()).expect("a request")).await;
    let metrics = String::from_utf8_lossy(&metrics);
    for line in [
        "aggregator_unavailable_apiservice{name=\"v1beta1.demo.example.com\"} 0\n",
        "aggregator_unavailable_apiservice_total{name=\"v1beta1.demo.example.com\",reason=\"FailedDiscoveryCheck\"} ",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_holds_up_nobody() {
    let server = start_with_backend().await;
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    create_service(&server, "silent", 443).await;
    put_endpoints(&server, "silent", subsets(silent.local_addr().expect("an address"))).await;
    server.create(SERVICES, api_service(&server, "silent.example.com", "silent")).await;
    // While it is being asked others are looked at.
    put_endpoints(&server, "backend", json!([])).await;
    let began = Instant::now();
    becomes(&server, NAME, "False", "MissingEndpoints").await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let condition = becomes(&server, "v1beta1.silent.example.com", "False", "FailedDiscoveryCheck").await;
    assert!(condition["message"].as_str().is_some_and(|text| text.contains("no answer within 5 s")), "{condition}");
    // Whoever asks it, or what there is, knows at once.
    let began = Instant::now();
    let (code, status) = server.get("/apis/silent.example.com/v1beta1/things").await;
    assert_eq!((code, &status["reason"]), (503, &json!("ServiceUnavailable")), "{status}");
    let found = client::discovery::discover(&server.client).await.expect("a discovery");
    assert!(found.failed.contains(&"silent.example.com/v1beta1".to_string()), "{:?}", found.failed);
    assert!(found.resources.iter().any(|resource| resource.plural == "pods"));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_of_other_servers_are_found_and_explained() {
    let server = start_with_backend().await;
    let found = client::discovery::discover(&server.client).await.expect("a discovery");
    assert!(found.resources.iter().any(|found| found.plural == "things" && found.kind == "Thing" && found.namespaced));
    // The list is asked of the other server, in the plain form.
    let (code, list) = server.get("/apis/demo.example.com/v1beta1").await;
    assert_eq!((code, &list["resources"][0]["name"]), (200, &json!("things")));
    let (_, group) = server.get("/apis/demo.example.com").await;
    assert_eq!(group["preferredVersion"]["groupVersion"], "demo.example.com/v1beta1");
    let index = eventually("the index has it", || async {
        let (_, index) = server.get("/openapi/v3").await;
        index["paths"]["apis/demo.example.com/v1beta1"].is_object().then_some(index)
    })
    .await;
    assert_eq!(
        index["paths"]["apis/demo.example.com/v1beta1"]["serverRelativeURL"],
        "/openapi/v3/apis/demo.example.com/v1beta1?hash=ABC"
    );
    assert!(index["paths"]["api/v1"].is_object());
    let (_, document) = server.get("/openapi/v3/apis/demo.example.com/v1beta1?hash=ABC").await;
    assert_eq!(document["info"]["title"], "demo");
    let (_, document) = server.get("/openapi/v2").await;
    assert_eq!(document["definitions"]["com.example.Thing"]["description"], "A thing of another server.");
    assert!(document["paths"]["/apis/demo.example.com/v1beta1/things"].is_object());
    assert!(document["paths"]["/api/v1/pods"].is_object());
    let text = server.kubectl(&["explain", "things.size"]).await;
    assert!(text.contains("How large it is."), "{text}");
    // What is gone is published no more.
    server.json("DELETE", &format!("{SERVICES}/{NAME}"), "", "").await;
    eventually("it is forgotten", || async {
        let (_, document) = server.get("/openapi/v2").await;
        document["definitions"]["com.example.Thing"].is_null().then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_name_the_user_and_upgrades_pass() {
    let server = start_with_backend().await;
    let request = Request::get("/apis/demo.example.com/v1beta1/things/x")
        .header("x-remote-user", "somebody-else")
        .header("x-remote-group", "system:masters")
        .header("authorization", "Bearer secret");
    let (code, _, body) = server.request(request.body(Vec::new()).expect("a request")).await;
    let seen: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((code, &seen["path"]), (200, &json!("/apis/demo.example.com/v1beta1/things/x")));
    assert_eq!(seen["headers"]["x-remote-user"], "tester");
    assert!(seen["headers"]["authorization"].is_null(), "{seen}");
    for (protocol, path) in [("websocket", "things/x/shell"), ("SPDY/3.1", "things/x/exec")] {
        let head = format!(
            "GET /apis/demo.example.com/v1beta1/namespaces/default/{path} HTTP/1.1\nHost: a\nConnection: Upgrade\n\
             Upgrade: {protocol}\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\n\n"
        );
        let (answer, mut stream) = upgrade(&server, &head).await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        stream.write_all(b"ping").await.expect("bytes are sent");
        let mut echoed = [0; 4];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut echoed)).await.expect("in time").expect("bytes");
        assert_eq!(&echoed, b"ping");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_servers_learn_whom_to_trust() {
    let server = start_configured(Plugins::allow_all(), |config| {
        config.front_proxy_ca = Some(config.client_ca.clone());
    })
    .await;
    let (_, map) = server.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication").await;
    let ca = std::fs::read_to_string(server.folder.path().join("ca.crt")).expect("a CA");
    for (key, expected) in [
        ("client-ca-file", ca.as_str()),
        ("requestheader-client-ca-file", ca.as_str()),
        ("requestheader-allowed-names", "[\"front-proxy-client\"]"),
        ("requestheader-username-headers", "[\"X-Remote-User\"]"),
        ("requestheader-uid-headers", "[\"X-Remote-Uid\"]"),
        ("requestheader-group-headers", "[\"X-Remote-Group\"]"),
        ("requestheader-extra-headers-prefix", "[\"X-Remote-Extra-\"]"),
    ] {
        assert_eq!(map["data"][key], expected, "{key}");
    }
    server.stop().await;
}
