//! Requests, answers and errors of the CNI specification.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::Deserialize;
use serde_json::{Value, json};

/// The versions of the specification that are spoken.
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// `CNI_COMMAND`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Give a sandbox its network.
    Add,
    /// Take it away; succeeds where there is none.
    Del,
    /// Is the network of a sandbox still there?
    Check,
    /// Which versions are spoken.
    Version,
    /// Could `Add` work now?
    Status,
    /// Free what belongs to no sandbox of a list.
    Gc,
}

/// A host port of a sandbox, as `runtimeConfig.portMappings` has it. containerd writes the names with a capital, as
/// Go's own decoder does not care.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// The port of the host.
    #[serde(alias = "HostPort")]
    pub host_port: u16,
    /// The port of the pod.
    #[serde(alias = "ContainerPort")]
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    #[serde(default = "tcp", alias = "Protocol")]
    pub protocol: String,
    /// The address of the host that is listened on; all where empty or unspecified.
    #[serde(default, rename = "hostIP", alias = "HostIP")]
    pub host_ip: String,
}

fn tcp() -> String {
    "tcp".into()
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeConfig {
    #[serde(default)]
    port_mappings: Vec<PortMapping>,
}

/// The configuration on standard input.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// The version that the runtime speaks.
    pub cni_version: String,
    /// The pod bridge.
    #[serde(default)]
    pub bridge: String,
    /// In bytes.
    #[serde(default)]
    pub mtu: u32,
    /// The addresses of this host's pods.
    #[serde(default, rename = "podCIDR")]
    pub pod_cidr: Option<Ipv4Net>,
    /// Where the leases are.
    #[serde(default)]
    pub data_dir: PathBuf,
    #[serde(default)]
    runtime_config: RuntimeConfig,
    /// With `GC`: what is to be kept.
    #[serde(default, rename = "cni.dev/valid-attachments")]
    pub valid_attachments: Vec<Attachment>,
}

/// A sandbox's interface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Attachment {
    /// The sandbox.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface in it.
    pub ifname: String,
}

/// One call of the plugin.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// The sandbox.
    pub container_id: String,
    /// Its network namespace; empty where it is gone already.
    pub netns: PathBuf,
    /// The interface in it: `eth0`.
    pub ifname: String,
    /// Standard input.
    pub configuration: Configuration,
}

impl Request {
    /// Reads the environment through `variable` and the configuration from `input`.
    pub fn parse(variable: impl Fn(&str) -> Option<String>, input: &str) -> Result<Self, Failure> {
        let command = match variable("CNI_COMMAND").unwrap_or_default().as_str() {
            "ADD" => Command::Add,
            "DEL" => Command::Del,
            "CHECK" => Command::Check,
            "VERSION" => Command::Version,
            "STATUS" => Command::Status,
            "GC" => Command::Gc,
            other => return Err(Failure::new(4, format!("CNI_COMMAND is {other:?}"))),
        };
        let configuration: Configuration = serde_json::from_str(input)
            .map_err(|error| Failure::new(6, format!("cannot read the configuration: {error}")))?;
        if !VERSIONS.contains(&configuration.cni_version.as_str()) {
            let detail = format!("CNI version {:?}; spoken are {}", configuration.cni_version, VERSIONS.join(", "));
            return Err(Failure::new(1, detail));
        }
        let request = Self {
            command,
            container_id: variable("CNI_CONTAINERID").unwrap_or_default(),
            netns: variable("CNI_NETNS").unwrap_or_default().into(),
            ifname: variable("CNI_IFNAME").unwrap_or_default(),
            configuration,
        };
        let names_sandbox = matches!(command, Command::Add | Command::Del | Command::Check);
        if names_sandbox && (request.container_id.is_empty() || request.ifname.is_empty()) {
            return Err(Failure::new(4, "CNI_CONTAINERID and CNI_IFNAME must be set".into()));
        }
        // The container id becomes part of link names and files.
        if !request.container_id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(Failure::new(4, "CNI_CONTAINERID has characters that are not allowed".into()));
        }
        Ok(request)
    }

    /// The host ports that the sandbox asks for.
    pub fn port_mappings(&self) -> &[PortMapping] {
        &self.configuration.runtime_config.port_mappings
    }

    /// The pod CIDR, which every command but `VERSION` needs.
    pub fn pod_cidr(&self) -> Result<Ipv4Net, Failure> {
        self.configuration.pod_cidr.ok_or_else(|| Failure::new(7, "the configuration has no podCIDR".into()))
    }
}

