//! Takes requests and carries them to an endpoint of their service, and the answers back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri, Version, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use crate::forward::{Client, set_forwarded, strip_hop_by_hop, upgrade_of};
use crate::run::Cluster;

/// An endpoint that does not accept by then is passed over.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// An endpoint that does not begin its answer by then is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Idle connections that are kept to one endpoint.
const IDLE_PER_ENDPOINT: usize = 32;
/// Endpoints that are tried where they do not accept a connection.
const MAX_ATTEMPTS: usize = 3;

/// Of an answer.
pub type Body = BoxBody<Bytes, hyper::Error>;

/// The proxy and the connections it keeps.
pub struct Proxy {
    cluster: Arc<Cluster>,
    client: legacy::Client<HttpConnector, Body>,
}

impl Proxy {
    /// A proxy that finds its way by `cluster`.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        connector.set_nodelay(true);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_PER_ENDPOINT)
            .build(connector);
        Self { cluster, client }
    }

    /// The answer of a service, or why there is none.
    pub async fn answer(&self, mut request: Request<Incoming>, client: Client) -> Response<Body> {
        let host = host_of(&request);
        let path = request.uri().path().to_string();
        let Some(backend) = self.cluster.route(&host, &path) else {
            return say(StatusCode::NOT_FOUND, "no Ingress has a rule for this host and path\n");
        };
        let endpoints = self.cluster.endpoints(&backend);
        if endpoints.is_empty() {
            return say(StatusCode::SERVICE_UNAVAILABLE, "the service has no endpoint that is ready\n");
        }
        let upgrade = upgrade_of(request.headers());
        let client_side = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        strip_hop_by_hop(request.headers_mut());
        set_forwarded(request.headers_mut(), client, &host);
        if let Some(protocol) = upgrade {
            request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
            request.headers_mut().insert(header::UPGRADE, protocol);
        }
        let (head, body) = request.into_parts();
        // Only a request without a body can be sent again to another endpoint.
        let attempts = if hyper::body::Body::is_end_stream(&body) { MAX_ATTEMPTS } else { 1 };
        let mut body = Some(body.boxed());
        for endpoint in endpoints.into_iter().take(attempts) {
            let body = body.take().unwrap_or_else(|| Full::new(Bytes::new()).map_err(|never| match never {}).boxed());
            let mut onward = Request::new(body);
            *onward.method_mut() = head.method.clone();
            *onward.headers_mut() = head.headers.clone();
            *onward.version_mut() = Version::HTTP_11;
            *onward.uri_mut() = match onward_uri(&head.uri, endpoint) {
                Some(uri) => uri,
                None => return say(StatusCode::BAD_REQUEST, "the request's path is malformed\n"),
            };
            match tokio::time::timeout(ANSWER_WITHIN, self.client.request(onward)).await {
                Ok(Ok(response)) => return finish(response, client_side),
                Ok(Err(error)) if error.is_connect() => {
                    tracing::debug!(%endpoint, %error, "endpoint does not accept");
                }
                Ok(Err(error)) => {
                    tracing::info!(%endpoint, error = %stdx::error::chain(&error), "endpoint failed");
                    return say(StatusCode::BAD_GATEWAY, "the service broke the connection\n");
                }
                Err(_) => return say(StatusCode::GATEWAY_TIMEOUT, "the service did not answer in time\n"),
            }
        }
        say(StatusCode::BAD_GATEWAY, "no endpoint of the service accepts connections\n")
    }
}

/// Passes the answer back; joins both connections where the protocol changes.
fn finish(mut response: Response<Incoming>, client_side: Option<hyper::upgrade::OnUpgrade>) -> Response<Body> {
    let Some(client_side) = client_side.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) else {
        strip_hop_by_hop(response.headers_mut());
        return response.map(BodyExt::boxed);
    };
    let service_side = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        let joined = async {
            let (client, service) = tokio::try_join!(client_side, service_side)?;
            let (mut client, mut service) = (TokioIo::new(client), TokioIo::new(service));
            tokio::io::copy_bidirectional(&mut client, &mut service).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        };
        if let Err(error) = joined.await {
            tracing::debug!(%error, "upgraded connection ended");
        }
    });
    response.map(BodyExt::boxed)
}

fn host_of(request: &Request<Incoming>) -> String {
    let from_header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    from_header.or_else(|| request.uri().host()).unwrap_or_default().to_string()
}

fn onward_uri(original: &Uri, endpoint: SocketAddr) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(endpoint.to_string()).ok()?);
    parts.path_and_query = original.path_and_query().cloned();
    Uri::from_parts(parts).ok()
}

fn say(status: StatusCode, text: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
