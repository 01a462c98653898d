//! The agent's configuration file, `kind: AgentConfiguration`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;
use machinery::eviction::Thresholds;

/// What the agent is told about its node. Everything but the node's name has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// `rkctl.dev/v1`.
    #[serde(default = "api_version")]
    pub api_version: String,
    /// `AgentConfiguration`.
    #[serde(default = "kind")]
    pub kind: String,
    /// The name of the Node object and of the certificate (`system:node:NAME`).
    pub node_name: String,
    /// The address other nodes reach this one at; the first address of the default route where it is not given.
    #[serde(default, rename = "nodeIP")]
    pub node_ip: Option<IpAddr>,
    /// API servers as `https://host:port`; none means that only static pods are run.
    #[serde(default)]
    pub servers: Vec<String>,
    /// The cluster's CA certificate, PEM.
    #[serde(default = "ca_file")]
    pub ca_file: PathBuf,
    /// The kubeconfig with a bootstrap token; used and deleted when there is no client certificate yet.
    #[serde(default = "bootstrap_kubeconfig")]
    pub bootstrap_kubeconfig: PathBuf,
    /// Where certificates, the kubeconfig and the agent's own state are kept.
    #[serde(default = "data_dir")]
    pub data_dir: PathBuf,
    /// The folder with manifests of static pods.
    #[serde(default = "static_pod_path")]
    pub static_pod_path: PathBuf,
    /// `unix:///path` of the container runtime.
    #[serde(default = "endpoint")]
    pub container_runtime_endpoint: String,
    /// Addresses of the cluster's DNS, for pods with dnsPolicy ClusterFirst.
    #[serde(default, rename = "clusterDNS", deserialize_with = "one_or_many")]
    pub cluster_dns: Vec<IpAddr>,
    /// `cluster.local`.
    #[serde(default = "cluster_domain")]
    pub cluster_domain: String,
    /// The pods' network of the whole cluster.
    #[serde(default, rename = "podCIDR")]
    pub pod_cidr: Option<String>,
    /// The services' network.
    #[serde(default, rename = "serviceCIDR")]
    pub service_cidr: Option<String>,
    /// Labels the node registers with.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints the node registers with.
    #[serde(default)]
    pub taints: Vec<Taint>,
    /// For the service proxy; the agent itself does not use it.
    #[serde(default)]
    pub node_port_range: Option<String>,
    /// For the overlay; the agent itself does not use it.
    #[serde(default)]
    pub overlay: Option<serde_json::Value>,
    /// The host's resolver configuration that pods inherit; where it names only loopback addresses, the one that
    /// systemd-resolved keeps beside it.
    #[serde(default = "resolv_conf")]
    pub resolv_conf: PathBuf,
    /// How many pods the node takes.
    #[serde(default = "max_pods")]
    pub max_pods: u32,
    /// Where the agent's API listens.
    #[serde(default = "listen_address")]
    pub listen_address: SocketAddr,
    /// Where the agent's health is asked, without TLS.
    #[serde(default = "health_address")]
    pub health_address: SocketAddr,
    /// Where the balancer over API servers listens.
    #[serde(default = "balancer_address")]
    pub balancer_address: SocketAddr,
    /// Volumes and files of pods.
    #[serde(default = "kubelet_dir")]
    pub kubelet_dir: PathBuf,
    /// Logs of containers.
    #[serde(default = "pod_logs_dir")]
    pub pod_logs_dir: PathBuf,
    /// Links to the logs of containers, for collectors.
    #[serde(default = "container_logs_dir")]
    pub container_logs_dir: PathBuf,
    /// The cgroup under which all pods are: `/` or `/some.slice`.
    #[serde(default = "cgroup_root")]
    pub cgroup_root: String,
    /// What must stay free, where it is not kubelet's default (`nodefs.available: 5%`); `0%` watches nothing.
    #[serde(default)]
    pub eviction_hard: BTreeMap<String, String>,
    /// Above this part of its disk, images that nobody uses are removed; at 100 never.
    #[serde(default = "image_gc_high_threshold_percent", rename = "imageGCHighThresholdPercent")]
    pub image_gc_high_threshold_percent: u8,
    /// Processor time and memory kept from pods (`cpu: 100m`, `memory: 256Mi`).
    #[serde(default)]
    pub system_reserved: BTreeMap<String, String>,
}

