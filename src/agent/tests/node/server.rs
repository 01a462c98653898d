//! The real API server in this process, with RBAC, the Node authorizer and admission, on a store of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use apiserver::config::{KeyPair, Limits};
use apiserver::request::User;
use apiserver::{Config, Server, policy};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use serde_json::json;
use store::embedded::{Embedded, Options};
use tokio_util::sync::CancellationToken;

use crate::PATIENCE;

/// The node's name in certificates and objects.
pub const NODE: &str = "w1";

/// How long the certificates live that the agent finds: it has to renew them at once, and to have done so by then.
pub const FIRST_LIFE: Duration = Duration::from_secs(60);

/// Where the server is, and a client that may do everything.
pub struct ApiServer {
    pub url: String,
    pub client: kube::Client,
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("writing a file");
    path
}

/// What the server shows clients, and agents.
struct Certificates {
    serving: KeyPair,
    kubelet_client: KeyPair,
}

/// The cluster's CA, the server's certificates, an administrator's, and the two that the agent has asked for long ago.
fn certificates(folder: &Path) -> Certificates {
    let now = Timestamp::now();
    let mut random = rand::rng();
    let authority = pki::Authority::generate("test", now, &mut random).expect("an authority");
    write(folder, "ca.crt", &authority.certificate_pem);
    write(folder, "ca.key", &authority.key_pem);
    let authority = pki::Authority::from_pem("test", &authority.certificate_pem, &authority.key_pem).expect("a CA");
    let mut issue = |folder: &Path, file: &str, name: &str, group: Option<&str>, usage: pki::Usage, lifetime| {
        let profile = pki::Profile {
            common_name: name.to_string(),
            organizations: group.map(ToString::to_string).into_iter().collect(),
            sans: vec![pki::San::parse("127.0.0.1")],
            usage,
            lifetime,
        };
        let issued = authority.issue(&profile, now, &mut random).expect("a certificate");
        let certificate = write(folder, &format!("{file}.crt"), &issued.certificate_pem);
        KeyPair { certificate, key: write(folder, &format!("{file}.key"), &issued.key_pem) }
    };
    let agent = folder.join("agent");
    std::fs::create_dir(&agent).expect("a folder");
    let user = format!("system:node:{NODE}");
    issue(&agent, "client", &user, Some("system:nodes"), pki::Usage::Client, FIRST_LIFE);
    issue(&agent, "serving", &user, Some("system:nodes"), pki::Usage::Server, FIRST_LIFE);
    let day = Duration::from_secs(24 * 3600);
    issue(folder, "admin", "admin", Some("system:masters"), pki::Usage::Client, day);
    Certificates {
        serving: issue(folder, "apiserver", "kube-apiserver", None, pki::Usage::Server, day),
        kubelet_client: issue(folder, "kubelet-client", "apiserver", Some("system:masters"), pki::Usage::Client, day),
    }
}

/// The kubeconfig of an administrator.
fn write_kubeconfig(folder: &Path, url: &str) {
    let file = |name: &str| folder.join(name).display().to_string();
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "t",
        "clusters": [{"name": "t", "cluster": {"server": url, "certificate-authority": file("ca.crt")}}],
        "users": [{"name": "t", "user": {"client-certificate": file("admin.crt"), "client-key": file("admin.key")}}],
        "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
    });
    write(folder, "kubeconfig", &config.to_string());
}

/// Starts the server and the controller that signs certificates; `folder` gets its certificates, and in `agent/` those of the node.
pub async fn start(folder: &Path, shutdown: CancellationToken) -> ApiServer {
    let Certificates { serving, kubelet_client } = certificates(folder);
    let key = pki::generate_key().expect("a key");
    let settings = policy::Settings {
        service_account_key: write(folder, "sa.key", &key),
        service_account_public_keys: vec![write(
            folder,
            "sa.pub",
            &pki::public_key_pem("sa.key", &key).expect("a key"),
        )],
        cluster_domain: "cluster.local".to_string(),
        server_url: "https://127.0.0.1:6443".to_string(),
        access: Default::default(),
    };
    let config = Config {
        listen: "127.0.0.1:0".parse().expect("an address"),
        serving,
        client_ca: folder.join("ca.crt"),
        front_proxy_ca: None,
        advertise_address: "192.0.2.1".parse().expect("an address"),
        advertise_port: None,
        service_cidr: "10.43.0.0/16".parse().expect("a network"),
        node_port_range: 30000..=32767,
        kubelet_client: Some(kubelet_client),
        local_targets: false,
        proxy_client: None,
        limits: Limits::default(),
    };
    let store = Embedded::open(&folder.join("state.db"), Options::default()).expect("a store");
    let plugins = policy::plugins(&settings, store.clone()).await.expect("a policy");
    let server = Server::new(config, store, plugins).await.expect("a server");
    let url = format!("https://{}", server.address());
    write_kubeconfig(folder, &url);
    let client = server.client(User::new("tester", &["system:masters"]));
    let context = client::Context::new(client.clone(), shutdown.clone());
    tokio::spawn(async move { server.run(shutdown).await.expect("the server runs") });
    let shared = controllers::Shared { config: Arc::new(controllers::Config::new(folder)), context };
    tokio::spawn(async move { controllers::certificates::run(shared).await.expect("the controller runs") });
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let account: ServiceAccount =
        serde_json::from_value(json!({ "metadata": { "name": "default" } })).expect("an account");
    testkit::eventually_async(PATIENCE, "the server takes the default account", async || {
        accounts.create(&PostParams::default(), &account).await
    })
    .await;
    ApiServer { url, client }
}
