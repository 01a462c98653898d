//! A cluster with every default filled in: what the rest of rkctl works with.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::SecretRef;

/// The port of the API server.
pub const API_PORT: u16 = 6443;

/// A cluster as it is wanted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// A DNS label.
    pub name: String,
    /// The wanted version of rkctl; `None` for the version of the program in use.
    pub version: Option<String>,
    /// Every host once, ranges expanded, in the order of the file.
    pub hosts: Vec<Host>,
    /// How the API server is reached.
    pub api: Api,
    /// Where the state is kept.
    pub datastore: Datastore,
    /// Addresses and names inside.
    pub network: Network,
    /// What runs beside users' workloads.
    pub addons: Addons,
    /// The repository the cluster follows.
    pub gitops: Option<GitOps>,
    /// Where images come from.
    pub registry: Registry,
    /// Protections beyond the defaults.
    pub security: Security,
    /// How hosts are taken out of service.
    pub upgrade: Upgrade,
    /// How rkctl goes about its work.
    pub options: Options,
}

impl Cluster {
    /// Hosts that are to be in the cluster.
    pub fn present(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.state == State::Present)
    }

    /// Hosts that are to run the control plane.
    pub fn controllers(&self) -> impl Iterator<Item = &Host> {
        self.present().filter(|host| host.role.is_control_plane())
    }

    /// The host of that name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// `https://HOST:PORT` for clients outside; the first controller's address where no endpoint is given.
    pub fn api_url(&self) -> String {
        match (&self.api.endpoint, self.controllers().next()) {
            (Some(endpoint), _) => format!("https://{}", with_port(endpoint)),
            (None, Some(host)) => format!("https://{}", with_port(&host.address)),
            (None, None) => format!("https://localhost:{API_PORT}"),
        }
    }
}

/// `HOST:PORT`, with the API server's port where none is named and brackets around IPv6.
fn with_port(endpoint: &str) -> String {
    match endpoint.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{API_PORT}"),
        Ok(address) => format!("{address}:{API_PORT}"),
        Err(_) if endpoint.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => endpoint.to_owned(),
        Err(_) => format!("{endpoint}:{API_PORT}"),
    }
}

/// A host as it is wanted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// The node's name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// IP address or DNS name that ssh connects to.
    pub address: String,
    /// The address other hosts reach it by, where it is known from the file.
    pub private_address: Option<IpAddr>,
    /// Labels of the node, beside those every node has.
    pub labels: BTreeMap<String, String>,
    /// Taints of the node, beside the control plane's.
    pub taints: Vec<Taint>,
    /// How it is reached.
    pub ssh: Ssh,
    /// How the ssh user becomes root.
    pub r#become: Become,
    /// What may be prepared on it.
    pub prepare: Prepare,
    /// What its agent does otherwise than by default.
    pub agent: Agent,
    /// Whether it is to be in the cluster.
    pub state: State,
}

impl Host {
    /// The address the node has in the cluster; `None` where the host must be asked, since only a DNS name is known, or
    /// an address that leads from this machine to itself and pods nowhere.
    pub fn node_ip(&self) -> Option<IpAddr> {
        self.private_address.or_else(|| self.address.parse().ok().filter(|address: &IpAddr| !address.is_loopback()))
    }
}

/// What a host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Control plane and workloads.
    Single,
    /// Control plane.
    Controller,
    /// Workloads.
    Worker,
}

impl Role {
    /// Whether a server runs there.
    pub fn is_control_plane(self) -> bool {
        !matches!(self, Self::Worker)
    }
}

/// Whether a host is to be in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// In the cluster.
    #[default]
    Present,
    /// Drained, deleted and reset.
    Absent,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaintEffect {
    /// New pods stay away.
    NoSchedule,
    /// New pods stay away where they can.
    PreferNoSchedule,
    /// New pods stay away and running ones leave.
    NoExecute,
}

/// A taint of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Taint {
    /// A qualified name.
    pub key: String,
    /// Empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// What it does.
    pub effect: TaintEffect,
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            write!(f, "{}:{:?}", self.key, self.effect)
        } else {
            write!(f, "{}={}:{:?}", self.key, self.value, self.effect)
        }
    }
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ssh {
    /// The user; `None` for ssh_config's or root.
    pub user: Option<String>,
    /// The port; `None` for ssh_config's or 22.
    pub port: Option<u16>,
    /// The private key file; `None` for the agent's and the usual files.
    pub identity_file: Option<PathBuf>,
    /// The passphrase of the key.
    pub passphrase: Option<SecretRef>,
    /// The password.
    pub password: Option<SecretRef>,
    /// How host keys are checked.
    pub host_keys: HostKeys,
    /// How long a connection may take to come about.
    #[serde(serialize_with = "as_text")]
    pub connect_timeout: Duration,
}

/// How host keys are checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostKeys {
    /// What happens with a key that is not known.
    pub policy: HostKeyPolicy,
    /// The file of known keys; `None` for `~/.ssh/known_hosts`.
    pub file: Option<PathBuf>,
    /// `SHA256:...`; not empty where the policy is `pinned`.
    pub fingerprints: Vec<String>,
}

