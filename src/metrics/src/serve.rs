//! The API over HTTPS, for the API server's aggregation layer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use machinery::selector::LabelSelector;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::api;
use crate::run::Board;

/// Connections at a time; more wait. The API server keeps a few.
const MAX_CONNECTIONS: usize = 64;

/// Serves until `shutdown`.
pub async fn serve(
    address: SocketAddr,
    tls: Arc<ServerConfig>,
    board: Arc<Board>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        let (acceptor, board) = (acceptor.clone(), board.clone());
        tokio::spawn(async move {
            // A failed handshake (a probe of the port, a client without the certificate) is the client's matter.
            if let Ok(stream) = acceptor.accept(stream).await {
                let service = service_fn(move |request| {
                    let response = answer(&request, &board);
                    async move { Ok::<_, Infallible>(response) }
                });
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            }
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, board: &Board) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "metrics can be read only");
    }
    let path = request.uri().path().trim_end_matches('/');
    let rest = match path {
        "/readyz" | "/livez" | "/healthz" => return plain(StatusCode::OK, "ok"),
        "/apis/metrics.k8s.io" => return json(&api::group()),
        "/apis/metrics.k8s.io/v1beta1" => return json(&api::resource_list()),
        other => other.strip_prefix("/apis/metrics.k8s.io/v1beta1/").unwrap_or_default(),
    };
    let selector = match selector(request.uri().query().unwrap_or_default()) {
        Ok(selector) => selector,
        Err(message) => return failure(StatusCode::BAD_REQUEST, "BadRequest", &message),
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let chosen = |items: Vec<Value>| items.into_iter().filter(|item| selector.matches_object(item)).collect();
    match parts.as_slice() {
        ["nodes"] => json(&api::list("NodeMetricsList", chosen(board.nodes()))),
        ["nodes", name] => one(board.node(name), "nodemetrics", name),
        ["pods"] => json(&api::list("PodMetricsList", chosen(board.pods(None)))),
        ["namespaces", namespace, "pods"] => json(&api::list("PodMetricsList", chosen(board.pods(Some(namespace))))),
        ["namespaces", namespace, "pods", name] => one(board.pod(namespace, name), "podmetrics", name),
        _ => failure(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource"),
    }
}

fn selector(query: &str) -> Result<LabelSelector, String> {
    let decoded = query.split('&').filter_map(|pair| pair.strip_prefix("labelSelector=")).next_back();
    let Some(encoded) = decoded else { return Ok(LabelSelector::everything()) };
    let text = percent_encoding::percent_decode_str(&encoded.replace('+', " ")).decode_utf8_lossy().into_owned();
    LabelSelector::parse(&text).map_err(|error| error.to_string())
}

fn one(found: Option<Value>, resource: &str, name: &str) -> Response<Full<Bytes>> {
    match found {
        Some(object) => json(&object),
        None => {
            let message = format!("{resource}.metrics.k8s.io \"{name}\" not found");
            failure(StatusCode::NOT_FOUND, "NotFound", &message)
        }
    }
}

fn failure(code: StatusCode, reason: &str, message: &str) -> Response<Full<Bytes>> {
    let mut response = json(&api::status(code.as_u16(), reason, message));
    *response.status_mut() = code;
    response
}

fn json(value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn plain(code: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = code;
    response
}
