//! exec and logs through an agent that the test plays.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use store::{Precondition, Store};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::runtime;
use crate::support::{PATIENCE, TestServer, eventually, start, start_strict};

/// Whom clients of the server trust.
pub fn roots(server: &TestServer) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(server.folder.path().join("ca.crt")).expect("a certificate"))
        .expect("a root");
    roots
}

/// An agent that shows its certificate, asks for the server's, echoes what comes over an upgrade, and answers
/// everything else with the path that was asked for.
async fn play_agent(server: &TestServer) -> SocketAddr {
    play(server, answer).await
}

/// An HTTPS server that asks for the API server's certificate and answers so.
pub async fn play<A, F>(server: &TestServer, answer: A) -> SocketAddr
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(server)), provider.clone());
    let folder = server.folder.path();
    let chain = vec![CertificateDer::from_pem_file(folder.join("agent.crt")).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(folder.join("agent.key")).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(chain, key)
        .expect("a configuration");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer))
                    .with_upgrades()
                    .await;
            });
        }
    });
    address
}

/// What is behind an upgrade.
enum Plays {
    Echo,
    Cat,
    Forward,
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let asked = request.uri().to_string();
    let Some(protocol) = request.headers().get("upgrade").cloned() else {
        let asker = request.headers().get("x-remote-user").cloned();
        let mut response = Response::new(Full::from(asked.clone()));
        if asked.contains("sinceSeconds=7") {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            *response.body_mut() = Full::from("container \"c\" in pod \"p\" is waiting to start: ContainerCreating\n");
        }
        if asked.contains("away") {
            *response.status_mut() = StatusCode::FOUND;
            response.headers_mut().insert("location", http::HeaderValue::from_static("/elsewhere"));
        }
        if let Some(asker) = asker {
            response.headers_mut().insert("x-asked-by", asker);
        }
        return Ok(response);
    };
    if asked.contains("command=refused") {
        let mut response = Response::new(Full::from("container not found (\"c\")\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    }
    let plays = if asked.contains("command=cat") {
        Plays::Cat
    } else if asked.starts_with("/portForward") && protocol == "SPDY/3.1" {
        Plays::Forward
    } else {
        Plays::Echo
    };
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(&mut request).await.expect("an upgrade");
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        let _ = match plays {
            Plays::Cat => runtime::cat(read, write).await,
            Plays::Forward => runtime::forward(read, write).await,
            Plays::Echo => tokio::io::copy(&mut read, &mut write).await.map(drop),
        };
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).header("connection", "Upgrade");
    Ok(response.header("upgrade", protocol).header("x-asked", asked).body(Full::default()).expect("a response"))
}

pub async fn start_with_pod() -> TestServer {
    with_pod(start().await).await
}

async fn with_pod(server: TestServer) -> TestServer {
    let agent = play_agent(&server).await;
    server.create("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": agent.ip().to_string()}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": agent.port()}},
    }});
    let (code, node) =
        server.json("PATCH", "/api/v1/nodes/n1/status", "application/merge-patch+json", &status.to_string()).await;
    assert_eq!(code, 200, "{node}");
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    server.create("/api/v1/namespaces/default/pods", pod).await;
    server
}

/// A TLS connection to the server.
pub async fn connect(server: &TestServer) -> tokio_rustls::client::TlsStream<TcpStream> {
    connect_with(server, &[]).await
}

/// A TLS connection to the server for one of these protocols.
pub async fn connect_with(server: &TestServer, protocols: &[&[u8]]) -> tokio_rustls::client::TlsStream<TcpStream> {
    let stream = TcpStream::connect(server.address.trim_start_matches("https://")).await.expect("a connection");
    connect_over(server, stream, protocols).await
}

/// TLS over a connection to the server.
pub async fn connect_over(
    server: &TestServer,
    stream: TcpStream,
    protocols: &[&[u8]],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots(server))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let address: SocketAddr = server.address.trim_start_matches("https://").parse().expect("an address");
    let name = ServerName::IpAddress(address.ip().into());
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS")
}

/// Sends a request for an upgrade by hand and answers with the head of the response and the stream.
pub async fn upgrade(server: &TestServer, head: &str) -> (String, tokio_rustls::client::TlsStream<TcpStream>) {
    let mut stream = connect(server).await;
    stream.write_all(head.replace('\n', "\r\n").as_bytes()).await.expect("a request");
    let head = read_head(&mut stream).await;
    (head, stream)
}

async fn read_head(stream: &mut tokio_rustls::client::TlsStream<TcpStream>) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer
            .push(tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("an answer in time").expect("a byte"));
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads a whole answer: its head in lower case, and its body, which must have come to its end.
pub async fn read_answer(stream: &mut tokio_rustls::client::TlsStream<TcpStream>) -> (String, Vec<u8>) {
    let head = read_head(stream).await.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    let mut body = Vec::new();
    let reading = async {
        if let Some(length) = length {
            body.resize(length, 0);
            stream.read_exact(&mut body).await.expect("a body");
            return;
        }
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(stream.read_u8().await.expect("the end of the body is told"));
            }
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).expect("the size of a chunk");
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await.expect("a chunk");
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("a body in time");
    (head, body)
}

