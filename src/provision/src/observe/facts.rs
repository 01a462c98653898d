//! What was found on a host: the script's lines, read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use jiff::Timestamp;

use crate::cluster_facts::ClusterFacts;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A regular file.
    File {
        /// SHA-256 in hexadecimal.
        sha256: String,
        /// Permission bits.
        mode: u32,
        /// Unix seconds.
        modified_s: i64,
    },
    /// A symbolic link and where it leads.
    Link(String),
}

/// The state of a systemd unit that is known to the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// `active`, `inactive`, `failed`, `activating`.
    pub active: String,
    /// `enabled`, `disabled`, `static`.
    pub enabled: String,
    /// When it became active, Unix seconds.
    pub since_s: i64,
    /// How often systemd started it again.
    pub restarts: u64,
}

impl Unit {
    /// Whether it runs.
    pub fn is_active(&self) -> bool {
        self.active == "active"
    }

    /// Its state for people.
    pub fn state(&self) -> &str {
        if self.active.is_empty() { "not there" } else { &self.active }
    }

    /// Whether it starts at boot.
    pub fn is_enabled(&self) -> bool {
        self.enabled == "enabled"
    }
}

/// Whether a kernel module can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// Loaded or built in.
    Present,
    /// Can be loaded.
    Loadable,
    /// The kernel does not have it.
    Missing,
}

/// A kernel setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Its value; `None` where the kernel has no such setting.
    pub value: Option<String>,
    /// Whether it can be changed.
    pub writable: bool,
}

/// A chain that decides over packets to the host (`input`) or through it (`forward`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NftChain {
    /// `inet`, `ip`, `ip6`.
    pub family: String,
    /// The table's name.
    pub table: String,
    /// The chain's name.
    pub chain: String,
    /// `input` or `forward`.
    pub hook: String,
    /// Whether it refuses anything.
    pub refuses: bool,
    /// Whether our openings are in it.
    pub opened: bool,
}

/// What a configuration of ours on a host says of the cluster; `None` where it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    /// The node's name (agent only).
    pub node_name: Option<String>,
    /// Addresses of pods.
    pub pod_cidr: Option<String>,
    /// Addresses of services.
    pub service_cidr: Option<String>,
    /// DNS domain.
    pub cluster_domain: Option<String>,
    /// The repository that is followed (server only).
    pub gitops: Option<Followed>,
}

/// The part of a repository that is followed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Followed {
    /// Without a password.
    pub url: String,
    /// A branch, a tag or a commit.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The folder; empty for the root.
    pub path: String,
}

impl std::fmt::Display for Followed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = if self.path.is_empty() { "." } else { &self.path };
        write!(f, "{path} of {} at {}", self.url, self.reference)
    }
}

impl Configured {
    fn read(&mut self, key: &str, value: &str) {
        let field = match key {
            "gitops" => {
                self.gitops = serde_json::from_str(value).ok();
                return;
            }
            "nodeName" => &mut self.node_name,
            "podCIDR" => &mut self.pod_cidr,
            "serviceCIDR" => &mut self.service_cidr,
            "clusterDomain" => &mut self.cluster_domain,
            _ => return,
        };
        *field = Some(value.to_owned());
    }
}

