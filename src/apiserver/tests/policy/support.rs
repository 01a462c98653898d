//! A cluster for one test: certificate authority, keys, store, policy and server, and kubectl with any credentials.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use apiserver::Server;
use apiserver::config::{Config, KeyPair, Limits};
use apiserver::policy::{Access, Settings, plugins};
use apiserver::request::User;
use base64::Engine;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair as Key};
use serde_json::{Value, json};
use store::Store;
use store::embedded::{Embedded, Options};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A condition that does not come about in this time never will.
const PATIENCE: Duration = Duration::from_secs(20);

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

/// A kubeconfig.
pub struct Credentials(PathBuf);

pub struct Cluster {
    /// May do everything, and needs no process of its own.
    pub client: kube::Client,
    folder: TempDir,
    address: String,
    issuer: Issuer<'static, Key>,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("writing a file");
    path
}

fn issue(folder: &Path, issuer: &Issuer<'static, Key>, name: &str, groups: &[&str], server: bool) -> KeyPair {
    let names = if server { vec!["127.0.0.1".to_string()] } else { Vec::new() };
    let mut leaf = CertificateParams::new(names).expect("parameters");
    leaf.distinguished_name = rcgen::DistinguishedName::new();
    leaf.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        leaf.distinguished_name.push(DnType::OrganizationName, *group);
    }
    let usage = if server { ExtendedKeyUsagePurpose::ServerAuth } else { ExtendedKeyUsagePurpose::ClientAuth };
    leaf.extended_key_usages = vec![usage];
    let key = Key::generate().expect("a key");
    let certificate = leaf.signed_by(&key, issuer).expect("a certificate");
    KeyPair {
        certificate: write(folder, &format!("{name}.crt"), &certificate.pem()),
        key: write(folder, &format!("{name}.key"), &key.serialize_pem()),
    }
}

impl Cluster {
    /// Starts a server with everything a cluster has and waits until it is ready.
    pub async fn start() -> Self {
        Self::start_as(Access::default(), false).await
    }

    /// The same of a server that calls webhooks on this host.
    pub async fn start_local() -> Self {
        Self::start_as(Access::default(), true).await
    }

    /// The same, with what an administrator has laid down about access.
    pub async fn start_with(access: Access) -> Self {
        Self::start_as(access, false).await
    }

