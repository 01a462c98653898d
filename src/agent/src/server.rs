//! The agent's own API on port 10250: logs, streams, figures, health. TLS with client certificates of the cluster's
//! CA or tokens; who may do what, the API decides.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::certificates::{Live, roots};
use crate::pods::Pods;

mod auth;
mod logs;
mod metrics;
mod route;
pub mod stats;
mod streams;

/// Connections at the same time.
const CONNECTIONS_MAX: usize = 512;
/// A handshake or a request's head is done in this time.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// What a request is answered with.
pub type Body = BoxBody<Bytes, Infallible>;
/// An answer, or one that says what is wrong.
pub type Answer = Result<Response<Body>, Refusal>;
/// An answer that ends a request early.
pub type Refusal = Box<Response<Body>>;

/// A text answer that ends a request early.
pub fn refuse(status: StatusCode, reason: impl Into<Bytes>) -> Refusal {
    Box::new(text(status, reason))
}

/// A text answer.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).boxed());
    *response.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    response
}

/// A JSON answer.
pub fn json(value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut response = text(StatusCode::OK, bytes);
            let kind = http::HeaderValue::from_static("application/json");
            response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// The server.
pub struct Server {
    pods: Pods,
    auth: auth::Auth,
    stats: stats::Stats,
    tls: TlsAcceptor,
}

/// Listens on `address`.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

impl Server {
    /// A server for these pods that shows `certificate` and trusts clients of `ca_pem`.
    pub fn new(pods: Pods, client: kube::Client, certificate: Live, ca_pem: &str) -> Result<Arc<Self>, Error> {
        let wrong = |message: String| Error::Certificate { action: "set up the agent's server", message };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca_pem)?), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(certificate));
        // Streams are upgrades, which only HTTP/1.1 has.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let auth = auth::Auth::new(client, pods.host().config.node_name.clone());
        let stats = stats::Stats::new(pods.clone());
        Ok(Arc::new(Self { pods, auth, stats, tls: TlsAcceptor::from(Arc::new(tls)) }))
    }

    /// Answers until `shutdown`.
    pub async fn run(self: &Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
                    let (server, shutdown) = (self.clone(), shutdown.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = shutdown.cancelled() => {}
                            () = server.connection(stream) => {}
                        }
                        drop(permit);
                    });
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let stream = match tokio::time::timeout(HEAD_LIMIT, self.tls.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake"),
            Err(_) => return,
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|c| c.to_vec());
        let user = certificate.as_deref().and_then(auth::certificate_user);
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, user) = (self.clone(), user.clone());
            async move { Ok::<_, Infallible>(server.answer(request, user).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if let Err(error) = served.await {
            tracing::debug!(error = %stdx::error::chain(&error), "connection");
        }
    }

    async fn answer(&self, request: Request<Incoming>, user: Option<auth::User>) -> Response<Body> {
        let Some(route) = route::parse(request.uri().path()) else {
            return text(StatusCode::NOT_FOUND, "404 page not found\n");
        };
        if let Err(refusal) = self.auth.check(&request, &route, user).await {
            return refusal;
        }
        self.dispatch(request, route).await.unwrap_or_else(|refusal| *refusal)
    }

    async fn dispatch(&self, request: Request<Incoming>, route: route::Route) -> Answer {
        use route::Route;
        let read_only = matches!(request.method(), &Method::GET | &Method::HEAD);
        match route {
            Route::Health => Ok(text(StatusCode::OK, "ok")),
            Route::Pods if read_only => Ok(self.list_pods()),
            Route::Summary if read_only => Ok(json(&self.stats.summary())),
            Route::ResourceMetrics if read_only => Ok(text(StatusCode::OK, metrics::resource(&self.stats.summary()))),
            Route::Metrics if read_only => Ok(text(StatusCode::OK, metrics::own(&self.pods))),
            Route::Logs { namespace, pod, container } if read_only => {
                logs::answer(self, &request, &namespace, &pod, &container)
            }
            Route::Run { namespace, pod, container } if request.method() == Method::POST => {
                streams::run(self, &request, &namespace, &pod, &container).await
            }
            Route::Exec { namespace, pod, container } => {
                streams::exec(self, request, &namespace, &pod, &container).await
            }
            Route::Attach { namespace, pod, container } => {
                streams::attach(self, request, &namespace, &pod, &container).await
            }
            Route::PortForward { namespace, pod } => streams::port_forward(self, request, &namespace, &pod).await,
            _ => Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n")),
        }
    }

    /// The pods of this node with their newest statuses.
    fn list_pods(&self) -> Response<Body> {
        let mut items = Vec::new();
        for worker in self.pods.workers() {
            let mut pod = worker.pod().as_ref().clone();
            pod.status = worker.status().or(pod.status);
            items.push(pod);
        }
        items.sort_by(|a, b| (&a.metadata.namespace, &a.metadata.name).cmp(&(&b.metadata.namespace, &b.metadata.name)));
        json(&serde_json::json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items }))
    }
}

/// The pairs of a query, decoded.
pub fn query<B>(request: &Request<B>) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let plus = text.replace('+', " ");
        percent_encoding::percent_decode_str(&plus).decode_utf8_lossy().into_owned()
    };
    let pairs = request.uri().query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}
