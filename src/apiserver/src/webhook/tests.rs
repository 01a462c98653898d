use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::admission::testing::Cluster;

/// A server for one test.
struct Server {
    port: u16,
    /// PEM of who signed its certificate.
    authority: Vec<u8>,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers every review with what `answer` makes of path and body: a code and text. `None` never answers.
async fn serve(names: &[&str], is_own_authority: bool, answer: fn(&str, &Value) -> Option<(u16, String)>) -> Server {
    let (ca_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let named = |names: &[&str]| {
        CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("parameters")
    };
    let mut ca = named(&[]);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "hooks");
    let mut leaf = named(names);
    let (certificate, authority) = match is_own_authority {
        true => {
            leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let certificate = leaf.self_signed(&key).expect("a certificate");
            let pem = certificate.pem();
            (certificate, pem)
        }
        false => {
            let pem = ca.self_signed(&ca_key).expect("a certificate").pem();
            (leaf.signed_by(&key, &Issuer::new(ca, ca_key)).expect("a certificate"), pem)
        }
    };
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, counted) = (acceptor.clone(), counted.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                counted.fetch_add(1, Ordering::SeqCst);
                let service = service_fn(|request: Request<Incoming>| async move {
                    let path = request.uri().to_string();
                    let body = request.into_body().collect().await.expect("a body").to_bytes();
                    let review: Value = serde_json::from_slice(&body).expect("JSON");
                    let Some((code, text)) = answer(&path, &review) else { std::future::pending().await };
                    let response = Response::builder().status(code).header("location", "/elsewhere");
                    Ok::<_, std::convert::Infallible>(response.body(Full::new(Bytes::from(text))).expect("a response"))
                });
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    Server { port, authority: authority.into_bytes(), connections, task }
}

fn config(url: &str, authority: &[u8]) -> Value {
    use base64::Engine;
    json!({"url": url, "caBundle": base64::engine::general_purpose::STANDARD.encode(authority)})
}

fn endpoint(url: &str, authority: &[u8]) -> Endpoint {
    Endpoint::of_client_config(&config(url, authority)).expect("an endpoint")
}

const SOON: Duration = Duration::from_secs(10);
const BOUNDS: Bounds = Bounds { within: SOON, answer_bytes: 100_000 };

fn echo(path: &str, review: &Value) -> Option<(u16, String)> {
    Some((200, json!({"path": path, "review": review}).to_string()))
}

#[tokio::test]
async fn reviews_are_answered_over_connections_that_are_kept() {
    let cluster = Cluster::new();
    let caller = Caller::new(cluster.live.clone(), true);
    for is_own_authority in [false, true] {
        let server = serve(&["127.0.0.1"], is_own_authority, echo).await;
        let endpoint = endpoint(&format!("https://127.0.0.1:{}/some/path", server.port), &server.authority);
        for round in 0..3 {
            let answer = caller.post(&endpoint, None, &json!({"round": round}), BOUNDS).await.expect("an answer");
            assert_eq!(answer, json!({"path": "/some/path?timeout=10s", "review": {"round": round}}));
        }
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn answers_are_bounded_and_connections_that_nobody_uses_are_closed() {
    let cluster = Cluster::new();
    let caller = Caller::new(cluster.live.clone(), true);
    let server = serve(&["127.0.0.1"], false, echo).await;
    let endpoint = endpoint(&format!("https://127.0.0.1:{}/", server.port), &server.authority);
    let large = json!({"data": "x".repeat(BOUNDS.answer_bytes)});
    let refused = caller.post(&endpoint, None, &large, BOUNDS).await.expect_err("too large").to_string();
    assert!(refused.contains("the answer is larger than 100000 bytes"), "{refused}");
    caller.post(&endpoint, None, &json!({}), BOUNDS).await.expect("an answer");
    let line = caller.line(&endpoint).expect("a line");
    let idle = || line.lock().idle.len();
    assert_eq!(idle(), 1);
    // As if the time had passed.
    for one in &mut line.lock().idle {
        one.since = Instant::now().checked_sub(IDLE_FOR).expect("a time");
    }
    assert!(!line.sweep());
    assert_eq!(idle(), 0);
}

#[tokio::test]
async fn a_service_is_called_where_its_endpoints_are_and_by_its_name() {
    let cluster = Cluster::new();
    let caller = Caller::new(cluster.live.clone(), true);
    let server = serve(&["hooks.team.svc"], false, echo).await;
    let mut config = config("", &server.authority);
    config.as_object_mut().expect("an object").remove("url");
    config["service"] = json!({"namespace": "team", "name": "hooks", "path": "/a", "port": 8443});
    let endpoint = Endpoint::of_client_config(&config).expect("an endpoint");
    let ask = async || caller.post(&endpoint, None, &json!({}), BOUNDS).await;
    let url = "Post \"https://hooks.team.svc:8443/a?timeout=10s\":";
    let failed = |answer: Result<Value, Failure>| answer.expect_err("nobody is there").to_string();
    assert_eq!(failed(ask().await), format!("{url} service \"hooks\" not found"));
    let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "team", "name": "hooks"},
        "spec": {"ports": [{"port": 443}]}});
    cluster.put("services", service.clone()).await;
    assert_eq!(failed(ask().await), format!("{url} no service port 8443 found for service \"hooks\""));
    service["spec"]["ports"] = json!([{"port": 8443}]);
    cluster.put("services", service).await;
    assert_eq!(failed(ask().await), format!("{url} no endpoints available for service \"hooks\""));
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"namespace": "team", "name": "hooks"},
        "subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": server.port}]}]});
    cluster.put("endpoints", endpoints).await;
    assert_eq!(ask().await.expect("an answer")["path"], "/a?timeout=10s");
    // Where this host's own addresses are not to be called, they are not.
    let strict = Caller::new(cluster.live.clone(), false);
    let refused = strict.post(&endpoint, None, &json!({}), BOUNDS).await.expect_err("not allowed").to_string();
    assert_eq!(refused, format!("{url} dial tcp 127.0.0.1:{}: address not allowed", server.port));
    let own = Endpoint { is_operators: true, ..endpoint.clone() };
    assert!(strict.post(&own, None, &json!({}), BOUNDS).await.is_ok());
}

