//! A control plane for one test, and nodes that pretend.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apiserver::config::{KeyPair, Limits};
use apiserver::policy;
use apiserver::request::User;
use apiserver::{Config, Server};
use client::Context;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use store::embedded::{Embedded, Options};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A condition that does not come about in this time never will.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The image of pods that never become ready.
pub const BROKEN: &str = "broken";
/// Images of pods that end at once are called this and a code.
const EXITS: &str = "exit-";

pub struct Cluster {
    folder: TempDir,
    context: Context,
    /// May do everything; the controllers have their own role and no more.
    pub admin: kube::Client,
    clients: Clients,
    alive: Arc<Mutex<BTreeSet<String>>>,
}

/// Clients of other users, by name.
type Clients = BTreeMap<String, kube::Client>;

impl Drop for Cluster {
    fn drop(&mut self) {
        self.context.shutdown.cancel();
    }
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("writing a file");
    path
}

fn certificates(folder: &Path) -> KeyPair {
    let now = Timestamp::now();
    let mut random = rand::rng();
    let ca = pki::Authority::generate("test", now, &mut random).expect("an authority");
    write(folder, "ca.crt", &ca.certificate_pem);
    write(folder, "ca.key", &ca.key_pem);
    let authority = pki::Authority::from_pem("test", &ca.certificate_pem, &ca.key_pem).expect("an authority");
    let mut issue = |name: &str, usage: pki::Usage| {
        let profile = pki::Profile {
            common_name: name.to_string(),
            organizations: vec!["system:masters".to_string()],
            sans: vec![pki::San::parse("127.0.0.1")],
            usage,
            lifetime: Duration::from_secs(3600),
        };
        let issued = authority.issue(&profile, now, &mut random).expect("a certificate");
        let certificate = write(folder, &format!("{name}.crt"), &issued.certificate_pem);
        KeyPair { certificate, key: write(folder, &format!("{name}.key"), &issued.key_pem) }
    };
    let key = pki::generate_key().expect("a key");
    write(folder, "sa.key", &key);
    write(folder, "sa.pub", &pki::public_key_pem("sa.key", &key).expect("a public key"));
    issue("client", pki::Usage::Client);
    issue("apiserver", pki::Usage::Server)
}

/// Users that tests act as beside the administrator.
const USERS: [(&str, &[&str]); 3] =
    [("system:bootstrap:abcdef", &["system:bootstrappers"]), ("system:node:w1", &["system:nodes"]), ("deployer", &[])];

