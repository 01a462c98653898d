//! A real Git server over https on 127.0.0.1: `git http-backend` behind hyper and rustls, with faults to order.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// `me:hunter2`, as a client sends it.
const CREDENTIALS: &str = "Basic bWU6aHVudGVyMg==";
/// How much of an answer comes before a fault; less than what any pack of the tests has.
const BEFORE_FAULT_BYTES: usize = 100;
/// What is sent at once.
const PIECE_BYTES: usize = 16 << 10;

type Body = BoxBody<Bytes, io::Error>;

/// What happens to packs on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The connection ends in the middle.
    Cut,
    /// Nothing more comes.
    Stall,
}

/// Serves a folder of repositories. The first part of a path says how: `open`, `private` (for me:hunter2), `moved`
/// (to `open`), `hidden` (to `private`), `away` (to another server), `plain` (to http), `loop`, `page` (no
/// repository), `large` (headers). It ends with the test's runtime.
pub struct Server {
    pub port: u16,
    pub authority: tempfile::NamedTempFile,
    state: Arc<State>,
}

struct State {
    port: u16,
    repositories: PathBuf,
    fault: Mutex<Fault>,
    away: Mutex<String>,
    seen: Mutex<Vec<Seen>>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub with_credentials: bool,
    pub connection: u16,
}

impl Server {
    /// `repositories` is the folder that holds them.
    pub async fn start(repositories: PathBuf) -> Self {
        let (authority, tls) = identity();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (fault, away, seen) = (Mutex::new(Fault::None), Mutex::default(), Mutex::default());
        let state = Arc::new(State { port, repositories, fault, away, seen });
        let serving = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (tls, state) = (tls.clone(), serving.clone());
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service =
                        hyper::service::service_fn(move |request| answer(state.clone(), peer.port(), request));
                    let _gone = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { port, authority, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/{path}", self.port)
    }

    pub fn set_fault(&self, fault: Fault) {
        *self.state.fault.lock().unwrap() = fault;
    }

    /// Where `away` leads.
    pub fn set_away(&self, url: &str) {
        *self.state.away.lock().unwrap() = url.to_owned();
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }
}

/// A certificate for 127.0.0.1, and the file of the authority that signed it.
fn identity() -> (tempfile::NamedTempFile, TlsAcceptor) {
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![leaf.der().clone()], key).unwrap();
    (authority, TlsAcceptor::from(Arc::new(config)))
}

async fn answer(state: Arc<State>, connection: u16, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let credentials = request.headers().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let path = request.uri().path_and_query().unwrap().as_str().to_owned();
    let seen = Seen { path: path.clone(), with_credentials: credentials.is_some(), connection };
    state.seen.lock().unwrap().push(seen);
    let (how, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((&path, ""));
    let known = credentials.as_deref() == Some(CREDENTIALS);
    Ok(match how {
        "open" => backend(&state, rest, request).await,
        "private" if known => backend(&state, rest, request).await,
        "private" => says(StatusCode::UNAUTHORIZED, ("www-authenticate", "Basic realm=\"repositories\""), "no"),
        "moved" => to(&format!("/open/{rest}")),
        "hidden" => to(&format!("https://127.0.0.1:{}/private/{rest}", state.port)),
        "away" => to(&format!("{}/{rest}", state.away.lock().unwrap())),
        "plain" => to(&format!("http://127.0.0.1:{}/open/{rest}", state.port)),
        "loop" => to(&path),
        "page" => says(StatusCode::OK, ("content-type", "text/html"), "<h1>Welcome</h1>"),
        "large" => says(StatusCode::OK, ("x-large", &"x".repeat(200 << 10)), ""),
        _ => says(StatusCode::NOT_FOUND, ("content-type", "text/plain"), "nothing"),
    })
}

fn says(status: StatusCode, header: (&str, &str), text: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}).boxed();
    Response::builder().status(status).header(header.0, header.1).body(body).unwrap()
}

fn to(location: &str) -> Response<Body> {
    says(StatusCode::MOVED_PERMANENTLY, ("location", location), "")
}

/// `git http-backend`, as a web server runs it (RFC 3875).
async fn backend(state: &State, path: &str, request: Request<Incoming>) -> Response<Body> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let method = request.method().clone();
    let content_type = request.headers().get("content-type").map_or("", |value| value.to_str().unwrap()).to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &state.repositories)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs([("PATH_INFO", format!("/{path}")), ("QUERY_STRING", query.to_owned())])
        .envs([("REQUEST_METHOD", method.to_string()), ("CONTENT_TYPE", content_type)])
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("git is missing: apt-get install git");
    let mut input = child.stdin.take().unwrap();
    // A backend that needs no input may be gone already.
    let written = tokio::spawn(async move { input.write_all(&body).await });
    let output = child.wait_with_output().await.unwrap().stdout;
    drop(written);
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("headers");
    let headers: HashMap<String, String> = String::from_utf8_lossy(&output[..end])
        .lines()
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())))
        .collect();
    let status = headers.get("status").map_or("200", |status| &status[..3]).parse::<u16>().unwrap();
    let bytes = Bytes::from(output).slice(end + 4..);
    let fault = if method == Method::POST { *state.fault.lock().unwrap() } else { Fault::None };
    let content_type = headers.get("content-type").map_or("text/plain", String::as_str);
    Response::builder().status(status).header("content-type", content_type).body(faulty(bytes, fault)).unwrap()
}

/// As most servers send what a program writes: in pieces, without saying how much it will be.
fn faulty(bytes: Bytes, fault: Fault) -> Body {
    let kept = if fault == Fault::None { bytes.len() } else { bytes.len().min(BEFORE_FAULT_BYTES) };
    let pieces: Vec<Bytes> = bytes[..kept].chunks(PIECE_BYTES).map(Bytes::copy_from_slice).collect();
    let pieces = futures::stream::iter(pieces).map(|piece| Ok(Frame::data(piece)));
    match fault {
        Fault::None => BodyExt::boxed(StreamBody::new(pieces)),
        Fault::Cut => {
            // What was sent must have left before the connection ends.
            let cut = futures::stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(io::Error::other("cut"))
            });
            BodyExt::boxed(StreamBody::new(pieces.chain(cut)))
        }
        Fault::Stall => BodyExt::boxed(StreamBody::new(pieces.chain(futures::stream::pending()))),
    }
}