    async fn start_as(access: Access, local_targets: bool) -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path();
        let ca_key = Key::generate().expect("a key");
        let mut ca = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "test-ca");
        let client_ca = write(path, "ca.crt", &ca.self_signed(&ca_key).expect("a certificate").pem());
        let issuer = Issuer::new(ca, ca_key);
        let account_key = Key::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let store: Arc<dyn Store> = Embedded::open(&path.join("state.db"), Options::default()).expect("a store");
        let settings = Settings {
            service_account_key: write(path, "sa.key", &account_key.serialize_pem()),
            service_account_public_keys: vec![write(path, "sa.pub", &account_key.public_key_pem())],
            cluster_domain: "cluster.local".to_string(),
            server_url: "https://127.0.0.1:6443".to_string(),
            access,
        };
        let plugins = plugins(&settings, store.clone()).await.expect("plugins");
        let config = Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            serving: issue(path, &issuer, "apiserver", &[], true),
            client_ca,
            front_proxy_ca: None,
            advertise_address: "10.0.0.1".parse().expect("an address"),
            advertise_port: None,
            service_cidr: "10.43.0.0/16".parse().expect("a network"),
            node_port_range: 30000..=32767,
            kubelet_client: None,
            local_targets,
            proxy_client: None,
            limits: Limits::default(),
        };
        let server = Server::new(config, store, plugins).await.expect("a server");
        let address = format!("https://{}", server.address());
        let client = server.client(User::new("tester", &["system:masters"]));
        let shutdown = CancellationToken::new();
        let ends = shutdown.clone();
        let running = tokio::spawn(async move { server.run(ends).await.expect("the server runs") });
        eventually("the server is ready", || async {
            let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
            client.request_text(request).await.is_ok().then_some(())
        })
        .await;
        Self { client, folder, address, issuer, shutdown, running }
    }

    /// Credentials of a certificate with this user and these groups.
    pub fn certificate(&self, user: &str, groups: &[&str]) -> Credentials {
        let pair = issue(self.folder.path(), &self.issuer, user, groups, false);
        self.credentials(user, json!({"client-certificate": pair.certificate, "client-key": pair.key}))
    }

    /// Credentials of a bearer token.
    pub fn token(&self, token: &str) -> Credentials {
        let name = format!("token-{}", &token[..token.len().min(6)]);
        self.credentials(&name, json!({"token": token}))
    }

    /// A GET without credentials, with which kubectl would ask for a password; answers with code and body.
    pub async fn get_anonymously(&self, path: &str) -> (u16, String) {
        let ca = std::fs::read(self.folder.path().join("ca.crt")).expect("readable");
        let (_, pem) = x509_parser::pem::parse_x509_pem(&ca).expect("PEM");
        let mut config = kube::Config::new(self.address.parse().expect("an address"));
        config.root_cert = Some(vec![pem.contents]);
        let client = kube::Client::try_from(config).expect("a client");
        let request = http::Request::get(path).body(kube::client::Body::empty()).expect("a request");
        let response = client.send(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = http_body_util::BodyExt::collect(body).await.expect("a body").to_bytes();
        (parts.status.as_u16(), String::from_utf8_lossy(&bytes).into_owned())
    }

    fn credentials(&self, name: &str, user: Value) -> Credentials {
        let cluster = json!({"server": self.address, "certificate-authority": self.folder.path().join("ca.crt")});
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "t",
            "clusters": [{"name": "t", "cluster": cluster}],
            "users": [{"name": "t", "user": user}],
            "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
        });
        // KUBECONFIG is a list divided by colons.
        let file = format!("{}.kubeconfig", name.replace(':', "-"));
        Credentials(write(self.folder.path(), &file, &config.to_string()))
    }

    /// A file that kubectl can be given.
    pub fn file(&self, name: &str, object: &Value) -> String {
        write(self.folder.path(), name, &object.to_string()).display().to_string()
    }

    /// A file with a request for a client certificate of an agent.
    pub fn csr_file(&self, name: &str, user: &str, group: &str) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, group);
        let key = Key::generate().expect("a key");
        let pem = params.serialize_request(&key).expect("a request").pem().expect("PEM");
        let request = base64::prelude::BASE64_STANDARD.encode(pem);
        let spec = json!({"request": request, "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"]});
        let csr = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"name": name}, "spec": spec});
        self.file(&format!("{name}.json"), &csr)
    }

    /// Runs kubectl; answers with what it printed on stdout and stderr, and whether it succeeded.
    pub async fn output(&self, credentials: &Credentials, arguments: &[&str]) -> (String, String, bool) {
        let mut command = Command::new(testkit::tools::kubectl(testkit::tools::KubectlVersion::V1_32));
        command.args(arguments);
        command.env("KUBECONFIG", &credentials.0).env("HOME", self.folder.path());
        command.stdin(std::process::Stdio::null());
        let run = tokio::task::spawn_blocking(move || command.output().expect("kubectl runs"));
        let output = tokio::time::timeout(PATIENCE, run).await.expect("kubectl ends in time").expect("kubectl ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr), output.status.success())
    }

    /// Runs kubectl, which must succeed, and answers with what it printed.
    pub async fn succeeds(&self, credentials: &Credentials, arguments: &[&str]) -> String {
        let (out, errors, success) = self.output(credentials, arguments).await;
        assert!(success, "kubectl {arguments:?}: {out}{errors}");
        out
    }

    /// Runs kubectl, which must fail, and answers with why.
    pub async fn fails(&self, credentials: &Credentials, arguments: &[&str]) -> String {
        let (out, errors, success) = self.output(credentials, arguments).await;
        assert!(!success, "kubectl {arguments:?} should fail: {out}");
        errors
    }

    /// Creates an object.
    pub async fn create(&self, credentials: &Credentials, object: &Value) {
        let file = self.file("object.json", object);
        self.succeeds(credentials, &["create", "-f", &file]).await;
    }

    /// Posts an object that is answered and not kept.
    pub async fn post(&self, credentials: &Credentials, path: &str, object: &Value) -> Value {
        let file = self.file("posted.json", object);
        let answer = self.succeeds(credentials, &["create", "--raw", path, "-f", &file]).await;
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Ends the server and waits for it.
    pub async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running).await;
        ended.expect("the server ends in time").expect("the server ends well");
    }
}
