//! Hosts: ranges expanded, settings inherited, conflicts found.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::{checked, duration, secret};
use crate::cluster::{Agent, Become, Escalation, Host, HostKeyPolicy, HostKeys, Prepare, Role, Ssh, State, Taint};
use crate::error::{Place, Problems};
use crate::file::{AgentFile, BecomeFile, HostFile, HostSettings, PrepareFile, SpecFile, SshFile};
use crate::secret::expand_path;
use crate::yaml::{At, suggest};
use crate::{check, hostlist};

/// What one cluster is tried with; more is a slip in a range.
const MAX_HOSTS: usize = 5000;
/// kubelet's.
const DEFAULT_GC_PERCENT: u16 = 85;
/// Collection ends five below it.
const MIN_GC_PERCENT: u16 = 10;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The least that lets a slow host answer at all.
const MIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn resolve(spec: &SpecFile, directory: &Path, problems: &mut Problems) -> Vec<Host> {
    if spec.hosts.value.is_empty() {
        problems.add(spec.hosts.place, "there is no host; give at least one with an `address`");
    }
    let alone = spec.hosts.value.len() == 1 && !spec.hosts.value[0].address.value.contains('[');
    let mut hosts: Vec<Host> = Vec::new();
    let mut seen = Seen::default();
    for entry in &spec.hosts.value {
        let settings = inherit(spec, entry, problems);
        let default_role = if alone { Role::Single } else { Role::Worker };
        for one in expand(entry, problems) {
            if hosts.len() == MAX_HOSTS {
                problems.add(entry.address.place, format!("there are more than {MAX_HOSTS} hosts"));
                return hosts;
            }
            let host = host(entry, &settings, one, default_role, directory, problems);
            seen.check(entry, &host, problems);
            hosts.push(host);
        }
    }
    hosts
}

/// Names and addresses that are taken already.
#[derive(Default)]
struct Seen {
    names: BTreeMap<String, Place>,
    ssh_targets: BTreeMap<(String, u16), String>,
    node_ips: BTreeMap<IpAddr, String>,
}

impl Seen {
    fn check(&mut self, entry: &HostFile, host: &Host, problems: &mut Problems) {
        let name_place = entry.name.as_ref().map_or(entry.address.place, |name| name.place);
        if let Some(first) = self.names.insert(host.name.clone(), name_place) {
            let message = format!("the name `{}` is taken by the host of line {}", host.name, first.line);
            problems.add(name_place, message);
        }
        let target = (host.address.clone(), host.ssh.port.unwrap_or(22));
        if let Some(other) = self.ssh_targets.insert(target, host.name.clone()) {
            problems.add(entry.address.place, format!("the host `{other}` has the address `{}` too", host.address));
        } else if let Some(address) = host.node_ip()
            && let Some(other) = self.node_ips.insert(address, host.name.clone())
        {
            let place = entry.private_address.as_ref().map_or(entry.address.place, |at| at.place);
            problems.add(place, format!("the host `{other}` has the address `{address}` too"));
        }
    }
}

/// Name, address and private address of one host of an entry.
struct One {
    name: String,
    address: String,
    private_address: Option<String>,
}

fn expand(entry: &HostFile, problems: &mut Problems) -> Vec<One> {
    let mut list = |at: &At<String>| match hostlist::expand(&at.value) {
        Ok(all) => all,
        Err(message) => {
            problems.add(at.place, message);
            Vec::new()
        }
    };
    let addresses = list(&entry.address);
    let names = entry.name.as_ref().map(&mut list);
    let private = entry.private_address.as_ref().map(&mut list);
    let lengths = [(&names, &entry.name, "name"), (&private, &entry.private_address, "privateAddress")];
    for (all, at, key) in lengths {
        if let (Some(all), Some(at)) = (all, at)
            && !all.is_empty()
            && !addresses.is_empty()
            && all.len() != addresses.len()
        {
            let message = format!("{key} stands for {} hosts, address for {}", all.len(), addresses.len());
            problems.add(at.place, message);
            return Vec::new();
        }
    }
    let name_of = |index: usize, address: &str| match &names {
        Some(names) => names.get(index).cloned(),
        None => Some(name_from(address)),
    };
    addresses
        .iter()
        .enumerate()
        .filter_map(|(index, address)| {
            let private_address = match &private {
                Some(all) => Some(all.get(index)?.clone()),
                None => None,
            };
            Some(One { name: name_of(index, address)?, address: address.clone(), private_address })
        })
        .collect()
}

