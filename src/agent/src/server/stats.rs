//! Figures of node, pods and containers, read from cgroups: what `kubectl top` and autoscalers live on.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde::Serialize;

use crate::cgroup::Cgroups;
use crate::machine::meminfo;
use crate::pod::identity::PodRef;
use crate::pod::observed::Phase;
use crate::pod::resources::qos;
use crate::pod::worker::Worker;
use crate::pods::Pods;

/// Cgroups whose last figures are remembered for rates.
const REMEMBERED_MAX: usize = 4096;
/// A rate over less time says nothing.
const RATE_MIN_NS: i128 = 100_000_000;

/// `/stats/summary`.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The node.
    pub node: NodeStats,
    /// Its pods.
    pub pods: Vec<PodStats>,
}

/// Figures of the node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStats {
    /// The node's name.
    pub node_name: String,
    /// When the machine was started.
    pub start_time: Timestamp,
    /// Processor.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// The disk that pods use.
    pub fs: Disk,
}

/// Figures of a pod.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStats {
    /// Which pod.
    pub pod_ref: Reference,
    /// When it was started.
    pub start_time: Timestamp,
    /// Its running containers.
    pub containers: Vec<ContainerStats>,
    /// Processor of all together.
    pub cpu: Cpu,
    /// Memory of all together.
    pub memory: Memory,
    /// Its network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
}

/// Which pod.
#[derive(Debug, Serialize)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
}

/// Figures of a container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStats {
    /// Its name.
    pub name: String,
    /// When it was started.
    pub start_time: Timestamp,
    /// Processor.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
}

/// Use of processors.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cpu {
    /// When it was read.
    pub time: Timestamp,
    /// Billionths of a processor since the last reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_nano_cores: Option<u64>,
    /// Nanoseconds since the start.
    pub usage_core_nano_seconds: u64,
}

/// Use of memory.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// When it was read.
    pub time: Timestamp,
    /// All.
    pub usage_bytes: u64,
    /// Without what the kernel can drop at once.
    pub working_set_bytes: u64,
    /// Of processes alone.
    pub rss_bytes: u64,
    /// What could still be used; for the node alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
}

/// Use of a disk.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// When it was read.
    pub time: Timestamp,
    /// Free for use.
    pub available_bytes: u64,
    /// All.
    pub capacity_bytes: u64,
    /// In use.
    pub used_bytes: u64,
}

/// Traffic of a pod's network.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The link's name.
    pub name: String,
    /// Received.
    pub rx_bytes: u64,
    /// Received with errors.
    pub rx_errors: u64,
    /// Sent.
    pub tx_bytes: u64,
    /// Sent with errors.
    pub tx_errors: u64,
}

/// Reads figures and remembers the last ones for rates.
pub struct Stats {
    pods: Pods,
    last: Mutex<HashMap<String, (Timestamp, u64)>>,
}

impl Stats {
    /// Of these pods.
    pub fn new(pods: Pods) -> Self {
        Self { pods, last: Mutex::default() }
    }

    /// The figures now.
    pub fn summary(&self) -> Summary {
        let now = Timestamp::now();
        let mut pods: Vec<PodStats> = self.pods.workers().iter().filter_map(|worker| self.pod(worker, now)).collect();
        pods.sort_by(|a, b| (&a.pod_ref.namespace, &a.pod_ref.name).cmp(&(&b.pod_ref.namespace, &b.pod_ref.name)));
        Summary { node: self.node(now), pods }
    }

    fn node(&self, now: Timestamp) -> NodeStats {
        let config = &self.pods.host().config;
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let stat = text("/proc/stat");
        let memory = text("/proc/meminfo");
        let bytes = |name: &str| meminfo(&memory, name).and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
        let (total, available) = (bytes("MemTotal"), bytes("MemAvailable"));
        let usage = total.saturating_sub(bytes("MemFree"));
        let disk = nix::sys::statvfs::statvfs(&config.kubelet_dir).or_else(|_| nix::sys::statvfs::statvfs("/")).ok();
        let (capacity, free) = disk.map_or((0, 0), |disk| {
            (disk.blocks() * disk.fragment_size(), disk.blocks_available() * disk.fragment_size())
        });
        NodeStats {
            node_name: config.node_name.clone(),
            start_time: boot_time(&stat),
            cpu: self.cpu("/", now, busy_ns(&stat)),
            memory: Memory {
                time: now,
                usage_bytes: usage,
                working_set_bytes: total.saturating_sub(available),
                rss_bytes: bytes("AnonPages"),
                available_bytes: Some(available),
            },
            fs: Disk {
                time: now,
                available_bytes: free,
                capacity_bytes: capacity,
                used_bytes: capacity.saturating_sub(free),
            },
        }
    }

    fn pod(&self, worker: &Arc<Worker>, now: Timestamp) -> Option<PodStats> {
        let (pod, observed) = (worker.pod(), worker.observed());
        let sandbox = observed.ready_sandbox()?;
        let cgroups = &self.pods.host().cgroups;
        let reference = PodRef::of(&pod);
        let path = cgroups.path(qos(&pod), Some(&reference.uid));
        let mut containers = Vec::new();
        for instance in observed.containers.iter().filter(|instance| instance.phase == Phase::Running) {
            let Some(own) = container_path(cgroups, &path, &instance.id) else { continue };
            let Some((cpu, memory)) = self.figures(cgroups, &own, now) else { continue };
            let start_time = instance.started_at().unwrap_or(now);
            containers.push(ContainerStats { name: instance.name.clone(), start_time, cpu, memory });
        }
        let (cpu, memory) = self.figures(cgroups, &path, now)?;
        let start_time = worker.status().and_then(|status| status.start_time).map_or(now, |time| time.0);
        let network = (!sandbox.host_network).then(|| network(cgroups, &path, &sandbox.id)).flatten();
        let Reference { name, namespace, uid } =
            Reference { name: reference.name, namespace: reference.namespace, uid: reference.uid };
        Some(PodStats { pod_ref: Reference { name, namespace, uid }, start_time, containers, cpu, memory, network })
    }

