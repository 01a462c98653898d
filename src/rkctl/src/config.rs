//! `/etc/rkctl/server.yaml`: what the control plane of a host is told.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// Where `rkctl up` writes it.
pub const SERVER_CONFIG: &str = "/etc/rkctl/server.yaml";
/// Where `rkctl up` writes the agent's.
pub const AGENT_CONFIG: &str = "/etc/rkctl/agent.yaml";
/// The administrator's kubeconfig on a control-plane host.
pub const ADMIN_KUBECONFIG: &str = "/etc/rkctl/admin.kubeconfig";

/// `kind: ServerConfiguration`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerConfiguration {
    /// `rkctl.dev/v1`.
    pub api_version: String,
    /// `ServerConfiguration`.
    pub kind: String,
    /// Names the certificate authorities.
    pub cluster_name: String,
    /// Holds the store.
    pub data_dir: PathBuf,
    /// Holds keys and certificates.
    pub pki_dir: PathBuf,
    /// Where the API server listens.
    pub bind_address: IpAddr,
    /// Where the API server listens.
    pub port: u16,
    /// What the `kubernetes` service leads to.
    pub advertise_address: IpAddr,
    /// Names and addresses of the server certificate beside those every cluster has.
    #[serde(default, rename = "apiSANs")]
    pub api_sans: Vec<String>,
    /// Addresses of pods.
    #[serde(rename = "podCIDR")]
    pub pod_cidr: Ipv4Net,
    /// Addresses of services.
    #[serde(rename = "serviceCIDR")]
    pub service_cidr: Ipv4Net,
    /// DNS domain.
    pub cluster_domain: String,
    /// `30000-32767`.
    pub node_port_range: String,
    /// Where objects are kept.
    #[serde(default)]
    pub datastore: Datastore,
    /// Who may ask for what, and what is written of it.
    #[serde(default)]
    pub access: Access,
    /// How much a client may take.
    #[serde(default)]
    pub limits: Limits,
    /// The repository the cluster follows.
    #[serde(default)]
    pub gitops: Option<GitOps>,
}

/// How much a client may take of the server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Open connections from one address; the server's own figure where nothing is said. To be raised where many
    /// clients come through one balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_per_address: Option<std::num::NonZeroUsize>,
}

/// Who may ask for what, and what is written of it: files of Kubernetes' own kinds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Access {
    /// An `audit.k8s.io/v1` Policy; nothing is audited where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_policy_file: Option<PathBuf>,
    /// Where the audit log is, and when it is rotated.
    #[serde(default)]
    pub audit_log: AuditLog,
    /// An `apiserver.config.k8s.io/v1` AuthenticationConfiguration: issuers of tokens, and who may be anonymous.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication_config_file: Option<PathBuf>,
    /// A kubeconfig whose cluster is asked by TokenReviews whose a token is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_webhook_config_file: Option<PathBuf>,
    /// How long its answers hold, in seconds.
    #[serde(default = "token_cache_seconds")]
    pub token_webhook_cache_seconds: u64,
    /// An `apiserver.config.k8s.io/v1` AuthorizationConfiguration; nodes and roles where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_config_file: Option<PathBuf>,
}

/// Kubernetes' own default.
fn token_cache_seconds() -> u64 {
    120
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuditLog {
    /// The file.
    pub path: PathBuf,
    /// It is put aside when it would grow longer, in MiB.
    #[serde(rename = "maxSizeMB")]
    pub max_size_mb: u64,
    /// Files that were put aside are deleted after so many days; 0 keeps them.
    pub max_age_days: u32,
    /// So many of them are kept; 0 keeps all.
    pub max_backups: u32,
    /// Who waits where the disk is slow: `blocking`, `blocking-strict` or `batch`, as kube-apiserver's
    /// `--audit-log-mode`.
    pub mode: AuditLogMode,
}

/// Who waits for the disk of the audit log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditLogMode {
    /// Nobody; what finds no room is left out.
    Batch,
    /// Requests, for a bounded time.
    #[default]
    Blocking,
    /// The same, and a request whose coming cannot be written is refused.
    BlockingStrict,
}

impl Default for AuditLog {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/var/log/rkctl/audit.log"),
            max_size_mb: 100,
            max_age_days: 30,
            max_backups: 10,
            mode: AuditLogMode::default(),
        }
    }
}

/// Where objects are kept; in the data folder where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Datastore {
    /// In an etcd that several servers share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<Etcd>,
    /// Kubernetes' `EncryptionConfiguration`, mode 0600: what is encrypted at rest, and with which keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_config_file: Option<PathBuf>,
}

/// An etcd, reached with a client certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Etcd {
    /// `https://10.0.0.1:2379`, one for each member.
    pub endpoints: Vec<String>,
    /// Who signs the members' certificates.
    pub ca_file: PathBuf,
    /// The server's own certificate.
    pub certificate_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// Put before every key, where several clusters share one etcd.
    #[serde(default)]
    pub prefix: String,
}

/// The repository the cluster follows. Secrets are files that only root reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitOps {
    /// `https://`, `ssh://`, `git@host:path` or `file://`.
    pub url: String,
    /// A branch, a tag or a commit.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The folder in the repository; empty for its root.
    #[serde(default)]
    pub path: String,
    /// How often the repository is asked.
    pub interval: String,
    /// An ssh private key.
    #[serde(default)]
    pub ssh_key_file: Option<PathBuf>,
    /// known_hosts lines of the server.
    #[serde(default)]
    pub known_hosts_file: Option<PathBuf>,
    /// The user name for https.
    #[serde(default)]
    pub username: Option<String>,
    /// The password or token for https.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

impl ServerConfiguration {
    /// Reads the file.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let config: Self = serde_yaml::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        if config.api_version != "rkctl.dev/v1" || config.kind != "ServerConfiguration" {
            bail!("{} is not a rkctl.dev/v1 ServerConfiguration", path.display());
        }
        Ok(config)
    }

    /// What the certificates of this host must say.
    pub fn wanted_certificates(&self) -> pki::Wanted {
        let first = std::net::Ipv4Addr::from_bits(self.service_cidr.network().to_bits().saturating_add(1));
        let more = std::iter::once(pki::San::Ip(self.advertise_address))
            .chain(self.api_sans.iter().map(|name| pki::San::parse(name)));
        pki::Wanted {
            cluster_name: self.cluster_name.clone(),
            server_sans: pki::server_sans(&self.cluster_domain, first.into(), more),
        }
    }
}
