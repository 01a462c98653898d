//! The file as it is written: every key optional, every value with its place. `resolve` makes a `Cluster` of it.
//!
//! The doc comments here are what `rkctl schema` publishes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::cluster::{Escalation, HostKeyPolicy, Role, State, Unreachable};
use crate::yaml::At;

/// A Kubernetes cluster: its hosts and what runs on them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "Cluster")]
pub(crate) struct ClusterFile {
    /// `rkctl.dev/v1`.
    pub api_version: Option<At<String>>,
    /// `Cluster`.
    pub kind: Option<At<String>>,
    /// What the cluster is called.
    pub metadata: Option<MetadataFile>,
    /// What the cluster is made of.
    pub spec: SpecFile,
}

/// What the cluster is called.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MetadataFile {
    /// A DNS label; `cluster` where it is left out.
    pub name: At<String>,
}

/// What the cluster is made of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SpecFile {
    /// The version of rkctl the cluster runs; the version of the program in use where it is left out.
    pub version: Option<At<String>>,
    /// Settings of every host.
    #[serde(default)]
    pub defaults: HostSettings,
    /// Settings of the hosts that name the group; later groups of a host win over earlier ones.
    #[serde(default)]
    pub groups: BTreeMap<String, HostSettings>,
    /// The hosts; an entry with a range stands for several.
    pub hosts: At<Vec<HostFile>>,
    /// How the API server is reached.
    #[serde(default)]
    pub api: ApiFile,
    /// Where the cluster's state is kept.
    #[serde(default)]
    pub datastore: DatastoreFile,
    /// Addresses and names inside the cluster.
    #[serde(default)]
    pub network: NetworkFile,
    /// What runs in the cluster beside its users' workloads.
    #[serde(default)]
    pub addons: AddonsFile,
    /// A Git repository the cluster follows.
    pub gitops: Option<GitOpsFile>,
    /// Where images come from.
    #[serde(default)]
    pub registry: RegistryFile,
    /// Protections beyond the defaults.
    #[serde(default)]
    pub security: SecurityFile,
    /// How hosts are taken out of service.
    #[serde(default)]
    pub upgrade: UpgradeFile,
    /// How rkctl itself goes about its work.
    #[serde(default)]
    pub options: OptionsFile,
}

/// Settings that defaults, groups and hosts share.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HostSettings {
    /// Labels of the node.
    #[serde(default)]
    pub labels: BTreeMap<String, At<String>>,
    /// Taints of the node, as kubectl writes them: `key=value:NoSchedule` or `key:NoSchedule`.
    #[serde(default)]
    pub taints: Vec<At<String>>,
    /// How the host is reached.
    #[serde(default)]
    pub ssh: SshFile,
    /// How the ssh user becomes root.
    #[serde(default)]
    pub r#become: BecomeFile,
    /// What rkctl may prepare on the host.
    #[serde(default)]
    pub prepare: PrepareFile,
    /// What the host's agent does otherwise than by default.
    #[serde(default)]
    pub agent: AgentFile,
}

/// A host, or several by a range.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HostFile {
    /// The node's name; may hold a range: `w[01:20]`. Made from the address where it is left out.
    pub name: Option<At<String>>,
    /// `single` runs everything, `controller` the control plane, `worker` the workloads.
    pub role: Option<At<Role>>,
    /// IP address or DNS name that ssh connects to; may hold a range: `10.0.1.[1:20]`.
    pub address: At<String>,
    /// IP address that the other hosts reach this one by; `address` where it is left out.
    pub private_address: Option<At<String>>,
    /// Groups whose settings the host takes.
    #[serde(default)]
    pub groups: Vec<At<String>>,
    /// Labels of the node.
    #[serde(default)]
    pub labels: BTreeMap<String, At<String>>,
    /// Taints of the node, as kubectl writes them: `key=value:NoSchedule` or `key:NoSchedule`.
    #[serde(default)]
    pub taints: Vec<At<String>>,
    /// How the host is reached.
    #[serde(default)]
    pub ssh: SshFile,
    /// How the ssh user becomes root.
    #[serde(default)]
    pub r#become: BecomeFile,
    /// What rkctl may prepare on the host.
    #[serde(default)]
    pub prepare: PrepareFile,
    /// What the host's agent does otherwise than by default.
    #[serde(default)]
    pub agent: AgentFile,
    /// `absent` drains the host, takes it out of the cluster and resets it.
    pub state: Option<State>,
}

/// How a host is reached.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SshFile {
    /// `root` where it is left out.
    pub user: Option<String>,
    /// 22 where it is left out.
    pub port: Option<At<u16>>,
    /// A private key file; the agent and the usual files of `~/.ssh` are tried where it is left out.
    pub identity_file: Option<String>,
    /// A reference (`env:`, `file:`, `cmd:`) to the passphrase of the key.
    pub passphrase: Option<At<String>>,
    /// A reference (`env:`, `file:`, `cmd:`) to the password.
    pub password: Option<At<String>>,
    /// How host keys are checked.
    #[serde(default)]
    pub host_keys: HostKeysFile,
    /// How long a connection may take to come about, such as `10s`.
    pub connect_timeout: Option<At<String>>,
}

/// How host keys are checked.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HostKeysFile {
    /// `accept-new` where it is left out, `pinned` where there are fingerprints.
    pub policy: Option<At<HostKeyPolicy>>,
    /// The file of known keys; `~/.ssh/known_hosts` where it is left out.
    pub file: Option<String>,
    /// `SHA256:...` fingerprints, of which the host's key must be one.
    #[serde(default)]
    pub fingerprints: Vec<At<String>>,
}

/// How the ssh user becomes root.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BecomeFile {
    /// `sudo` where the ssh user is not root and it is left out.
    pub method: Option<Escalation>,
    /// A reference (`env:`, `file:`, `cmd:`) to the password sudo asks for.
    pub password: Option<At<String>>,
}