/// A taint in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taint {
    /// `node-role.kubernetes.io/control-plane`.
    pub key: String,
    /// May be empty.
    #[serde(default)]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule`, `NoExecute`.
    pub effect: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(IpAddr),
    Many(Vec<IpAddr>),
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    Ok(match Option::<OneOrMany>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(OneOrMany::One(address)) => vec![address],
        Some(OneOrMany::Many(addresses)) => addresses,
    })
}

fn image_gc_high_threshold_percent() -> u8 {
    85
}
fn api_version() -> String {
    "rkctl.dev/v1".into()
}
fn kind() -> String {
    "AgentConfiguration".into()
}
fn ca_file() -> PathBuf {
    "/etc/rkctl/pki/ca.crt".into()
}
fn bootstrap_kubeconfig() -> PathBuf {
    "/etc/rkctl/bootstrap.kubeconfig".into()
}
fn data_dir() -> PathBuf {
    "/var/lib/rkctl/agent".into()
}
fn static_pod_path() -> PathBuf {
    "/etc/rkctl/manifests".into()
}
fn endpoint() -> String {
    "unix:///run/containerd/containerd.sock".into()
}
fn cluster_domain() -> String {
    "cluster.local".into()
}
fn resolv_conf() -> PathBuf {
    "/etc/resolv.conf".into()
}
fn max_pods() -> u32 {
    110
}
fn listen_address() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 10250))
}
fn health_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10248))
}
fn balancer_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 6444))
}
fn kubelet_dir() -> PathBuf {
    "/var/lib/kubelet".into()
}
fn pod_logs_dir() -> PathBuf {
    "/var/log/pods".into()
}
fn container_logs_dir() -> PathBuf {
    "/var/log/containers".into()
}
fn cgroup_root() -> String {
    "/".into()
}

impl Config {
    /// Reads the text of a configuration file; `path` is for the error.
    pub fn parse(text: &str, path: &std::path::Path) -> Result<Self, Error> {
        let config: Config = serde_yaml::from_str(text)
            .map_err(|source| Error::Config { path: path.to_path_buf(), source: Box::new(source) })?;
        config.check()?;
        Ok(config)
    }

    /// The configuration of a node of that name, everything else defaulted.
    pub fn for_node(name: &str) -> Self {
        let value = serde_json::json!({ "nodeName": name });
        serde_json::from_value(value).expect("every other field has a default")
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |message: String| Err(Error::Setting { message });
        if self.api_version != api_version() || self.kind != kind() {
            return wrong(format!(
                "apiVersion and kind are {} {}: expected rkctl.dev/v1 AgentConfiguration",
                self.api_version, self.kind
            ));
        }
        if self.node_name.is_empty() || self.node_name.len() > 253 {
            return wrong("nodeName is empty or longer than 253 characters".into());
        }
        if let Some(server) = self.servers.iter().find(|server| !server.starts_with("https://")) {
            return wrong(format!("server {server:?} is not of the form https://host:port"));
        }
        Thresholds::read(&self.eviction_hard).map_err(|message| Error::Setting { message })?;
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        if let Some(taint) = self.taints.iter().find(|taint| !effects.contains(&taint.effect.as_str())) {
            return wrong(format!(
                "taint {} has effect {:?}: use one of {}",
                taint.key,
                taint.effect,
                effects.join(", ")
            ));
        }
        Ok(())
    }

    /// `/var/lib/kubelet/pods/UID`.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.kubelet_dir.join("pods").join(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_whole_configuration() {
        let config = Config::parse("nodeName: w1\nclusterDNS: 10.43.0.10\n", "agent.yaml".as_ref()).unwrap();
        assert_eq!(config.listen_address.port(), 10250);
        assert_eq!(config.cluster_dns, ["10.43.0.10".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn unknown_keys_and_wrong_taints_are_refused() {
        assert!(Config::parse("nodeName: w1\nnodeNam: w2\n", "agent.yaml".as_ref()).is_err());
        let taint = "nodeName: w1\ntaints: [{key: a, effect: Never}]\n";
        assert!(Config::parse(taint, "agent.yaml".as_ref()).is_err());
        let threshold = "nodeName: w1\nevictionHard: {disk.free: 5%}\n";
        assert!(Config::parse(threshold, "agent.yaml".as_ref()).is_err());
    }
}
