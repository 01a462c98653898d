//! A service outside of the cluster over HTTPS: an issuer of tokens, or a webhook that is asked.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Answer = dyn Fn(&str, &Value) -> Value + Send + Sync;

/// A server that answers what it is told to.
pub struct Outside {
    /// `https://127.0.0.1:PORT`.
    pub url: String,
    /// PEM of the authority that has signed its certificate.
    pub authority: String,
    /// Paths and bodies of what it was asked.
    pub asked: Arc<Mutex<Vec<(String, Value)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Outside {
    /// Starts a server; `answer` is given path and body.
    pub async fn start(answer: impl Fn(&str, &Value) -> Value + Send + Sync + 'static) -> Self {
        let (config, authority) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (answer, asked): (Arc<Answer>, Arc<Mutex<Vec<_>>>) = (Arc::new(answer), Arc::default());
        let told = asked.clone();
        let task = tokio::spawn(async move {
            // Ends with the task, so that a server that is gone answers nobody.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, told) = (acceptor.clone(), answer.clone(), told.clone());
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request| serve(request, answer.clone(), told.clone()));
                    let builder = hyper::server::conn::http1::Builder::new();
                    drop(builder.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { url, authority, asked, task }
    }

    /// A kubeconfig that leads to the server.
    pub fn kubeconfig(&self, folder: &tempfile::TempDir, name: &str, path: &str) -> PathBuf {
        let ca = folder.path().join(format!("{name}.crt"));
        std::fs::write(&ca, &self.authority).expect("written");
        let cluster = serde_json::json!({"server": format!("{}{path}", self.url), "certificate-authority": ca});
        let config = serde_json::json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "c", "user": {"token": "ours"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]});
        let file = folder.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&file, config.to_string()).expect("written");
        file
    }

    /// How often it was asked for a path.
    pub fn count(&self, path: &str) -> usize {
        self.asked.lock().expect("not poisoned").iter().filter(|(asked, _)| asked == path).count()
    }
}

async fn serve(
    request: Request<Incoming>,
    answer: Arc<Answer>,
    told: Arc<Mutex<Vec<(String, Value)>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_string();
    let bytes = request.into_body().collect().await?.to_bytes();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let answered = answer(&path, &body);
    told.lock().expect("not poisoned").push((path, body));
    let code = if answered.is_null() { 404 } else { 200 };
    let mut response = Response::new(Full::new(Bytes::from(answered.to_string())));
    *response.status_mut() = http::StatusCode::from_u16(code).expect("a code");
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    Ok(response)
}

fn tls() -> (ServerConfig, String) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "outside-ca");
    let authority = ca.self_signed(&ca_key).expect("a certificate").pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_string()]).expect("parameters");
    let certificate = leaf.signed_by(&key, &issuer).expect("a certificate");
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("a certificate and its key");
    (config, authority)
}