/// What was found on a host.
#[derive(Debug, Clone, Default)]
pub struct HostFacts {
    /// The host's clock when it was asked.
    pub clock: Option<Timestamp>,
    /// What the operator's clock said then, as near as can be told.
    pub asked_at: Option<Timestamp>,
    /// The user commands run as; 0 is needed.
    pub uid: Option<u32>,
    /// `x86_64`.
    pub arch: String,
    /// Release of the kernel.
    pub kernel: String,
    /// The name the kernel has now.
    pub hostname: String,
    /// The name in /etc/hostname.
    pub hostname_file: String,
    /// `debian`.
    pub os_id: String,
    /// `12`.
    pub os_version: String,
    /// `rhel centos fedora`.
    pub os_like: String,
    /// For people.
    pub os_name: String,
    /// Whether systemd is the init.
    pub systemd: bool,
    /// `apt-get`, `dnf`, ….
    pub package_manager: Option<String>,
    /// Programs that are there.
    pub tools: BTreeSet<String>,
    /// 1 or 2.
    pub cgroup: u8,
    /// Effective capabilities of root.
    pub capabilities: u64,
    /// The address of the default route.
    pub address: Option<Ipv4Addr>,
    /// Every IPv4 address.
    pub local_addresses: BTreeSet<Ipv4Addr>,
    /// Memory.
    pub memory_kib: u64,
    /// Free space by folder.
    pub disk_free_kib: BTreeMap<String, u64>,
    /// Active swap devices and files.
    pub swaps: Vec<String>,
    /// Swap in fstab.
    pub fstab_swaps: Vec<String>,
    /// `enforcing` or `permissive`; `None` where SELinux is off or not there.
    pub selinux: Option<String>,
    /// Packages SELinux needs for containers.
    pub selinux_lacks: Vec<String>,
    /// Modules that were asked about.
    pub modules: BTreeMap<String, Module>,
    /// Settings that were asked about.
    pub sysctls: BTreeMap<String, Sysctl>,
    /// Files that were asked about and are there.
    pub files: BTreeMap<String, Found>,
    /// What was put aside for a reset.
    pub originals: BTreeSet<String>,
    /// Whether the agent has its own kubeconfig.
    pub joined: bool,
    /// The node that its certificate is for.
    pub joined_as: Option<String>,
    /// Our part of /etc/hosts, markers included.
    pub hosts_block: Vec<String>,
    /// Units that are known.
    pub units: BTreeMap<String, Unit>,
    /// Protocol and port with the program that listens there.
    pub listeners: BTreeMap<(String, u16), String>,
    /// Whether ufw is switched on.
    pub ufw_enabled: bool,
    /// Our rules in ufw.
    pub ufw_rules: BTreeSet<String>,
    /// The lines of ours in the file that ufw reads behind its rules.
    pub ufw_services: Vec<String>,
    /// Chains over input and forward.
    pub nft_chains: Vec<NftChain>,
    /// The cluster whose control plane the host has.
    pub cluster_name: Option<String>,
    /// Whether the host keeps the state of a control plane.
    pub server_state: bool,
    /// What its server was configured with.
    pub server_config: Configured,
    /// What its agent was configured with.
    pub agent_config: Configured,
    /// The cluster's authority (control plane only).
    pub ca_pem: Option<String>,
    /// Certificates to make or renew; `None` where nobody could say.
    pub pki_due: Option<Vec<PkiDue>>,
    /// What the cluster says (control plane only).
    pub cluster: Option<ClusterFacts>,
    /// Whether the script came to its end.
    pub complete: bool,
}

/// A certificate to make or renew.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct PkiDue {
    /// Its file.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// Root may do what containers with a negative oom score need.
const CAP_SYS_RESOURCE: u64 = 1 << 24;

impl HostFacts {
    /// The SHA-256 of a regular file.
    pub fn sha256(&self, path: &str) -> Option<&str> {
        match self.files.get(path) {
            Some(Found::File { sha256, .. }) => Some(sha256),
            _ => None,
        }
    }

    /// When a regular file was changed last, Unix seconds.
    pub fn modified_s(&self, path: &str) -> Option<i64> {
        match self.files.get(path) {
            Some(Found::File { modified_s, .. }) => Some(*modified_s),
            _ => None,
        }
    }

    /// A unit; all empty where the host does not know it.
    pub fn unit(&self, name: &str) -> Unit {
        self.units.get(name).cloned().unwrap_or_default()
    }

    /// Whether root has CAP_SYS_RESOURCE.
    pub fn may_lower_oom_score(&self) -> bool {
        self.capabilities & CAP_SYS_RESOURCE != 0
    }

    /// How far the host's clock is ahead, in milliseconds.
    pub fn clock_ahead_ms(&self) -> Option<i64> {
        Some(self.clock?.as_millisecond() - self.asked_at?.as_millisecond())
    }

    /// Reads what the script printed.
    pub fn parse(text: &str) -> Self {
        let mut facts = Self { cgroup: 1, ..Self::default() };
        for line in text.lines() {
            if let Some((key, value)) = line.split_once('\t') {
                facts.read(key, value);
            }
        }
        facts
    }