/// What rkctl may prepare on a host. What is `false` is observed and reported, not changed.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PrepareFile {
    /// Switch swap off, now and in fstab.
    pub swap: Option<bool>,
    /// Open the cluster's ports in firewalld, ufw or nftables where one of them is active.
    pub firewall: Option<bool>,
    /// Set and persist kernel settings.
    pub sysctl: Option<bool>,
    /// Load kernel modules, now and at boot.
    pub modules: Option<bool>,
    /// Set the host's name to the node's name.
    pub hostname: Option<bool>,
    /// Keep the cluster's hosts in /etc/hosts.
    pub hosts: Option<bool>,
    /// Install and configure containerd.
    pub runtime: Option<bool>,
}

/// What a host's agent does otherwise than by default.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AgentFile {
    /// What must stay free before pods are evicted, as kubelet names it: `nodefs.available: 5%`; `0%` watches nothing.
    #[serde(default)]
    pub eviction_hard: BTreeMap<String, At<String>>,
    /// Above this part of the disk, images that nobody uses are removed; 85 where it is left out, 100 is never.
    #[serde(rename = "imageGCHighThresholdPercent")]
    pub image_gc_high_threshold_percent: Option<At<u16>>,
}

/// How the API server is reached.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ApiFile {
    /// Host name or IP address that clients outside use, with an optional port; the controller's address where it is left out.
    pub endpoint: Option<At<String>>,
    /// More names and addresses for the server certificate.
    #[serde(default)]
    pub sans: Vec<At<String>>,
}

/// Where the cluster's state is kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DatastoreFile {
    /// `embedded` for one controller, `etcd` for several; chosen by their number where it is left out.
    pub r#type: Option<At<crate::cluster::Datastore>>,
}

/// Addresses and names inside the cluster.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NetworkFile {
    /// Addresses of pods, one /24 a node; `10.42.0.0/16` where it is left out.
    #[serde(rename = "podCIDR")]
    pub pod_cidr: Option<At<String>>,
    /// Addresses of services; `10.43.0.0/16` where it is left out.
    #[serde(rename = "serviceCIDR")]
    pub service_cidr: Option<At<String>>,
    /// DNS domain of the cluster; `cluster.local` where it is left out.
    pub cluster_domain: Option<At<String>>,
}

/// What runs in the cluster beside its users' workloads.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AddonsFile {
    /// Names of services and pods.
    #[serde(default)]
    pub dns: AddonFile,
    /// Routes HTTP from port 80 of the nodes to services.
    #[serde(default)]
    pub ingress: AddonFile,
    /// Answers `kubectl top`.
    #[serde(default)]
    pub metrics: AddonFile,
}

/// One addon.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AddonFile {
    /// `true` where it is left out.
    pub enabled: Option<bool>,
}

/// A Git repository the cluster follows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GitOpsFile {
    /// `https://`, `ssh://`, `git@host:path` or `file://`.
    pub url: At<String>,
    /// A branch, a tag or a commit; `main` where it is left out.
    pub r#ref: Option<At<String>>,
    /// The folder in the repository; its root where it is left out.
    pub path: Option<At<String>>,
    /// How often the repository is asked, such as `30s`; `1m` where it is left out.
    pub interval: Option<At<String>>,
    /// How rkctl shows who it is.
    #[serde(default)]
    pub auth: GitAuthFile,
}

/// How a Git server knows the cluster.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GitAuthFile {
    /// A reference (`env:`, `file:`, `cmd:`) to an ssh private key.
    pub ssh_key: Option<At<String>>,
    /// A reference (`env:`, `file:`, `cmd:`) to known_hosts lines of the server; needed for ssh.
    pub known_hosts: Option<At<String>>,
    /// The user name for https.
    pub username: Option<String>,
    /// A reference (`env:`, `file:`, `cmd:`) to the password or token for https.
    pub password: Option<At<String>>,
}

/// Where images come from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RegistryFile {
    /// For a registry's name, the URLs that are asked in its place, in order.
    #[serde(default)]
    pub mirrors: BTreeMap<String, Vec<At<String>>>,
}

/// Protections beyond the defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SecurityFile {
    /// Encrypt Secrets in the store; `false` where it is left out.
    pub encrypt_secrets: Option<At<bool>>,
    /// A file with an `audit.k8s.io/v1` Policy; nothing is audited where it is left out.
    pub audit_policy: Option<At<String>>,
    /// A file with an `apiserver.config.k8s.io/v1` AuthenticationConfiguration.
    pub authentication_config: Option<At<String>>,
    /// A kubeconfig whose cluster is asked whose a token is.
    pub token_webhook_config: Option<At<String>>,
    /// A file with an `apiserver.config.k8s.io/v1` AuthorizationConfiguration. Kubeconfigs of webhooks that it names by
    /// relative paths, which are so to its folder, go along with it.
    pub authorization_config: Option<At<String>>,
    /// A file with an `apiserver.config.k8s.io/v1` EncryptionConfiguration, by which objects are encrypted in the store.
    pub encryption_config: Option<At<String>>,
    /// How many connections the API server has from one address; its own figure where it is left out.
    pub connections_per_address: Option<At<u32>>,
}

/// How hosts are taken out of service.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UpgradeFile {
    /// How long pods of a host that leaves are given, such as `2m`.
    pub drain_timeout: Option<At<String>>,
}

/// How rkctl itself goes about its work.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OptionsFile {
    /// Hosts worked on at a time; 10 where it is left out.
    pub parallel: Option<At<u32>>,
    /// `fail` finishes the other hosts and then fails, `skip` finishes them and only warns.
    pub unreachable: Option<Unreachable>,
}