    fn figures(&self, cgroups: &Cgroups, path: &str, now: Timestamp) -> Option<(Cpu, Memory)> {
        let read =
            |controller: &str, file: &str| std::fs::read_to_string(cgroups.folder(controller, path).join(file)).ok();
        let (usage_ns, memory) = if cgroups.is_unified() {
            let usage = field(&read("cpu", "cpu.stat")?, "usage_usec")? * 1000;
            let stat = read("memory", "memory.stat").unwrap_or_default();
            (usage, (read("memory", "memory.current"), field(&stat, "inactive_file"), field(&stat, "anon")))
        } else {
            let usage = read("cpuacct", "cpuacct.usage")?.trim().parse().ok()?;
            let stat = read("memory", "memory.stat").unwrap_or_default();
            (
                usage,
                (
                    read("memory", "memory.usage_in_bytes"),
                    field(&stat, "total_inactive_file"),
                    field(&stat, "total_rss"),
                ),
            )
        };
        let (usage, inactive, rss) = memory;
        let usage_bytes = usage.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
        let working_set_bytes = usage_bytes.saturating_sub(inactive.unwrap_or(0));
        let memory =
            Memory { time: now, usage_bytes, working_set_bytes, rss_bytes: rss.unwrap_or(0), available_bytes: None };
        Some((self.cpu(path, now, usage_ns), memory))
    }

    fn cpu(&self, key: &str, now: Timestamp, usage_ns: u64) -> Cpu {
        let mut last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let before = last.get(key).copied();
        let rate = before.and_then(|before| rate(before, (now, usage_ns)));
        if last.len() >= REMEMBERED_MAX {
            last.clear();
        }
        last.insert(key.to_string(), (now, usage_ns));
        Cpu { time: now, usage_nano_cores: rate, usage_core_nano_seconds: usage_ns }
    }
}

/// Nanoseconds of use per second between two readings.
fn rate(before: (Timestamp, u64), now: (Timestamp, u64)) -> Option<u64> {
    let elapsed = now.0.as_nanosecond() - before.0.as_nanosecond();
    if elapsed < RATE_MIN_NS {
        return None;
    }
    let used = i128::from(now.1.checked_sub(before.1)?);
    u64::try_from(used * 1_000_000_000 / elapsed).ok()
}

/// The number behind a name in a file of `name number` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// A container's cgroup: named by its id, or by systemd's name for it.
fn container_path(cgroups: &Cgroups, pod: &str, id: &str) -> Option<String> {
    let names = [id.to_string(), format!("cri-containerd-{id}.scope"), format!("crio-{id}.scope")];
    names.into_iter().map(|name| format!("{pod}/{name}")).find(|path| cgroups.folder("memory", path).is_dir())
}

/// All processors' busy time, from the first line of `/proc/stat`, in nanoseconds.
fn busy_ns(stat: &str) -> u64 {
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, then idle and waiting, which are left out, then interrupts and what was stolen.
    let busy: u64 =
        ticks.iter().enumerate().filter(|(index, _)| !matches!(index, 3 | 4 | 8 | 9)).map(|(_, ticks)| ticks).sum();
    busy * 10_000_000
}

fn boot_time(stat: &str) -> Timestamp {
    let seconds = field(stat, "btime").and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The traffic of a sandbox, seen through one of its processes.
fn network(cgroups: &Cgroups, pod: &str, sandbox: &str) -> Option<Network> {
    let path = container_path(cgroups, pod, sandbox)?;
    let processes = std::fs::read_to_string(cgroups.folder("memory", &path).join("cgroup.procs")).ok()?;
    let process = processes.lines().next()?;
    traffic(&std::fs::read_to_string(Path::new("/proc").join(process).join("net/dev")).ok()?)
}

/// The first link that is not the loopback in `/proc/net/dev`.
fn traffic(text: &str) -> Option<Network> {
    text.lines().skip(2).find_map(|line| {
        let (name, figures) = line.split_once(':')?;
        let name = name.trim();
        if name == "lo" {
            return None;
        }
        let figures: Vec<u64> = figures.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
        let at = |index: usize| figures.get(index).copied().unwrap_or(0);
        Some(Network { name: name.into(), rx_bytes: at(0), rx_errors: at(2), tx_bytes: at(8), tx_errors: at(10) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_use_over_time() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        assert_eq!(rate((at(0), 0), (at(2), 1_000_000_000)), Some(500_000_000));
        assert_eq!(rate((at(0), 0), (at(0), 5)), None);
        assert_eq!(rate((at(0), 9), (at(1), 5)), None);
    }

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(field("usage_usec 12\nuser_usec 3\n", "usage_usec"), Some(12));
        assert_eq!(field("inactive_file_x 1\ninactive_file 7\n", "inactive_file"), Some(7));
        assert_eq!(busy_ns("cpu  1 2 3 100 50 4 5 6 0 0\ncpu0 1"), (1 + 2 + 3 + 4 + 5 + 6) * 10_000_000);
        let dev = "Inter-| x\n face | y\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 1 2 0 0 0 0 0 20 1 3 0 0 0 0 0\n";
        assert_eq!(
            traffic(dev),
            Some(Network { name: "eth0".into(), rx_bytes: 10, rx_errors: 2, tx_bytes: 20, tx_errors: 3 })
        );
    }
}