/// A node name for a host that has none: the first label of a DNS name, `host-10-0-0-5` for an IP address.
fn name_from(address: &str) -> String {
    if address.parse::<IpAddr>().is_ok() {
        return format!("host-{}", address.replace(['.', ':'], "-").trim_matches('-'));
    }
    address.split('.').next().unwrap_or(address).to_ascii_lowercase()
}

/// defaults < groups in their order < host.
fn inherit(spec: &SpecFile, entry: &HostFile, problems: &mut Problems) -> HostSettings {
    let mut settings = spec.defaults.clone();
    for group in &entry.groups {
        match spec.groups.get(&group.value) {
            Some(over) => lay_over(&mut settings, over),
            None => {
                let hint = suggest(&group.value, spec.groups.keys().map(String::as_str));
                problems.add(group.place, format!("there is no group `{}`; {hint}", group.value));
            }
        }
    }
    let own = HostSettings {
        labels: entry.labels.clone(),
        taints: entry.taints.clone(),
        ssh: entry.ssh.clone(),
        r#become: entry.r#become.clone(),
        prepare: entry.prepare.clone(),
        agent: entry.agent.clone(),
    };
    lay_over(&mut settings, &own);
    settings
}

fn lay_over(base: &mut HostSettings, over: &HostSettings) {
    base.labels.extend(over.labels.clone());
    base.taints.extend(over.taints.iter().cloned());
    let (ssh, keys) = (&mut base.ssh, &over.ssh.host_keys);
    set(&mut ssh.user, &over.ssh.user);
    set(&mut ssh.port, &over.ssh.port);
    set(&mut ssh.identity_file, &over.ssh.identity_file);
    set(&mut ssh.passphrase, &over.ssh.passphrase);
    set(&mut ssh.password, &over.ssh.password);
    set(&mut ssh.connect_timeout, &over.ssh.connect_timeout);
    set(&mut ssh.host_keys.policy, &keys.policy);
    set(&mut ssh.host_keys.file, &keys.file);
    if !keys.fingerprints.is_empty() {
        ssh.host_keys.fingerprints.clone_from(&keys.fingerprints);
    }
    set(&mut base.r#become.method, &over.r#become.method);
    set(&mut base.r#become.password, &over.r#become.password);
    base.agent.eviction_hard.extend(over.agent.eviction_hard.clone());
    set(&mut base.agent.image_gc_high_threshold_percent, &over.agent.image_gc_high_threshold_percent);
    let (prepare, over) = (&mut base.prepare, &over.prepare);
    set(&mut prepare.swap, &over.swap);
    set(&mut prepare.firewall, &over.firewall);
    set(&mut prepare.sysctl, &over.sysctl);
    set(&mut prepare.modules, &over.modules);
    set(&mut prepare.hostname, &over.hostname);
    set(&mut prepare.hosts, &over.hosts);
    set(&mut prepare.runtime, &over.runtime);
}

fn set<T: Clone>(base: &mut Option<T>, over: &Option<T>) {
    if over.is_some() {
        base.clone_from(over);
    }
}

fn host(
    entry: &HostFile,
    settings: &HostSettings,
    one: One,
    default_role: Role,
    directory: &Path,
    problems: &mut Problems,
) -> Host {
    let name_place = entry.name.as_ref().map_or(entry.address.place, |name| name.place);
    if let Err(message) = check::dns_name(&one.name) {
        problems.add(name_place, message);
    }
    if let Err(message) = check::host_or_ip(&one.address) {
        problems.add(entry.address.place, message);
    }
    let private_address = one.private_address.and_then(|text| {
        let place = entry.private_address.as_ref().map(|at| at.place).unwrap_or_default();
        text.parse().map_err(|_| problems.add(place, format!("`{text}` is not an IP address"))).ok()
    });
    let ssh = ssh(&settings.ssh, directory, problems);
    Host {
        name: one.name,
        role: entry.role.as_ref().map_or(default_role, |role| role.value),
        address: one.address,
        private_address,
        labels: labels(&settings.labels, problems),
        taints: taints(&settings.taints, problems),
        r#become: escalation(&settings.r#become, &ssh, directory, problems),
        ssh,
        prepare: prepare(&settings.prepare),
        agent: agent(&settings.agent, problems),
        state: entry.state.unwrap_or(State::Present),
    }
}

fn labels(settings: &BTreeMap<String, At<String>>, problems: &mut Problems) -> BTreeMap<String, String> {
    for (key, value) in settings {
        if let Err(message) = check::qualified_name(key) {
            problems.add(value.place, message);
        }
        if check::is_reserved_label(key) {
            problems.add(value.place, format!("the label `{key}` is set by the node itself"));
        }
    }
    settings.iter().map(|(key, value)| (key.clone(), checked(value, problems, check::label_value))).collect()
}

/// A later taint of the same key and effect replaces an earlier one.
fn taints(settings: &[At<String>], problems: &mut Problems) -> Vec<Taint> {
    let mut taints: Vec<Taint> = Vec::new();
    for at in settings {
        match check::taint(&at.value) {
            Ok(taint) => {
                taints.retain(|other| (&other.key, other.effect) != (&taint.key, taint.effect));
                taints.push(taint);
            }
            Err(message) => problems.add(at.place, message),
        }
    }
    taints.sort();
    taints
}

fn ssh(file: &SshFile, directory: &Path, problems: &mut Problems) -> Ssh {
    let keys = &file.host_keys;
    let fingerprints: Vec<String> = keys.fingerprints.iter().map(|at| at.value.clone()).collect();
    for at in keys.fingerprints.iter().filter(|at| !at.value.starts_with("SHA256:")) {
        problems.add(at.place, "a fingerprint is `SHA256:...`, as `ssh-keygen -l` prints it");
    }
    let policy = match &keys.policy {
        Some(at) => {
            if at.value == HostKeyPolicy::Pinned && fingerprints.is_empty() {
                problems.add(at.place, "policy `pinned` needs `fingerprints`");
            }
            if at.value != HostKeyPolicy::Pinned && !fingerprints.is_empty() {
                problems.add(at.place, "`fingerprints` need the policy `pinned`");
            }
            at.value
        }
        None if fingerprints.is_empty() => HostKeyPolicy::AcceptNew,
        None => HostKeyPolicy::Pinned,
    };
    if let Some(port) = file.port.as_ref().filter(|port| port.value == 0) {
        problems.add(port.place, "0 is not a port");
    }
    Ssh {
        user: file.user.clone(),
        port: file.port.as_ref().map(|port| port.value),
        identity_file: file.identity_file.as_deref().map(|path| expand_path(path, directory)),
        passphrase: secret(&file.passphrase, directory, problems),
        password: secret(&file.password, directory, problems),
        host_keys: HostKeys {
            policy,
            file: keys.file.as_deref().map(|path| expand_path(path, directory)),
            fingerprints,
        },
        connect_timeout: duration(&file.connect_timeout, DEFAULT_CONNECT_TIMEOUT, MIN_CONNECT_TIMEOUT, problems),
    }
}

fn escalation(file: &BecomeFile, ssh: &Ssh, directory: &Path, problems: &mut Problems) -> Become {
    // Where no user is named, ssh_config may name one; sudo is left out where that turns out to be root.
    let is_root = ssh.user.as_deref() == Some("root");
    let method = file.method.unwrap_or(if is_root { Escalation::None } else { Escalation::Sudo });
    Become { method, password: secret(&file.password, directory, problems) }
}

fn agent(file: &AgentFile, problems: &mut Problems) -> Agent {
    for (name, at) in &file.eviction_hard {
        if let Err(message) = machinery::eviction::check(name, &at.value) {
            problems.add(at.place, message);
        }
    }
    let threshold = file.image_gc_high_threshold_percent.as_ref();
    if let Some(at) = threshold.filter(|at| !(MIN_GC_PERCENT..=100).contains(&at.value)) {
        let message = format!("imageGCHighThresholdPercent must be {MIN_GC_PERCENT} to 100");
        problems.add(at.place, message);
    }
    Agent {
        eviction_hard: file.eviction_hard.iter().map(|(name, at)| (name.clone(), at.value.clone())).collect(),
        image_gc_high_threshold_percent: threshold.map_or(DEFAULT_GC_PERCENT, |at| at.value),
    }
}

fn prepare(file: &PrepareFile) -> Prepare {
    Prepare {
        swap: file.swap.unwrap_or(true),
        firewall: file.firewall.unwrap_or(true),
        sysctl: file.sysctl.unwrap_or(true),
        modules: file.modules.unwrap_or(true),
        hostname: file.hostname.unwrap_or(true),
        hosts: file.hosts.unwrap_or(true),
        runtime: file.runtime.unwrap_or(true),
    }
}