/// Starts a control plane whose waits are short.
pub async fn start() -> Cluster {
    let folder = TempDir::new().expect("a folder");
    let serving = certificates(folder.path());
    let store = Embedded::open(&folder.path().join("state.db"), Options::default()).expect("a store");
    let config = Config {
        listen: "127.0.0.1:0".parse().expect("an address"),
        serving,
        client_ca: folder.path().join("ca.crt"),
        front_proxy_ca: None,
        advertise_address: "192.0.2.1".parse().expect("an address"),
        advertise_port: None,
        service_cidr: "10.43.0.0/16".parse().expect("a network"),
        node_port_range: 30000..=32767,
        kubelet_client: None,
        local_targets: false,
        proxy_client: None,
        limits: Limits::default(),
    };
    let settings = policy::Settings {
        service_account_key: folder.path().join("sa.key"),
        service_account_public_keys: vec![folder.path().join("sa.pub")],
        cluster_domain: "cluster.local".to_string(),
        server_url: "https://127.0.0.1:6443".to_string(),
        access: Default::default(),
    };
    let plugins = policy::plugins(&settings, store.clone()).await.expect("a policy");
    let server = Server::new(config, store, plugins).await.expect("a server");
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: t\nclusters:\n- name: t\n  cluster: {{server: 'https://{}', \
         certificate-authority: ca.crt}}\nusers:\n- name: t\n  user: {{client-certificate: client.crt, client-key: \
         client.key}}\ncontexts:\n- name: t\n  context: {{cluster: t, user: t}}\n",
        server.address()
    );
    write(folder.path(), "kubeconfig", &kubeconfig);
    let shutdown = CancellationToken::new();
    let admin = server.client(User::new("tester", &["system:masters"]));
    let context = Context::new(server.client(User::new("system:kube-controller-manager", &[])), shutdown.clone());
    let scheduler = Context { client: server.client(User::new("system:kube-scheduler", &[])), ..context.clone() };
    let clients = USERS.iter().map(|(name, groups)| (name.to_string(), server.client(User::new(*name, groups))));
    let clients: Clients = clients.collect();
    let accounts_of = server.account_clients();
    tokio::spawn(async move { server.run(shutdown).await.expect("the server runs") });
    eventually("the server is ready", || async {
        let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
        admin.request_text(request).await.is_ok()
    })
    .await;
    let controllers = controllers::Config {
        pod_cidr: Some("10.42.0.0/16".parse().expect("a network")),
        server_names: vec![pki::San::parse("192.0.2.1")],
        node_monitor_period: Duration::from_millis(200),
        node_monitor_grace: Duration::from_secs(4),
        pod_gc_period: Duration::from_millis(200),
        orphaned_pod_grace: Duration::from_secs(1),
        discovery_period: Duration::from_secs(1),
        pod_certificate_request_ttl: Duration::from_secs(2),
        pod_certificate_request_period: Duration::from_millis(200),
        ..controllers::Config::new(folder.path())
    };
    let running = context.clone();
    let run = async move { controllers::run(controllers, running, accounts_of).await.expect("the controllers run") };
    tokio::spawn(run);
    tokio::spawn(async move { scheduler::run(scheduler::Config::default(), scheduler).await.expect("it schedules") });
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), "default");
    // No pod is admitted before its account is there.
    eventually("the default account is there", || async { accounts.get("default").await.is_ok() }).await;
    let alive = Arc::default();
    tokio::spawn(pretend(context.clone(), admin.clone(), Arc::clone(&alive)));
    Cluster { folder, context, admin, clients, alive }
}

impl Cluster {
    /// A client of one of [`USERS`].
    pub fn client_of(&self, user: &str) -> kube::Client {
        self.clients.get(user).expect("a known user").clone()
    }

    /// A file of the control plane.
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).expect("a file")
    }

    /// Adds a node with four cores that lives.
    pub async fn node(&self, name: &str) {
        let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
        let api: Api<Node> = Api::all(self.admin.clone());
        let node = serde_json::from_value(node).expect("a node");
        api.create(&PostParams::default(), &node).await.expect("the node is created");
        self.revive(name).await;
    }

    /// The node falls silent.
    pub fn kill(&self, name: &str) {
        self.alive.lock().expect("no panic").remove(name);
    }

    /// The node speaks (again).
    pub async fn revive(&self, name: &str) {
        let now = machinery::meta::format_time(Timestamp::now());
        let room = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
        let status = json!({"capacity": room, "allocatable": room,
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": name}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready",
                "lastHeartbeatTime": now, "lastTransitionTime": now}]});
        let api: Api<Node> = Api::all(self.admin.clone());
        let patch = Patch::Strategic(json!({"status": status}));
        api.patch_status(name, &PatchParams::default(), &patch).await.expect("the node reports");
        self.alive.lock().expect("no panic").insert(name.to_string());
    }

    /// Runs kubectl to its end.
    pub async fn kubectl_output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("kubectl");
        command.args(arguments).env("KUBECONFIG", self.folder.path().join("kubeconfig"));
        command.env("HOME", self.folder.path());
        tokio::task::spawn_blocking(move || command.output().expect("kubectl runs")).await.expect("kubectl ends")
    }

    /// Runs kubectl, given as words, which must succeed; what it printed.
    pub async fn kubectl(&self, line: &str) -> String {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let output = self.kubectl_output(&arguments).await;
        let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {line}: {out}{errors}");
        out.trim().to_string()
    }

    /// Applies a manifest.
    pub async fn apply(&self, manifest: Value) {
        let path = write(self.folder.path(), "manifest.json", &manifest.to_string());
        self.kubectl(&format!("apply -f {}", path.display())).await;
    }

    /// Waits until kubectl prints what `wanted` accepts.
    pub async fn until(&self, line: &str, wanted: impl Fn(&str) -> bool) -> String {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let mut last = String::new();
        let looking = async {
            loop {
                let output = self.kubectl_output(&arguments).await;
                last = String::from_utf8_lossy(&output.stdout).trim().to_string();
                if output.status.success() && wanted(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, looking).await;
        if found.is_err() {
            let events = self.kubectl_output(&["get", "events,all", "-A"]).await;
            panic!("kubectl {line}: {last}\n{}", String::from_utf8_lossy(&events.stdout));
        }
        last
    }
}

/// Waits until something holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let looking = async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("it did not come about that {what}"));
}

