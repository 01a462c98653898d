//! The agent's way to the API: through the local balancer, with a certificate that may be replaced at any time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt;
use rustls::sign::CertifiedKey;

use crate::Error;
use crate::certificates::{Live, roots};

/// A connection that is silent is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// And given up when it does not answer in this time.
const PING_LIMIT: Duration = Duration::from_secs(10);
/// A connection is made within this.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A client of the API at `url` that shows `certificate` and trusts `ca_pem` alone.
///
/// HTTP/2, so that all watches share one TLS connection and its memory.
pub fn client(url: &str, ca_pem: &str, certificate: Live) -> Result<kube::Client, Error> {
    let wrong = |message: String| Error::Certificate { action: "set up the connection to the API", message };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots(ca_pem)?)
        .with_client_cert_resolver(Arc::new(certificate.clone()));
    // A resumed session would go on under the certificate that it began with.
    tls.resumption = rustls::client::Resumption::disabled();
    let uri = url.parse().map_err(|_| wrong(format!("{url:?} is not a URL")))?;
    let config = kube::Config::new(uri);
    let connections = Connections { tls, certificate, current: Arc::default() };
    let send = tower::service_fn(move |request| connections.current().request(request));
    let service = tower::ServiceBuilder::new().layer(config.base_uri_layer()).service(send);
    Ok(kube::Client::new(service, "default"))
}

type Http = HyperClient<hyper_rustls::HttpsConnector<HttpConnector>, kube::client::Body>;

/// Connections of one certificate. The API judges a client by the certificate that its connection began with, and
/// refuses it from the moment that one ends: a new certificate needs new connections. What is still going on over an
/// old one, watches mostly, ends by itself in minutes.
#[derive(Clone)]
struct Connections {
    tls: rustls::ClientConfig,
    certificate: Live,
    current: Arc<Mutex<Option<Current>>>,
}

struct Current {
    made_for: Option<Arc<CertifiedKey>>,
    http: Http,
}

impl Connections {
    fn current(&self) -> Http {
        let certificate = self.certificate.get();
        let mut current = self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let same =
            |one: &Option<Arc<CertifiedKey>>| one.as_ref().map(Arc::as_ptr) == certificate.as_ref().map(Arc::as_ptr);
        if let Some(current) = current.as_ref().filter(|current| same(&current.made_for)) {
            return current.http.clone();
        }
        let http = connect(self.tls.clone());
        *current = Some(Current { made_for: certificate, http: http.clone() });
        http
    }
}

fn connect(tls: rustls::ClientConfig) -> Http {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_LIMIT));
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_all_versions()
        .wrap_connector(tcp);
    HyperClient::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_LIMIT)
        .http2_keep_alive_while_idle(true)
        .build(https)
}