/// Sends a request over a connection of its own, lines as they are written here, and reads the answer.
pub async fn exchange(server: &TestServer, request: &str) -> (String, Vec<u8>) {
    let mut stream = connect(server).await;
    let (head, body) = request.split_once("\n\n").map_or((request, None), |(head, body)| (head, Some(body)));
    let mut bytes = head.replace('\n', "\r\n");
    if let Some(body) = body {
        bytes.push_str("\r\n\r\n");
        bytes.push_str(body);
    }
    // The answer may come before the request has been read.
    let _ = stream.write_all(bytes.as_bytes()).await;
    read_answer(&mut stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_passes_bytes_between_client_and_agent() {
    let server = start_with_pod().await;
    let head = "POST /api/v1/namespaces/default/pods/p/exec?command=ls&stdout=1 HTTP/1.1\nHost: a\nConnection: Upgrade\n\
                Upgrade: SPDY/3.1\nX-Stream-Protocol-Version: v4.channel.k8s.io\n\n";
    let (answer, mut stream) = upgrade(&server, head).await;
    assert!(answer.starts_with("HTTP/1.1 101") && answer.contains("/exec/default/p/c?command=ls&output=1"), "{answer}");
    stream.write_all(b"ping").await.expect("bytes are sent");
    let mut echoed = [0; 4];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut echoed)).await.expect("in time").expect("bytes come back");
    assert_eq!(&echoed, b"ping");
    let websocket = |protocol: &str| {
        format!(
            "GET /api/v1/namespaces/default/pods/p/exec?command=ls&stdout=1 HTTP/1.1\nHost: a\nConnection: Upgrade\n\
             Upgrade: websocket\nSec-WebSocket-Protocol: {protocol}\n\n"
        )
    };
    // What runtimes speak is passed on; of what nobody here speaks the client hears, and falls back to SPDY.
    let (answer, _) = upgrade(&server, &websocket("v4.channel.k8s.io")).await;
    assert!(answer.contains("upgrade: websocket") && answer.contains("/exec/default/p/c?command=ls"), "{answer}");
    assert!(upgrade(&server, &websocket("v6.channel.k8s.io")).await.0.starts_with("HTTP/1.1 400"));
    server.stop().await;
}

