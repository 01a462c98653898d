//! A server for one test: certificates, store and listener of its own, and ways to speak to it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use apiserver::config::{KeyPair, Limits};
use apiserver::plugin::Plugins;
use apiserver::request::User;
use apiserver::{Config, Server};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair as Key};
use store::Store;
use store::embedded::{Embedded, Options};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A condition that does not come about in this time never will.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct TestServer<S = Embedded> {
    pub folder: TempDir,
    pub address: String,
    pub client: kube::Client,
    /// A component of the server's process that is no administrator.
    pub component: kube::Client,
    pub store: Arc<S>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

fn write(folder: &Path, name: &str, text: String) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("writing a file");
    path
}

fn make_certificates(folder: &Path) -> (KeyPair, PathBuf) {
    let ca_key = Key::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "test-ca");
    let ca_certificate = ca.self_signed(&ca_key).expect("a certificate");
    let issuer = Issuer::new(ca, ca_key);
    let issue = |name: &str, usage: ExtendedKeyUsagePurpose| {
        let key = Key::generate().expect("a key");
        let mut leaf =
            CertificateParams::new(["127.0.0.1", "localhost", "backend.default.svc"].map(ToString::to_string))
                .expect("parameters");
        leaf.distinguished_name.push(DnType::CommonName, name);
        leaf.extended_key_usages = vec![usage];
        let certificate = leaf.signed_by(&key, &issuer).expect("a certificate");
        let certificate = write(folder, &format!("{name}.crt"), certificate.pem());
        KeyPair { certificate, key: write(folder, &format!("{name}.key"), key.serialize_pem()) }
    };
    let serving = issue("apiserver", ExtendedKeyUsagePurpose::ServerAuth);
    issue("client", ExtendedKeyUsagePurpose::ClientAuth);
    issue("agent", ExtendedKeyUsagePurpose::ServerAuth);
    (serving, write(folder, "ca.crt", ca_certificate.pem()))
}

/// Starts a server that lets everyone do everything.
pub async fn start() -> TestServer {
    start_with(Plugins::allow_all()).await
}

/// Starts a server with these plugins and waits until it is ready.
pub async fn start_with(plugins: Plugins) -> TestServer {
    start_configured(plugins, |_| {}).await
}

/// Starts a server that passes nothing on to addresses of its own host, as servers do that are no test's.
pub async fn start_strict() -> TestServer {
    start_configured(Plugins::allow_all(), |config| config.local_targets = false).await
}

/// Starts a server whose configuration differs in some points.
pub async fn start_configured(plugins: Plugins, change: impl FnOnce(&mut Config)) -> TestServer {
    ready(start_unready(plugins, change).await).await
}

/// Starts a server on a store that is there.
pub async fn start_on<S: Store>(store: Arc<S>) -> TestServer<S> {
    let folder = TempDir::new().expect("a folder");
    ready(start_in(folder, store, Plugins::allow_all(), |_| {}).await).await
}

async fn ready<S>(server: TestServer<S>) -> TestServer<S> {
    eventually("the server is ready", || async {
        let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
        server.client.request_text(request).await.is_ok().then_some(())
    })
    .await;
    server
}

async fn start_unready(plugins: Plugins, change: impl FnOnce(&mut Config)) -> TestServer {
    let folder = TempDir::new().expect("a folder");
    let store = Embedded::open(&folder.path().join("state.db"), Options::default()).expect("a store");
    start_in(folder, store, plugins, change).await
}

async fn start_in<S: Store>(
    folder: TempDir,
    store: Arc<S>,
    plugins: Plugins,
    change: impl FnOnce(&mut Config),
) -> TestServer<S> {
    let (serving, client_ca) = make_certificates(folder.path());
    let mut config = Config {
        listen: "127.0.0.1:0".parse().expect("an address"),
        serving,
        client_ca,
        front_proxy_ca: None,
        advertise_address: "192.0.2.1".parse().expect("an address"),
        advertise_port: None,
        service_cidr: "10.43.0.0/16".parse().expect("a network"),
        node_port_range: 30000..=32767,
        kubelet_client: Some(KeyPair {
            certificate: folder.path().join("client.crt"),
            key: folder.path().join("client.key"),
        }),
        local_targets: true,
        proxy_client: Some(KeyPair {
            certificate: folder.path().join("client.crt"),
            key: folder.path().join("client.key"),
        }),
        limits: Limits::default(),
    };
    change(&mut config);
    let server = Server::new(config, store.clone(), plugins).await.expect("a server");
    let address = format!("https://{}", server.address());
    let client = server.client(User::new("tester", &["system:masters"]));
    let component = server.client(User::new("system:kube-controller-manager", &[]));
    let shutdown = CancellationToken::new();
    let ends = shutdown.clone();
    let running = tokio::spawn(async move { server.run(ends).await.expect("the server runs") });
    let server = TestServer { folder, address, client, component, store, shutdown, running };
    server.write_kubeconfig();
    server
}

