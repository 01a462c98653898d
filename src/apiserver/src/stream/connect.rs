//! Connections to agents, pods and whatever stands behind services.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::body::Body;
use crate::config::{Config, KeyPair};
use crate::error::Error;
use crate::status::{Result, Status};
use crate::tls;
use crate::tls::peer::Verifier;

/// An agent or pod that has not taken the connection by then is not reachable.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Whom a connection leads to, and how sure that must be.
#[derive(Debug, Clone)]
pub enum Trust {
    /// An agent: its certificate chains to the cluster CA and names its address; it sees ours.
    Agent,
    /// A pod's own TLS, of which nothing is known: encrypted and not verified, as Kubernetes does it.
    Unverified,
    /// A server behind the aggregation layer, by a configuration and a name of its own.
    Named(Arc<ClientConfig>, ServerName<'static>),
    /// No TLS.
    Plain,
}

/// Makes connections.
#[derive(Debug)]
pub struct Connector {
    client_ca: PathBuf,
    kubelet_client: Option<KeyPair>,
    proxy_client: Option<KeyPair>,
}

impl Connector {
    /// A connector with the files of a configuration, which are read for each connection: certificates change.
    pub fn new(config: &Config) -> Self {
        Self {
            client_ca: config.client_ca.clone(),
            kubelet_client: config.kubelet_client.clone(),
            proxy_client: config.proxy_client.clone(),
        }
    }

    /// Sends a request over a new connection.
    ///
    /// # Errors
    /// 502 or 503 where the other end is not reachable or not who it should be.
    pub async fn send(&self, to: SocketAddr, trust: Trust, request: Request<Body>) -> Result<Response<Incoming>> {
        // Only the connection has to be quick: how long an answer takes is the other end's matter.
        let connected = tokio::time::timeout(CONNECT_WITHIN, self.connect(to, trust)).await;
        exchange(connected.unwrap_or_else(|_| Err(unreachable(to, &"no answer in time")))?, request).await
    }

    async fn connect(&self, to: SocketAddr, trust: Trust) -> Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(to).await.map_err(|error| unreachable(to, &error))?;
        // Interactive bytes must not wait for more.
        let _ = stream.set_nodelay(true);
        let address = ServerName::IpAddress(to.ip().into());
        let (config, name) = match trust {
            Trust::Plain => return Ok(Box::new(stream)),
            Trust::Named(config, name) => (config, name),
            Trust::Unverified => (Arc::new(unverified_config().map_err(Status::internal)?), address),
            Trust::Agent => (Arc::new(self.agent_config().map_err(|error| unusable(&error))?), address),
        };
        let connected = TlsConnector::from(config).connect(name, stream).await;
        Ok(Box::new(connected.map_err(|error| unreachable(to, &error))?))
    }

    fn agent_config(&self) -> std::result::Result<ClientConfig, Error> {
        self.config(self.kubelet_client.as_ref(), Some(tls::read_roots(&self.client_ca)?))
    }

    /// TLS to a server behind the aggregation layer, as the front proxy; without roots it is not verified.
    ///
    /// # Errors
    /// 500 where this server has no certificate to show.
    pub fn front_proxy_config(&self, roots: Option<RootCertStore>) -> Result<ClientConfig> {
        self.config(self.proxy_client.as_ref(), roots).map_err(|error| unusable(&error))
    }

    fn config(&self, pair: Option<&KeyPair>, roots: Option<RootCertStore>) -> std::result::Result<ClientConfig, Error> {
        let Some(pair) = pair else {
            let detail = "this server has no certificate to show".to_string();
            return Err(Error::Credentials { path: self.client_ca.clone(), detail });
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match roots {
            Some(roots) => builder.with_root_certificates(roots),
            None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier::of_anyone(provider))),
        };
        Ok(builder.with_client_auth_cert(tls::read_chain(&pair.certificate)?, tls::read_key(&pair.key)?)?)
    }
}

/// The files are named in the log; the client need not know them.
fn unusable(error: &Error) -> Status {
    tracing::error!("{}", stdx::error::chain(error));
    Status::internal("this server's own credentials cannot be used")
}

fn unreachable(to: SocketAddr, error: &dyn std::fmt::Display) -> Status {
    Status::new(502, "ServiceUnavailable", format!("error trying to reach {to}: {error}"))
}

/// A connection, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn exchange(stream: Box<dyn Stream>, request: Request<Body>) -> Result<Response<Incoming>> {
    let failed = |error: hyper::Error| Status::new(502, "ServiceUnavailable", format!("error proxying: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!("a proxied connection ended: {error}");
        }
    });
    sender.send_request(request).await.map_err(failed)
}

fn unverified_config() -> std::result::Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::of_anyone(provider)))
        .with_no_client_auth())
}