#[tokio::test]
async fn whoever_does_not_answer_as_they_should_is_told_in_the_known_words() {
    let cluster = Cluster::new();
    let caller = Caller::new(cluster.live.clone(), true);
    let ask = async |endpoint: &Endpoint, limit| {
        caller
            .post(endpoint, None, &json!({}), Bounds { within: limit, ..BOUNDS })
            .await
            .expect_err("no answer")
            .to_string()
    };
    let server = serve(&["127.0.0.1"], false, |path, _| match path.split('?').next() {
        Some("/hang") => None,
        Some("/text") => Some((200, "no".to_string())),
        Some("/broken") => Some((500, "it broke".to_string())),
        Some("/moved") => Some((307, String::new())),
        _ => Some((404, String::new())),
    })
    .await;
    let at = |path: &str| endpoint(&format!("https://127.0.0.1:{}{path}", server.port), &server.authority);
    let started = Instant::now();
    let late = ask(&at("/hang"), Duration::from_secs(1)).await;
    let url = format!("Post \"https://127.0.0.1:{}/hang?timeout=1s\":", server.port);
    assert_eq!(late, format!("{url} context deadline exceeded"));
    assert!(started.elapsed() < SOON);
    assert_eq!(ask(&at("/none"), SOON).await, "the server could not find the requested resource");
    assert_eq!(
        ask(&at("/broken"), SOON).await,
        "an error on the server (\"it broke\") has prevented the request from succeeding"
    );
    assert!(ask(&at("/moved"), SOON).await.starts_with("the server responded with the status code 307"));
    assert!(ask(&at("/text"), SOON).await.contains("json parse error"));
    // Of an unknown authority, of another name, and of nobody.
    let other = serve(&["elsewhere.example.com"], false, echo).await;
    let unknown = ask(&endpoint(&format!("https://127.0.0.1:{}/", server.port), &other.authority), SOON).await;
    assert!(
        unknown.contains("tls: failed to verify certificate: x509: certificate signed by unknown authority ("),
        "{unknown}"
    );
    let misnamed = ask(&endpoint(&format!("https://127.0.0.1:{}/", other.port), &other.authority), SOON).await;
    assert!(misnamed.ends_with("x509: certificate is valid for elsewhere.example.com, not 127.0.0.1"), "{misnamed}");
    let without = Endpoint { authorities: None, ..at("/") };
    assert!(ask(&without, SOON).await.contains("x509: certificate signed by unknown authority"));
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let nobody = ask(&endpoint(&format!("https://{free}/"), &server.authority), SOON).await;
    assert!(nobody.ends_with(&format!("dial tcp {free}: connect: connection refused")), "{nobody}");
}
