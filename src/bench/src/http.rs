//! A small HTTPS client with the credentials of a kubeconfig: one connection, one request at a time, so that the
//! number of connections is the measurement's own choice.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::wire::Wire;

/// A server on this machine answers within this, or is ill.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A line of a watch is one object.
const LINE_LIMIT_BYTES: usize = 4 << 20;

/// Where a server is and how to talk to it.
#[derive(Clone)]
pub struct Access {
    address: SocketAddr,
    roots: Arc<rustls::RootCertStore>,
    tls: Arc<ClientConfig>,
}

impl Access {
    /// Reads a kubeconfig with a certificate in it, as rkctl writes them.
    pub fn from_kubeconfig(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("understand {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let file: Value = serde_yaml::from_str(text)?;
        let (cluster, user) = (&file["clusters"][0]["cluster"], &file["users"][0]["user"]);
        let address = address(cluster["server"].as_str().unwrap_or_default())?;
        let pem = |value: &Value, what: &str| -> anyhow::Result<Vec<u8>> {
            let text = value.as_str().with_context(|| format!("it has no {what}"))?;
            Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
        };
        let mut roots = rustls::RootCertStore::empty();
        let authority = pem(&cluster["certificate-authority-data"], "certificate-authority-data")?;
        for certificate in CertificateDer::pem_slice_iter(&authority) {
            roots.add(certificate?)?;
        }
        let certificates = pem(&user["client-certificate-data"], "client-certificate-data")?;
        let key = pem(&user["client-key-data"], "client-key-data")?;
        let roots = Arc::new(roots);
        let tls = client_config(&roots, &certificates, &key)?;
        Ok(Self { address, roots, tls })
    }

    /// The same server, asked by whoever has this certificate and key (PEM).
    pub fn with_certificate(&self, certificate: &str, key: &str) -> anyhow::Result<Self> {
        let tls = client_config(&self.roots, certificate.as_bytes(), key.as_bytes())?;
        Ok(Self { tls, ..self.clone() })
    }

    /// Another server of this machine that has a certificate of the same authority.
    pub fn at(&self, port: u16) -> Self {
        Self { address: SocketAddr::new(self.address.ip(), port), ..self.clone() }
    }

    /// The value of the `Host` header.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Opens a connection for a load: HTTP/1.1.
    pub async fn wire(&self) -> anyhow::Result<Wire> {
        Ok(Wire::new(self.secured(self.tls.clone()).await?))
    }

    /// Opens a connection on which many requests are under way at once: HTTP/2.
    pub async fn many(&self) -> anyhow::Result<http2::SendRequest<Empty<Bytes>>> {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TokioIo::new(self.secured(Arc::new(tls)).await?);
        let (sender, driver) = http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(async move { drop(driver.await) });
        Ok(sender)
    }

    async fn secured(&self, tls: Arc<ClientConfig>) -> anyhow::Result<TlsStream<TcpStream>> {
        let opening = async {
            let tcp = TcpStream::connect(self.address).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::IpAddress(self.address.ip().into());
            anyhow::Ok(TlsConnector::from(tls).connect(name, tcp).await?)
        };
        let opened = tokio::time::timeout(CONNECT_LIMIT, opening).await;
        opened.with_context(|| format!("{} does not answer", self.address))?
    }

    /// Opens a connection.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = self.secured(self.tls.clone()).await?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the connection; whoever asks next is told so.
        tokio::spawn(async move { drop(driver.await) });
        Ok(Connection { sender, host: self.host() })
    }
}

fn client_config(
    roots: &Arc<rustls::RootCertStore>,
    certificates: &[u8],
    key: &[u8],
) -> anyhow::Result<Arc<ClientConfig>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(certificates).collect::<Result<_, _>>()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(certificates, PrivateKeyDer::from_pem_slice(key)?)?;
    Ok(Arc::new(tls))
}

/// The address of `https://ADDRESS:PORT`.
fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let rest = url.strip_prefix("https://").with_context(|| format!("{url:?} does not begin with https://"))?;
    rest.trim_end_matches('/').parse().with_context(|| format!("{url:?} is not an address and a port"))
}

/// An open connection.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    async fn send(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<http::Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// Sends a request; answers status and body.
    pub async fn request(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let answer = self.send(method, path, body).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }

    /// Sends a request that must succeed; answers the body.
    pub async fn ok(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let (status, answer) = self.request(method.clone(), path, body).await?;
        if !status.is_success() {
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(answer)
    }

    /// Begins a watch; answers when its first byte is on the way.
    pub async fn watch(mut self, path: &str) -> anyhow::Result<Lines> {
        let answer = self.send(Method::GET, path, Bytes::new()).await?;
        if !answer.status().is_success() {
            bail!("watch {path}: {}", answer.status());
        }
        Ok(Lines { body: answer.into_body(), buffer: BytesMut::new(), _connection: self })
    }
}

/// The lines of a body that does not end.
pub struct Lines {
    body: Incoming,
    buffer: BytesMut,
    _connection: Connection,
}

impl Lines {
    /// The next line; waits for it. `None` where the body has ended. Cancel-safe.
    pub async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            if let Some(line) = take_line(&mut self.buffer) {
                return Ok(Some(line));
            }
            if self.buffer.len() > LINE_LIMIT_BYTES {
                bail!("a line of the watch is longer than {LINE_LIMIT_BYTES} bytes");
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None => return Ok(None),
            }
        }
    }
}

fn take_line(buffer: &mut BytesMut) -> Option<Bytes> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let mut line = buffer.split_to(end + 1);
    line.truncate(end);
    Some(line.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_from_urls() {
        assert_eq!(address("https://127.0.0.1:6443").unwrap().to_string(), "127.0.0.1:6443");
        assert_eq!(address("https://[::1]:1/").unwrap().to_string(), "[::1]:1");
        for wrong in ["", "http://127.0.0.1:1", "https://127.0.0.1", "https://example:6443"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lines_are_taken_whole() {
        let mut buffer = BytesMut::from(&b"{\"a\":1}\n\n{\"b\""[..]);
        assert_eq!(take_line(&mut buffer).unwrap(), "{\"a\":1}");
        assert_eq!(take_line(&mut buffer).unwrap(), "");
        assert_eq!(take_line(&mut buffer), None);
        buffer.extend_from_slice(b":2}\n");
        assert_eq!(take_line(&mut buffer).unwrap(), "{\"b\":2}");
    }

    #[test]
    fn a_kubeconfig_without_a_certificate_is_refused_with_what_is_missing() {
        let text = "clusters: [{cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{user: {token: x}}]\n";
        let error = Access::parse(text).err().unwrap();
        assert!(error.to_string().contains("certificate-authority-data"), "{error:#}");
    }
}
