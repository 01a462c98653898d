//! GET requests of probes and hooks, over plain TCP or TLS whose certificate nobody looks at.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};

/// Of an answer's body no more than this is read.
const BODY_MAX_BYTES: usize = 10 * 1024;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    tls: bool,
    path: String,
    headers: Vec<(String, String)>,
}

impl Target {
    /// The target of an action; `pod_ip` where it names no host.
    pub fn of(action: &HTTPGetAction, container: &Container, pod_ip: &str) -> Result<Self, String> {
        let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(pod_ip).to_string();
        let path = action.path.as_deref().unwrap_or("/");
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        let headers = action.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect();
        let tls = action.scheme.as_deref() == Some("HTTPS");
        Ok(Self { host, port: port(&action.port, container)?, tls, path, headers })
    }
}

/// A port by number, or by its name in the container.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0).ok_or_else(|| {
        format!("port {port:?} is neither a number from 1 to 65535 nor the name of one of the container's ports")
    })
}

/// Asks, and answers the status code.
pub async fn get(target: &Target, limit: Duration) -> Result<u16, String> {
    match tokio::time::timeout(limit, fetch(target)).await {
        Ok(result) => result.map_err(|error| format!("Get \"{}\": {error}", url(target))),
        Err(_) => Err(format!("Get \"{}\": no answer within {} s", url(target), limit.as_secs())),
    }
}

fn url(target: &Target) -> String {
    let scheme = if target.tls { "https" } else { "http" };
    format!("{scheme}://{}:{}{}", target.host, target.port, target.path)
}

async fn fetch(target: &Target) -> Result<u16, String> {
    let text = |error: &dyn std::error::Error| stdx::error::chain(error);
    let stream = tokio::net::TcpStream::connect((target.host.trim_matches(['[', ']']), target.port)).await;
    let stream = stream.map_err(|error| format!("dial tcp: {error}"))?;
    if !target.tls {
        return exchange(stream, target).await;
    }
    let name = ServerName::try_from(target.host.clone()).map_err(|error| text(&error))?;
    let connector = tokio_rustls::TlsConnector::from(TLS.clone());
    let stream = connector.connect(name, stream).await.map_err(|error| text(&error))?;
    exchange(stream, target).await
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    target: &Target,
) -> Result<u16, String> {
    let text = |error: &dyn std::error::Error| stdx::error::chain(error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let driver = tokio::spawn(connection);
    let mut request = http::Request::get(&target.path);
    let has = |name: &str| target.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
    if !has("host") {
        request = request.header("Host", format!("{}:{}", target.host, target.port));
    }
    if !has("user-agent") {
        request = request.header("User-Agent", "kube-probe/1.37");
    }
    if !has("accept") {
        request = request.header("Accept", "*/*");
    }
    for (name, value) in &target.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| text(&error))?;
    let answer = sender.send_request(request).await;
    let status = match answer {
        Ok(response) => {
            let status = response.status().as_u16();
            // A server that is cut off in the middle of its answer would log an error.
            let _ = Limited::new(response.into_body(), BODY_MAX_BYTES).collect().await;
            Ok(status)
        }
        Err(error) => Err(text(&error)),
    };
    driver.abort();
    status
}

static TLS: LazyLock<Arc<rustls::ClientConfig>> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default versions");
    let verifier = Arc::new(Anyone(provider));
    Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
});

/// Probes reach the pod by its address, which its certificate need not name: they ask for life, not for identity.
#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn ports_by_number_and_by_name() {
        let container: Container =
            serde_json::from_value(json!({ "name": "a", "ports": [{ "name": "web", "containerPort": 8080 }] }))
                .unwrap();
        assert_eq!(port(&IntOrString::Int(80), &container), Ok(80));
        assert_eq!(port(&IntOrString::String("web".into()), &container), Ok(8080));
        assert!(port(&IntOrString::String("none".into()), &container).is_err());
        assert!(port(&IntOrString::Int(0), &container).is_err());
    }

    #[tokio::test]
    async fn the_status_code_is_answered() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let size = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            String::from_utf8_lossy(&request[..size]).into_owned()
        });
        let action: HTTPGetAction = serde_json::from_value(
            json!({ "port": port, "path": "live", "httpHeaders": [{ "name": "X-A", "value": "b" }] }),
        )
        .unwrap();
        let target = Target::of(&action, &Container::default(), "127.0.0.1").unwrap();
        assert_eq!(get(&target, Duration::from_secs(5)).await, Ok(503));
        let request = server.await.unwrap().to_lowercase();
        assert!(request.starts_with("get /live http/1.1\r\n") && request.contains("x-a: b"), "{request}");
    }
}