/// Runs kubectl with an input that ends; answers whether it succeeded, with its output and what it said beside.
async fn kubectl_with_input(server: &TestServer, arguments: &[&str], input: &'static str) -> (bool, String, String) {
    let mut command = tokio::process::Command::from(server.kubectl_command(arguments));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("kubectl starts");
    let mut stdin = child.stdin.take().expect("an input");
    stdin.write_all(input.as_bytes()).await.expect("kubectl reads");
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("kubectl ends with its input").expect("an output");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_input_ends_the_command_over_websockets() {
    let server = start_with_pod().await;
    for verb in [&["exec", "-i", "p", "-v=8", "--", "cat"][..], &["exec", "-i", "p", "-v=8", "--", "cat", "-v"]] {
        let (succeeded, out, log) = kubectl_with_input(&server, verb, "hi\n").await;
        assert!(succeeded && out == "hi\n", "{out}{log}");
        assert!(log.contains("Sec-Websocket-Protocol: v5.channel.k8s.io") && !log.contains("fallback"), "{log}");
    }
    // What the agent refuses is told within the connection, and not asked for again in an older protocol.
    let (succeeded, _, log) = kubectl_with_input(&server, &["exec", "p", "-v=8", "--", "refused"], "").await;
    assert!(!succeeded && log.contains("unable to upgrade connection: container not found (\"c\")"), "{log}");
    assert!(!log.contains("fallback"), "{log}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded_in_a_tunnel_of_websockets() {
    let server = start_with_pod().await;
    let status = json!({"status": {"phase": "Running"}}).to_string();
    let path = "/api/v1/namespaces/default/pods/p/status";
    assert_eq!(server.json("PATCH", path, "application/merge-patch+json", &status).await.0, 200);
    let mut command = tokio::process::Command::from(server.kubectl_command(&["port-forward", "p", ":80", "-v=8"]));
    command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", "true");
    let log = std::fs::File::create(server.folder.path().join("log")).expect("a file");
    command.stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
    let mut child = command.spawn().expect("kubectl starts");
    let mut lines = BufReader::new(child.stdout.take().expect("an output")).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("text");
    let log = || std::fs::read_to_string(server.folder.path().join("log")).expect("a log");
    let line = line.unwrap_or_else(|| panic!("kubectl ended: {}", log()));
    // Forwarding from 127.0.0.1:40001 -> 80
    let port = line.split([':', ' ']).filter_map(|word| word.parse::<u16>().ok()).next().expect("a port");
    for text in [&b"ping"[..], b"again"] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("kubectl listens");
        stream.write_all(text).await.expect("bytes are sent");
        let mut echoed = vec![0; text.len()];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut echoed)).await.expect("in time");
        assert!(read.is_ok() && echoed == text, "{}", log());
    }
    assert!(log().contains("Sec-Websocket-Protocol: SPDY/3.1+portforward.k8s.io"), "{}", log());
    assert!(!log().contains("fallback"), "{}", log());
    child.kill().await.expect("kubectl ends");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_node_paths_come_from_the_agent() {
    let server = start_with_pod().await;
    let text = server.kubectl(&["logs", "p", "--tail=3"]).await;
    assert_eq!(text, "/containerLogs/default/p/c?tailLines=3");
    let text = server.kubectl(&["get", "--raw", "/api/v1/nodes/n1/proxy/stats/summary?a=b"]).await;
    assert_eq!(text, "/stats/summary?a=b");
    // Why there is no log is told in the agent's words.
    let (code, answer) = server.get("/api/v1/namespaces/default/pods/p/log?sinceSeconds=7").await;
    assert_eq!((code, answer["reason"].as_str()), (400, Some("BadRequest")), "{answer}");
    assert_eq!(answer["message"], "container \"c\" in pod \"p\" is waiting to start: ContainerCreating");
    // What an agent that was taken over says of other places does not reach its clients.
    for path in ["/api/v1/nodes/n1/proxy/away", "/api/v1/namespaces/default/pods/p/log?tailLines=away"] {
        let (code, answer) = server.get(path).await;
        assert_eq!(code, 502, "{path}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|text| text.contains("attempted to redirect")), "{answer}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_does_not_lead_requests_to_the_servers_own_host() {
    let server = with_pod(start_strict().await).await;
    let status = json!({"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
    let path = "/api/v1/namespaces/default/pods/p/status";
    let (code, pod) = server.json("PATCH", path, "application/merge-patch+json", &status.to_string()).await;
    assert_eq!(code, 200, "{pod}");
    let proxied = |what: &str| format!("/api/v1/{what}/proxy/x");
    let pods = "namespaces/default/pods";
    let paths = [proxied("nodes/n1"), proxied("nodes/n1:6443"), proxied(&format!("{pods}/p:80"))];
    for path in paths.iter().map(String::as_str).chain(["/api/v1/namespaces/default/pods/p/log"]) {
        let (code, answer) = server.get(path).await;
        assert_eq!(code, 400, "{path}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|text| text.contains("address not allowed")), "{answer}");
    }
    // Nor back to the server, which would be asked with its own certificate.
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": server.port()}},
    }});
    let (code, node) =
        server.json("PATCH", "/api/v1/nodes/n1/status", "application/merge-patch+json", &status.to_string()).await;
    assert_eq!(code, 200, "{node}");
    assert_eq!(server.get("/api/v1/nodes/n1/proxy/x").await.0, 400);
    server.stop().await;
}

// conformance: a server behind the aggregation layer is found, asked and told available
#[tokio::test(flavor = "multi_thread")]
async fn groups_of_other_servers_are_found_and_served() {
    use base64::Engine;
    let server = start().await;
    let backend = play_agent(&server).await;
    let services = "/api/v1/namespaces/default/services";
    server.create(services, json!({"metadata": {"name": "backend"}, "spec": {"ports": [{"port": 443}]}})).await;
    // Endpoints may not be on loopback, where the test's own server has to be.
    let endpoints = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "backend", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": backend.port()}]}],
    });
    let put =
        server.store.put("/registry/endpoints/default/backend", endpoints.to_string().into(), Precondition::Absent);
    put.await.expect("endpoints are stored");
    let ca = std::fs::read(server.folder.path().join("ca.crt")).expect("a CA");
    let service = json!({
        "metadata": {"name": "v1beta1.demo.example.com"},
        "spec": {
            "group": "demo.example.com",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"namespace": "default", "name": "backend"},
            "caBundle": base64::engine::general_purpose::STANDARD.encode(ca),
        },
    });
    server.create("/apis/apiregistration.k8s.io/v1/apiservices", service).await;
    let (_, groups) = server.get("/apis").await;
    assert!(groups.to_string().contains("demo.example.com/v1beta1"), "{groups}");
    let request = http::Request::get("/apis/demo.example.com/v1beta1/things?a=b").body(Vec::new()).expect("a request");
    let (code, headers, body) = server.request(request).await;
    assert_eq!((code, body.as_slice()), (200, &b"/apis/demo.example.com/v1beta1/things?a=b"[..]));
    assert_eq!(headers["x-asked-by"], "tester");
    eventually("the group is available", || async {
        let (_, object) = server.get("/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.demo.example.com").await;
        (object["status"]["conditions"][0]["reason"] == "Passed").then_some(())
    })
    .await;
    server.stop().await;
}
