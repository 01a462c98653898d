//! `/exec`, `/attach`, `/portForward`: byte streams between the client and the runtime's own streaming server.
//!
//! The agent speaks neither SPDY nor WebSocket: it passes the client's upgrade on and then bytes both ways.

use std::time::Duration;

use cri::v1;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Answer, Refusal, Server, query, refuse, text};
use crate::pod::find_container;
use crate::pod::observed::{Instance, Phase};
use crate::pod::worker::Worker;

/// The runtime's streaming server is on this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// It answers an upgrade in this time.
const UPGRADE_LIMIT: Duration = Duration::from_secs(30);
/// `/run` waits this long for its command.
const RUN_LIMIT: Duration = Duration::from_secs(120);

fn worker(server: &Server, namespace: &str, pod: &str) -> Result<std::sync::Arc<Worker>, Refusal> {
    let found = server.pods.find(namespace, pod);
    found.ok_or_else(|| refuse(StatusCode::NOT_FOUND, format!("pod does not exist: {namespace}/{pod}\n")))
}

fn running(worker: &Worker, container: &str) -> Result<Instance, Refusal> {
    let found = worker.observed().latest(container).cloned();
    let found = found.filter(|instance| instance.phase == Phase::Running);
    found
        .ok_or_else(|| refuse(StatusCode::NOT_FOUND, format!("container not found or not running (\"{container}\")\n")))
}

fn failed(error: &cri::Error) -> Refusal {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("{}\n", stdx::error::chain(error)))
}

struct Wishes {
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
    ports: Vec<i32>,
}

fn wishes<B>(request: &Request<B>) -> Wishes {
    let pairs = query(request);
    let truth = |names: [&str; 2]| {
        pairs.iter().any(|(name, value)| names.contains(&name.as_str()) && matches!(value.as_str(), "1" | "true"))
    };
    let tty = truth(["tty", "tty"]);
    let all =
        |wanted: &'static str| pairs.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value.clone());
    Wishes {
        command: all("command").collect(),
        stdin: truth(["input", "stdin"]),
        stdout: truth(["output", "stdout"]),
        // A terminal has one output.
        stderr: truth(["error", "stderr"]) && !tty,
        tty,
        ports: all("port")
            .flat_map(|ports| ports.split(',').filter_map(|port| port.parse().ok()).collect::<Vec<_>>())
            .collect(),
    }
}

/// Runs a command in a container.
pub async fn exec(server: &Server, request: Request<Incoming>, namespace: &str, pod: &str, container: &str) -> Answer {
    let instance = running(worker(server, namespace, pod)?.as_ref(), container)?;
    let wishes = wishes(&request);
    if !(wishes.stdin || wishes.stdout || wishes.stderr) {
        return Err(refuse(StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr\n"));
    }
    let asked = v1::ExecRequest {
        container_id: instance.id,
        cmd: wishes.command,
        tty: wishes.tty,
        stdin: wishes.stdin,
        stdout: wishes.stdout,
        stderr: wishes.stderr,
    };
    let url = server.pods.host().runtime.exec(asked).await.map_err(|error| failed(&error))?;
    tunnel(request, &url).await
}

/// Connects to a container's own streams.
pub async fn attach(
    server: &Server,
    request: Request<Incoming>,
    namespace: &str,
    pod: &str,
    container: &str,
) -> Answer {
    let worker = worker(server, namespace, pod)?;
    let instance = running(&worker, container)?;
    let wishes = wishes(&request);
    let tty = find_container(&worker.pod(), container).and_then(|container| container.tty) == Some(true);
    let asked = v1::AttachRequest {
        container_id: instance.id,
        stdin: wishes.stdin,
        tty,
        stdout: wishes.stdout,
        stderr: wishes.stderr && !tty,
    };
    let url = server.pods.host().runtime.attach(asked).await.map_err(|error| failed(&error))?;
    tunnel(request, &url).await
}

/// Connects to ports of a pod.
pub async fn port_forward(server: &Server, request: Request<Incoming>, namespace: &str, pod: &str) -> Answer {
    let observed = worker(server, namespace, pod)?.observed();
    let Some(sandbox) = observed.ready_sandbox() else {
        return Err(refuse(StatusCode::NOT_FOUND, format!("pod {namespace}/{pod} is not running\n")));
    };
    let ports = wishes(&request).ports;
    let url = server.pods.host().runtime.port_forward(&sandbox.id, ports).await.map_err(|error| failed(&error))?;
    tunnel(request, &url).await
}

/// Runs a command to its end and answers with what it printed.
pub async fn run(server: &Server, request: &Request<Incoming>, namespace: &str, pod: &str, container: &str) -> Answer {
    let instance = running(worker(server, namespace, pod)?.as_ref(), container)?;
    let command =
        query(request).into_iter().find(|(name, _)| name == "cmd").map(|(_, value)| value).unwrap_or_default();
    let words = command.split(' ').map(str::to_string).collect();
    let output =
        server.pods.host().runtime.exec_sync(&instance.id, words, RUN_LIMIT).await.map_err(|error| failed(&error))?;
    let mut all = output.stdout;
    all.extend(output.stderr);
    Ok(text(StatusCode::OK, all))
}

/// Passes the client's upgrade on to the runtime at `url`, and then bytes both ways until one side ends.
async fn tunnel(mut request: Request<Incoming>, url: &str) -> Answer {
    let gateway = |message: String| refuse(StatusCode::BAD_GATEWAY, format!("runtime's streaming server: {message}\n"));
    if !request.headers().contains_key(header::UPGRADE) {
        return Err(refuse(StatusCode::BAD_REQUEST, "Upgrade request required\n"));
    }
    let uri: http::Uri = url.parse().map_err(|_| gateway(format!("{url:?} is not a URL")))?;
    if uri.scheme_str() != Some("http") {
        let message = "it serves streams over TLS: set its stream_server_address to 127.0.0.1 and disable TLS there";
        return Err(gateway(message.into()));
    }
    let authority = uri.authority().ok_or_else(|| gateway(format!("{url:?} names no host")))?.to_string();
    let stream = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(&authority)).await;
    let stream = stream.map_err(|_| gateway("no answer".into()))?.map_err(|error| gateway(error.to_string()))?;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| gateway(error.to_string()))?;
    tokio::spawn(connection.with_upgrades());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut onward = Request::builder()
        .method(request.method().clone())
        .uri(path)
        .body(Empty::<Bytes>::new())
        .map_err(|error| gateway(error.to_string()))?;
    *onward.headers_mut() = passed(request.headers());
    if let Ok(host) = authority.parse() {
        onward.headers_mut().insert(header::HOST, host);
    }
    let answer = tokio::time::timeout(UPGRADE_LIMIT, sender.send_request(onward)).await;
    let mut answer = answer.map_err(|_| gateway("no answer".into()))?.map_err(|error| gateway(error.to_string()))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = answer.status();
        let body = answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        return Err(refuse(status, body));
    }
    let (client, runtime) = (hyper::upgrade::on(&mut request), hyper::upgrade::on(&mut answer));
    tokio::spawn(async move {
        let (client, runtime) = match tokio::try_join!(client, runtime) {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "upgrade a stream"),
        };
        let (mut client, mut runtime) = (TokioIo::new(client), TokioIo::new(runtime));
        let _ = tokio::io::copy_bidirectional(&mut client, &mut runtime).await;
    });
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, Bytes::new());
    *response.headers_mut() = answer.headers().clone();
    Ok(response)
}

/// The client's headers without what is between it and the agent alone.
fn passed(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    for name in [header::AUTHORIZATION, header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        passed.remove(name);
    }
    passed
}
