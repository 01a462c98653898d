//! A cluster that is an API server, and a repository beside it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use apiserver::config::{KeyPair, Limits};
use apiserver::plugin::Plugins;
use apiserver::request::User;
use gitops::{Config, Status};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair as Key};
use serde_json::{Value, json};
use store::embedded::{Embedded, Options};
use tempfile::TempDir;
use testkit::wait::eventually_async;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A condition that does not come about in this time never will.
const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(500);
const STATUS: &str = "/api/v1/namespaces/kube-system/configmaps/rkctl-gitops";

pub struct Lab {
    pub config: Config,
    folder: TempDir,
    client: kube::Client,
    shutdown: CancellationToken,
    running: std::sync::Mutex<JoinSet<()>>,
}

fn certificates(folder: &Path) -> (KeyPair, PathBuf) {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca_key = Key::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = write("ca.crt", ca.self_signed(&ca_key).unwrap().pem());
    let key = Key::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_string()]).unwrap();
    let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let certificate = write("apiserver.crt", certificate.pem());
    (KeyPair { certificate, key: write("apiserver.key", key.serialize_pem()) }, authority)
}

impl Lab {
    /// An API server that lets everyone do everything, and an empty repository.
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let (serving, client_ca) = certificates(folder.path());
        let store = Embedded::open(&folder.path().join("state.db"), Options::default()).unwrap();
        let config = apiserver::Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            serving,
            client_ca,
            front_proxy_ca: None,
            advertise_address: "192.0.2.1".parse().unwrap(),
            advertise_port: None,
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            node_port_range: 30000..=32767,
            kubelet_client: None,
            local_targets: false,
            proxy_client: None,
            limits: Limits::default(),
        };
        let server = apiserver::Server::new(config, store, Plugins::allow_all()).await.unwrap();
        let client = server.client(User::new("tester", &["system:masters"]));
        let shutdown = CancellationToken::new();
        let ends = shutdown.clone();
        let mut running = JoinSet::new();
        running.spawn(async move { server.run(ends).await.unwrap() });
        let config = gitops_config(folder.path());
        let lab = Self { config, folder, client, shutdown, running: running.into() };
        std::fs::create_dir(lab.repository()).unwrap();
        lab.git(&["init", "-q", "-b", "main"]);
        eventually_async(PATIENCE, "the server is ready", || lab.get_text("/readyz")).await;
        eventually_async(PATIENCE, "kube-system is there", || lab.get("/api/v1/namespaces/kube-system")).await;
        lab
    }

    /// Begins to follow the repository.
    pub fn follow(&self) {
        let context = client::Context::new(self.client.clone(), self.shutdown.clone());
        let config = self.config.clone();
        self.running.lock().unwrap().spawn(async move { gitops::run(config, context).await.unwrap() });
    }

    /// What a server does whose configuration names no repository.
    pub async fn forget(&self) {
        gitops::forget(client::Context::new(self.client.clone(), self.shutdown.clone())).await;
    }

    /// A status that somebody left behind.
    pub async fn leave_status(&self) {
        let map = json!({"metadata": {"name": "rkctl-gitops"}, "data": {"status.json": "{\"error\": \"old\"}"}});
        let request = http::Request::post("/api/v1/namespaces/kube-system/configmaps");
        let request = request.header("content-type", "application/json").body(map.to_string().into_bytes());
        self.client.request::<Value>(request.unwrap()).await.unwrap();
    }

    /// Ends everything and waits for it.
    pub async fn stop(self) {
        self.shutdown.cancel();
        let mut running = self.running.into_inner().unwrap();
        let ends = async {
            while let Some(ended) = running.join_next().await {
                ended.unwrap()
            }
        };
        tokio::time::timeout(PATIENCE, ends).await.unwrap();
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(self.repository())
            .args(["-c", "user.name=me", "-c", "user.email=me@example.com"])
            .args(arguments)
            .output()
            .expect("git is missing: apt-get install git");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Writes files, commits everything and answers the commit's id.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        for (name, text) in files {
            let path = self.repository().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.repository().join(file)).unwrap();
    }

    async fn get_text(&self, path: &str) -> Option<String> {
        self.client.request_text(http::Request::get(path).body(vec![]).unwrap()).await.ok()
    }

    async fn request(&self, method: &str, path: &str, body: Vec<u8>) -> Result<Value, kube::Error> {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/merge-patch+json").body(body);
        self.client.request(request.unwrap()).await
    }

    /// An object; `None` where it is not there.
    pub async fn get(&self, path: &str) -> Option<Value> {
        match self.request("GET", path, vec![]).await {
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            answer => Some(answer.unwrap()),
        }
    }

    pub async fn patch(&self, path: &str, patch: Value) {
        self.request("PATCH", path, patch.to_string().into_bytes()).await.unwrap();
    }

    pub async fn delete(&self, path: &str) {
        self.request("DELETE", path, vec![]).await.unwrap();
    }

    pub async fn annotate(&self, name: &str, value: Value) {
        self.patch(STATUS, json!({"metadata": {"annotations": {name: value}}})).await;
    }

    pub async fn inventory(&self) -> String {
        let map = self.get("/api/v1/namespaces/kube-system/configmaps/rkctl-gitops-inventory").await.unwrap();
        map["data"]["inventory.json"].as_str().unwrap().to_owned()
    }

    /// Waits until a status is told of which something holds.
    pub async fn status_with(&self, holds: impl Fn(&Status) -> bool) -> Status {
        eventually_async(PATIENCE, "the status tells it", || async {
            let map = self.get(STATUS).await.ok_or("no status")?;
            let status: Status =
                serde_json::from_str(map["data"]["status.json"].as_str().unwrap_or("{}")).map_err(|e| e.to_string())?;
            if holds(&status) { Ok(status) } else { Err(format!("{status:?}")) }
        })
        .await
    }

    pub async fn applied(&self, id: &str) -> Status {
        self.status_with(|status| status.last_applied_commit.as_deref() == Some(id)).await
    }

    /// Asks for a sync and waits for it.
    pub async fn sync(&self) {
        let mark = jiff::Timestamp::now().to_string();
        self.annotate("rkctl.dev/reconcileAt", json!(mark)).await;
        self.status_with(|status| status.last_handled_reconcile_at.as_ref() == Some(&mark)).await;
    }

    /// The time in which something would have happened.
    pub async fn two_intervals(&self) {
        tokio::time::sleep(INTERVAL * 2).await;
    }

    pub async fn becomes(&self, path: &str, holds: impl Fn(&Value) -> bool) {
        let look = || async { self.get(path).await.filter(|object| holds(object)) };
        eventually_async(PATIENCE, path, look).await;
    }

    pub async fn gone(&self, path: &str) {
        eventually_async(PATIENCE, path, || async { self.get(path).await.is_none() }).await;
    }

    pub async fn event(&self, reason: &str) {
        let look = || async {
            let list = self.get("/api/v1/namespaces/kube-system/events").await?;
            list["items"].as_array()?.iter().any(|event| event["reason"] == reason).then_some(())
        };
        eventually_async(PATIENCE, reason, look).await;
    }
}

fn gitops_config(folder: &Path) -> Config {
    Config {
        url: format!("file://{}", folder.join("repository").display()),
        reference: "main".into(),
        path: String::new(),
        interval: INTERVAL,
        auth: git::Auth::default(),
        worker: git::Worker {
            program: env!("CARGO_BIN_EXE_gitops-test-worker").into(),
            arguments: vec![],
            folder: folder.join("copies"),
            timeout: PATIENCE,
        },
        identity: "test".into(),
    }
}