/// What `ADD` made.
pub struct Attached<'a> {
    /// The host's end of the pair.
    pub host_link: &'a str,
    /// The pod's address with the prefix length of the pod CIDR.
    pub address: Ipv4Net,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// The pod's hardware address.
    pub mac: String,
}

/// The answer to `ADD`.
pub fn add_answer(request: &Request, attached: &Attached<'_>) -> String {
    let version = &request.configuration.cni_version;
    let mut ip = json!({"interface": 2, "address": attached.address, "gateway": attached.gateway});
    if version.starts_with("0.") {
        ip["version"] = Value::from("4");
    }
    json!({
        "cniVersion": version,
        "interfaces": [
            {"name": request.configuration.bridge},
            {"name": attached.host_link},
            {"name": request.ifname, "mac": attached.mac, "sandbox": request.netns},
        ],
        "ips": [ip],
        "routes": [{"dst": "0.0.0.0/0", "gw": attached.gateway}],
        "dns": {},
    })
    .to_string()
}

/// The answer to `VERSION`.
pub fn version_answer() -> String {
    json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS}).to_string()
}

/// An error object of the specification.
#[derive(Debug)]
pub struct Failure {
    code: u32,
    /// What happened, to what.
    pub message: String,
}

impl Failure {
    /// `code` is one of the specification, or 100 and more for the plugin's own.
    pub fn new(code: u32, message: String) -> Self {
        Self { code, message }
    }

    /// A failed read or write.
    pub fn io(doing: &str, error: &std::io::Error) -> Self {
        Self::new(5, format!("while {doing}: {error}"))
    }

    /// On standard output.
    pub fn to_json(&self) -> String {
        json!({"cniVersion": "1.0.0", "code": self.code, "msg": self.message}).to_string()
    }
}

impl From<datapath::Error> for Failure {
    fn from(error: datapath::Error) -> Self {
        Self::new(100, stdx::error::chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(command: &str, input: &str) -> Result<Request, Failure> {
        let variable = |name: &str| {
            Some(match name {
                "CNI_COMMAND" => command.to_string(),
                "CNI_CONTAINERID" => "abc".into(),
                "CNI_IFNAME" => "eth0".into(),
                _ => return None,
            })
        };
        Request::parse(variable, input)
    }

    #[test]
    fn host_ports_come_from_the_runtime_configuration() {
        let input = r#"{"cniVersion":"1.0.0","podCIDR":"10.42.1.0/24","dataDir":"/d","runtimeConfig":
            {"portMappings":[{"hostPort":80,"containerPort":8080,"protocol":"tcp","hostIP":""}]}}"#;
        let request = parse("ADD", input).unwrap();
        assert_eq!(request.port_mappings()[0].container_port, 8080);
        let of_containerd = r#"{"cniVersion":"1.0.0","podCIDR":"10.42.1.0/24","dataDir":"/d","runtimeConfig":
            {"portMappings":[{"HostPort":80,"ContainerPort":8080,"Protocol":"tcp","HostIP":""}]}}"#;
        assert_eq!(parse("ADD", of_containerd).unwrap().port_mappings(), request.port_mappings());
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_code_of_the_specification() {
        assert_eq!(parse("ADD", r#"{"cniVersion":"9.9.9"}"#).unwrap_err().code, 1);
        assert_eq!(parse("FLY", r#"{"cniVersion":"1.0.0"}"#).unwrap_err().code, 4);
        assert_eq!(parse("ADD", "{").unwrap_err().code, 6);
    }
}
