//! A real HTTPS server that answers reviews, and ways to speak to the API in JSON.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::Cluster;

/// The namespace that the tests' objects are in.
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// What answers a review, by the path that it was sent to; `None` never answers.
type Answer = dyn Fn(&str, &Value) -> Option<Value> + Send + Sync;

/// A server of webhooks.
pub struct Hooks {
    port: u16,
    authority: String,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hooks {
    /// Starts a server on a port of its own.
    pub async fn start(answer: impl Fn(&str, &Value) -> Option<Value> + Send + Sync + 'static) -> Self {
        let answer: Arc<Answer> = Arc::new(answer);
        let (acceptor, authority) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let kept = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, kept) = (acceptor.clone(), answer.clone(), kept.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
                        let (answer, kept) = (answer.clone(), kept.clone());
                        async move {
                            let path = request.uri().path().to_string();
                            let body = request.into_body().collect().await.expect("a body").to_bytes();
                            let review: Value = serde_json::from_slice(&body).expect("JSON");
                            kept.lock().expect("no panic").push((path.clone(), review.clone()));
                            let Some(answered) = answer(&path, &review) else { std::future::pending().await };
                            let body = Full::new(Bytes::from(answered.to_string()));
                            Ok::<_, std::convert::Infallible>(http::Response::new(body))
                        }
                    });
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { port, authority, seen, task }
    }

    /// The `clientConfig` that leads to a path of this server.
    pub fn config(&self, path: &str) -> Value {
        json!({"url": format!("https://127.0.0.1:{}{path}", self.port), "caBundle": STANDARD.encode(&self.authority)})
    }

    /// The reviews that were sent to a path.
    pub fn seen(&self, path: &str) -> Vec<Value> {
        let seen = self.seen.lock().expect("no panic");
        seen.iter().filter(|(to, _)| to == path).map(|(_, review)| review.clone()).collect()
    }

    /// A webhook of a configuration, about `operations` on `resource` of a group and version.
    pub fn webhook(&self, name: &str, path: &str, operations: &[&str], of: (&str, &str, &str)) -> Value {
        let (group, version, resource) = of;
        json!({
            "name": format!("{name}.example.com"),
            "clientConfig": self.config(path),
            "rules": [{"operations": operations, "apiGroups": [group], "apiVersions": [version], "resources": [resource]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1", "v1beta1"],
        })
    }
}

fn tls() -> (tokio_rustls::TlsAcceptor, String) {
    let (ca_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let mut ca = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "hooks-ca");
    let authority = ca.self_signed(&ca_key).expect("a certificate").pem();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_string()]).expect("parameters");
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(leaf.der().to_vec())], key)
        .expect("a certificate");
    (tokio_rustls::TlsAcceptor::from(Arc::new(config)), authority)
}

/// The answer to an AdmissionReview.
pub fn answer(review: &Value, response: Value) -> Value {
    let mut answer = json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response});
    answer["response"]["uid"] = review["request"]["uid"].clone();
    answer
}

/// Lets the request pass.
pub fn allow(review: &Value) -> Value {
    answer(review, json!({"allowed": true}))
}

/// Refuses the request.
pub fn deny(review: &Value, message: &str) -> Value {
    answer(review, json!({"allowed": false, "status": {"message": message, "code": 403, "reason": "Forbidden"}}))
}

/// Lets the request pass with its object patched.
pub fn patch(review: &Value, operations: &Value) -> Value {
    let patch = STANDARD.encode(operations.to_string());
    answer(review, json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
}

/// A configuration of webhooks.
pub fn configuration(kind: &str, name: &str, webhooks: &[Value]) -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "webhooks": webhooks})
}

/// Where configurations of a kind are.
pub fn place(kind: &str) -> String {
    format!("/apis/admissionregistration.k8s.io/v1/{}s", kind.to_lowercase())
}

/// A ConfigMap.
pub fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// A pod that needs nothing of the cluster.
pub fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]}})
}

impl Cluster {
    /// Sends a request; answers with code and body.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = http::Request::builder().method(method).uri(path).header("content-type", content);
        let request = request.body(kube::client::Body::from(body)).expect("a request");
        let response = self.client.send(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (parts.status.as_u16(), serde_json::from_slice(&bytes).unwrap_or(Value::String(text)))
    }

    /// Creates what must be taken.
    pub async fn made(&self, path: &str, object: &Value) -> Value {
        let (code, made) = self.ask("POST", path, Some(object)).await;
        assert_eq!(code, 201, "{made}");
        made
    }

    /// Sends what must be refused; answers with the message.
    pub async fn refused(&self, method: &str, path: &str, body: Option<&Value>) -> String {
        let (code, status) = self.ask(method, path, body).await;
        assert!(code >= 400, "{method} {path} should be refused: {status}");
        status["message"].as_str().unwrap_or_default().to_string()
    }

    /// Configures webhooks.
    pub async fn configure(&self, kind: &str, name: &str, webhooks: &[Value]) -> Value {
        self.made(&place(kind), &configuration(kind, name, webhooks)).await
    }

    /// Waits until making an object in a dry run is refused with these words.
    pub async fn is_refused(&self, path: &str, object: &Value, words: &str) {
        crate::support::eventually(words, || async {
            let (code, answer) = self.ask("POST", &format!("{path}?dryRun=All"), Some(object)).await;
            (code >= 400 && answer["message"].as_str().unwrap_or_default().contains(words)).then_some(())
        })
        .await;
    }

    /// Waits until making an object in a dry run gives one of which this holds.
    pub async fn becomes(&self, path: &str, object: &Value, what: &str, holds: impl Fn(&Value) -> bool) {
        crate::support::eventually(what, || async {
            let (code, answer) = self.ask("POST", &format!("{path}?dryRun=All"), Some(object)).await;
            (code == 201 && holds(&answer)).then_some(())
        })
        .await;
    }

    /// Makes the account that pods of the default namespace run as.
    pub async fn with_account(&self) {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let (code, answer) = self.ask("POST", "/api/v1/namespaces/default/serviceaccounts", Some(&account)).await;
        assert!(matches!(code, 201 | 409), "{answer}");
    }
}