/// Renews leases of the nodes that live, and lets their pods start and end.
async fn pretend(context: Context, admin: kube::Client, alive: Arc<Mutex<BTreeSet<String>>>) {
    let pods = context.informers.all::<Pod>();
    let mut round = 0u32;
    while !context.shutdown.is_cancelled() {
        let names = alive.lock().expect("no panic").clone();
        if round.is_multiple_of(10) {
            for name in &names {
                renew(&admin, name).await;
            }
        }
        for pod in pods.list(None) {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
            if names.contains(&node) {
                run_pod(&admin, &pod).await;
            }
        }
        round = round.wrapping_add(1);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn renew(client: &kube::Client, name: &str) {
    let api: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let spec = json!({"holderIdentity": name, "leaseDurationSeconds": 40,
        "renewTime": machinery::meta::format_micro_time(Timestamp::now())});
    let patch = Patch::Merge(json!({"spec": spec}));
    if api.patch(name, &PatchParams::default(), &patch).await.is_err() {
        let lease = json!({"metadata": {"name": name}, "spec": spec});
        let lease = serde_json::from_value(lease).expect("a lease");
        let _ = api.create(&PostParams::default(), &lease).await;
    }
}

/// The pod's container has run, and ended with a code.
async fn end_pod(api: &Api<Pod>, name: &str, code: i32) {
    let now = machinery::meta::format_time(Timestamp::now());
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    let ended = json!({"terminated": {"exitCode": code, "startedAt": now, "finishedAt": now}});
    let container =
        json!({"name": "c", "ready": false, "restartCount": 0, "image": "i", "imageID": "", "state": ended});
    let patch = json!({"status": {"phase": phase, "startTime": now, "containerStatuses": [container],
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": now}]}});
    let _ = api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
}

async fn run_pod(client: &kube::Client, pod: &Pod) {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        let _ = api.delete(&name, &DeleteParams::default().grace_period(0)).await;
        return;
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let image = pod.spec.as_ref().and_then(|spec| spec.containers[0].image.clone()).unwrap_or_default();
    if ready || matches!(phase.as_str(), "Succeeded" | "Failed") || (phase == "Running" && image == BROKEN) {
        return;
    }
    if let Some(code) = image.strip_prefix(EXITS).and_then(|code| code.parse().ok()) {
        return end_pod(&api, &name, code).await;
    }
    let now = machinery::meta::format_time(Timestamp::now());
    let word = if image == BROKEN { "False" } else { "True" };
    let address = format!("10.42.{}.{}", rand::random::<u8>(), rand::random::<u8>());
    let patch = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "startTime": now,
        "conditions": [{"type": "Ready", "status": word, "lastTransitionTime": now}]}});
    let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch)).await;
}