/// What happens with a host key that is not known. A changed key always stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyPolicy {
    /// It is refused.
    Strict,
    /// It is accepted and written down.
    AcceptNew,
    /// It must be one of the fingerprints.
    Pinned,
}

/// How a user becomes root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Escalation {
    /// The ssh user is root.
    None,
    /// By sudo.
    Sudo,
}

/// How the ssh user becomes root.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Become {
    /// By what.
    pub method: Escalation,
    /// The password it asks for.
    pub password: Option<SecretRef>,
}

/// What rkctl may change on a host; what is false is observed only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Prepare {
    /// Swap off, now and in fstab.
    pub swap: bool,
    /// Ports in the active firewall, exactly those needed; a firewall is never stopped.
    pub firewall: bool,
    /// Kernel settings.
    pub sysctl: bool,
    /// Kernel modules.
    pub modules: bool,
    /// The host's name.
    pub hostname: bool,
    /// /etc/hosts.
    pub hosts: bool,
    /// containerd.
    pub runtime: bool,
}

/// What an agent does otherwise than by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// What must stay free before pods are evicted, by kubelet's names (`nodefs.available`).
    pub eviction_hard: BTreeMap<String, String>,
    /// Above this part of the disk, images that nobody uses are removed; 100 is never.
    #[serde(rename = "imageGCHighThresholdPercent")]
    pub image_gc_high_threshold_percent: u16,
}

/// How the API server is reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Api {
    /// `HOST` or `HOST:PORT` for clients outside.
    pub endpoint: Option<String>,
    /// More names and addresses for the server certificate.
    pub sans: Vec<String>,
}

/// Where the state is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Datastore {
    /// In the server itself.
    Embedded,
    /// In etcd on the controllers.
    Etcd,
}

/// Addresses and names inside the cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Addresses of pods, one /24 a node.
    #[serde(rename = "podCIDR")]
    pub pod_cidr: Ipv4Net,
    /// Addresses of services.
    #[serde(rename = "serviceCIDR")]
    pub service_cidr: Ipv4Net,
    /// DNS domain.
    pub cluster_domain: String,
}

impl Network {
    /// The address of the `kubernetes` service: the first of the service CIDR.
    pub fn kubernetes_ip(&self) -> Ipv4Addr {
        self.service_ip(1)
    }

    /// The address of the cluster's DNS: the tenth of the service CIDR.
    pub fn dns_ip(&self) -> Ipv4Addr {
        self.service_ip(10)
    }

    fn service_ip(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.service_cidr.network().to_bits().saturating_add(offset))
    }
}

/// What runs beside users' workloads.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Addons {
    /// Cluster DNS.
    pub dns: Addon,
    /// Ingress controller.
    pub ingress: Addon,
    /// The metrics API.
    pub metrics: Addon,
}

/// One addon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Addon {
    /// Whether it is to run.
    pub enabled: bool,
}

/// The repository the cluster follows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GitOps {
    /// `https://`, `ssh://`, `git@host:path` or `file://`.
    pub url: String,
    /// A branch, a tag or a commit.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The folder in the repository, without a leading `/`; empty for its root.
    pub path: String,
    /// How often the repository is asked.
    #[serde(serialize_with = "as_text")]
    pub interval: Duration,
    /// How the server knows the cluster.
    pub auth: GitAuth,
}

/// How a Git server knows the cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GitAuth {
    /// An ssh private key.
    pub ssh_key: Option<SecretRef>,
    /// known_hosts lines of the server.
    pub known_hosts: Option<SecretRef>,
    /// The user name for https.
    pub username: Option<String>,
    /// The password or token for https.
    pub password: Option<SecretRef>,
}

/// Where images come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Registry {
    /// For a registry's name, the URLs asked in its place.
    pub mirrors: BTreeMap<String, Vec<String>>,
}

/// Protections beyond the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Security {
    /// Secrets are encrypted in the store.
    pub encrypt_secrets: bool,
    /// On this machine: an `audit.k8s.io/v1` Policy.
    pub audit_policy: Option<PathBuf>,
    /// On this machine: an `apiserver.config.k8s.io/v1` AuthenticationConfiguration.
    pub authentication_config: Option<PathBuf>,
    /// On this machine: a kubeconfig whose cluster is asked whose a token is.
    pub token_webhook_config: Option<PathBuf>,
    /// On this machine: an `apiserver.config.k8s.io/v1` AuthorizationConfiguration.
    pub authorization_config: Option<PathBuf>,
    /// On this machine: an `apiserver.config.k8s.io/v1` EncryptionConfiguration.
    pub encryption_config: Option<PathBuf>,
    /// How many connections the API server has from one address; its own figure where it is `None`.
    pub connections_per_address: Option<NonZeroU32>,
}

/// How hosts are taken out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// How long pods of a host that leaves are given.
    #[serde(serialize_with = "as_text")]
    pub drain_timeout: Duration,
}

/// What an unreachable host means for the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unreachable {
    /// The other hosts are finished, then the run fails.
    #[default]
    Fail,
    /// The other hosts are finished and the run succeeds with a warning.
    Skip,
}

/// How rkctl goes about its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// Hosts worked on at a time; at least 1.
    pub parallel: usize,
    /// What an unreachable host means.
    pub unreachable: Unreachable,
}

fn as_text<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::duration::format(*duration))
}