impl<S> TestServer<S> {
    fn write_kubeconfig(&self) {
        let ca = self.folder.path().join("ca.crt");
        let (certificate, key) = (self.folder.path().join("client.crt"), self.folder.path().join("client.key"));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: t\nclusters:\n- name: t\n  cluster:\n    server: {}\n    \
             certificate-authority: {}\nusers:\n- name: t\n  user:\n    client-certificate: {}\n    client-key: {}\n\
             contexts:\n- name: t\n  context: {{cluster: t, user: t}}\n",
            self.address,
            ca.display(),
            certificate.display(),
            key.display()
        );
        write(self.folder.path(), "kubeconfig", text);
    }

    /// kubectl of this server, with a cache of its own.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(testkit::tools::kubectl(testkit::tools::KubectlVersion::V1_32));
        command.args(arguments);
        command.env("KUBECONFIG", self.folder.path().join("kubeconfig"));
        command.env("HOME", self.folder.path());
        command
    }

    /// Runs kubectl to its end.
    pub async fn kubectl_output(&self, arguments: &[&str]) -> Output {
        let mut command = self.kubectl_command(arguments);
        tokio::task::spawn_blocking(move || command.output().expect("kubectl runs")).await.expect("kubectl ends")
    }

    /// Runs kubectl, which must succeed, and answers with what it printed.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.kubectl_output(arguments).await;
        let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {arguments:?}: {out}{errors}");
        format!("{out}{errors}")
    }

    /// Runs kubectl, which must fail, and answers with why.
    pub async fn kubectl_fails(&self, arguments: &[&str]) -> String {
        let output = self.kubectl_output(arguments).await;
        assert!(!output.status.success(), "kubectl {arguments:?} should fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// A file that kubectl can be given.
    pub fn file(&self, name: &str, text: &str) -> String {
        write(self.folder.path(), name, text.to_string()).display().to_string()
    }

    /// A raw request; answers with code, headers and body.
    pub async fn request(&self, request: http::Request<Vec<u8>>) -> (u16, HashMap<String, String>, Vec<u8>) {
        use http_body_util::BodyExt;
        let response = self.client.send(request.map(kube::client::Body::from)).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_string()));
        let bytes = body.collect().await.expect("a body").to_bytes().to_vec();
        (parts.status.as_u16(), headers.collect(), bytes)
    }

    /// A raw request with a JSON answer.
    pub async fn json(&self, method: &str, path: &str, content_type: &str, body: &str) -> (u16, serde_json::Value) {
        let request = http::Request::builder().method(method).uri(path).header("content-type", content_type);
        let (code, _, bytes) = self.request(request.body(body.as_bytes().to_vec()).expect("a request")).await;
        let value =
            serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{path}: {}", String::from_utf8_lossy(&bytes)));
        (code, value)
    }

    /// A raw GET with a JSON answer.
    pub async fn get(&self, path: &str) -> (u16, serde_json::Value) {
        self.json("GET", path, "", "").await
    }

    /// Creates an object.
    pub async fn create(&self, path: &str, object: serde_json::Value) -> serde_json::Value {
        let (code, created) = self.json("POST", path, "application/json", &object.to_string()).await;
        assert_eq!(code, 201, "{created}");
        created
    }

    /// The events of a watch.
    pub async fn watch(&self, path: &str, accept: &str) -> Events {
        use futures::AsyncBufReadExt;
        let request = http::Request::get(path).header("accept", accept).body(Vec::new()).expect("a request");
        let stream = self.client.request_stream(request).await.expect("a stream");
        Events(Box::pin(stream.lines()))
    }

    /// Where the server listens.
    pub fn port(&self) -> u16 {
        let (_, port) = self.address.rsplit_once(':').expect("a port");
        port.parse().expect("a number")
    }

    /// Tells the server to end.
    pub fn begin_stop(&self) {
        self.shutdown.cancel();
    }

    /// Ends the server and waits for it.
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running)
            .await
            .expect("the server ends in time")
            .expect("the server ends well");
    }
}

/// A running watch.
pub struct Events(std::pin::Pin<Box<dyn futures::Stream<Item = std::io::Result<String>> + Send>>);

impl Events {
    /// The next event; `None` where the watch has ended.
    pub async fn next(&mut self) -> Option<serde_json::Value> {
        use futures::StreamExt;
        let line = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("an event in time")?;
        Some(serde_json::from_str(&line.expect("a line")).expect("an event"))
    }

    /// Type and name of the next event.
    pub async fn next_name(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

/// Waits until something is there.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("it did not come about that {what}"))
}