    fn read(&mut self, key: &str, value: &str) {
        let text = || value.to_owned();
        match key {
            "clock" => self.clock = clock(value),
            "uid" => self.uid = value.parse().ok(),
            "arch" => self.arch = text(),
            "kernel" => self.kernel = text(),
            "hostname" => self.hostname = text(),
            "hostname-file" => self.hostname_file = text(),
            "os-id" => self.os_id = text(),
            "os-version" => self.os_version = text(),
            "os-like" => self.os_like = text(),
            "os-name" => self.os_name = text(),
            "systemd" => self.systemd = true,
            "package-manager" => self.package_manager = Some(text()),
            "tool" => _ = self.tools.insert(text()),
            "cgroup" => self.cgroup = value.parse().unwrap_or(1),
            "capabilities" => self.capabilities = u64::from_str_radix(value, 16).unwrap_or(0),
            "address" => self.address = value.parse().ok(),
            "local-address" => self.local_addresses.extend(value.parse::<Ipv4Addr>().ok()),
            "memory-kib" => self.memory_kib = value.parse().unwrap_or(0),
            "swap" => self.swaps.push(text()),
            "fstab-swap" => self.fstab_swaps.push(text()),
            "selinux" => self.selinux = Some(text()),
            "selinux-lacks" => self.selinux_lacks.push(text()),
            "original" => _ = self.originals.insert(text()),
            "joined" => self.joined = true,
            "agent-certificate" => self.joined_as = pki::node_of(&value.replace('|', "\n")),
            "hosts" => self.hosts_block.push(text()),
            "ufw-enabled" => self.ufw_enabled = true,
            "ufw-rule" => _ = self.ufw_rules.insert(text()),
            "server-state" => self.server_state = true,
            "ufw-services" => self.ufw_services.push(text()),
            "cluster-name" => self.cluster_name = Some(text()),
            "ca" => self.ca_pem = Some(value.replace('|', "\n")),
            "pki" => self.pki_due = serde_json::from_str(value).ok(),
            "cluster" => self.cluster = serde_json::from_str(value).ok(),
            "end" => self.complete = true,
            _ => self.read_columns(key, &value.split('\t').collect::<Vec<_>>()),
        }
    }

    fn read_columns(&mut self, key: &str, columns: &[&str]) {
        match (key, columns) {
            ("server-config", [key, value]) => self.server_config.read(key, value),
            ("agent-config", [key, value]) => self.agent_config.read(key, value),
            ("disk-free-kib", [dir, free]) => {
                self.disk_free_kib.extend(free.parse().ok().map(|free| ((*dir).to_owned(), free)));
            }
            ("module", [name, state]) => {
                let state = match *state {
                    "present" => Module::Present,
                    "loadable" => Module::Loadable,
                    _ => Module::Missing,
                };
                self.modules.insert((*name).to_owned(), state);
            }
            ("sysctl", [name, value, state]) => {
                let value = (*state != "missing").then(|| value.to_string());
                self.sysctls.insert((*name).to_owned(), Sysctl { value, writable: *state == "writable" });
            }
            ("link", [path, to]) => _ = self.files.insert((*path).to_owned(), Found::Link((*to).to_owned())),
            ("file", [path, sha256, mode, modified]) => {
                let found = Found::File {
                    sha256: (*sha256).to_owned(),
                    mode: u32::from_str_radix(mode, 8).unwrap_or(0),
                    modified_s: modified.parse().unwrap_or(0),
                };
                self.files.insert((*path).to_owned(), found);
            }
            ("unit", [name, active, enabled, since, restarts]) => {
                let unit = Unit {
                    active: (*active).to_owned(),
                    enabled: (*enabled).to_owned(),
                    since_s: since.parse().unwrap_or(0),
                    restarts: restarts.parse().unwrap_or(0),
                };
                self.units.insert((*name).to_owned(), unit);
            }
            ("listens", [protocol, port, who]) => {
                if let Ok(port) = port.parse() {
                    self.listeners.insert(((*protocol).to_owned(), port), (*who).to_owned());
                }
            }
            ("nft-chain", [family, table, chain, hook, refuses, opened]) => self.nft_chains.push(NftChain {
                family: (*family).to_owned(),
                table: (*table).to_owned(),
                chain: (*chain).to_owned(),
                hook: (*hook).to_owned(),
                refuses: *refuses == "yes",
                opened: *opened == "yes",
            }),
            // A newer or older script may say more than is understood here.
            _ => {}
        }
    }
}

/// `SECONDS.NANOSECONDS`, or `SECONDS.%N` from a `date` that knows no nanoseconds.
fn clock(text: &str) -> Option<Timestamp> {
    let (seconds, rest) = text.split_once('.').unwrap_or((text, ""));
    let milliseconds: u16 = rest.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let seconds: i64 = seconds.parse().ok()?;
    Timestamp::from_millisecond(seconds.checked_mul(1000)?.checked_add(i64::from(milliseconds))?).ok()
}
