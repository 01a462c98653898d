//! What the runtime has of one pod.

use std::collections::HashMap;

use cri::v1;
use jiff::Timestamp;

use super::identity;

/// A pod's sandboxes and containers, the newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// The newest first.
    pub sandboxes: Vec<Sandbox>,
    /// The newest first; of each container name there may be several, from former runs.
    pub containers: Vec<Instance>,
}

/// A sandbox in the runtime.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sandbox {
    /// The runtime's id.
    pub id: String,
    /// Its pause process runs and its network is up.
    pub ready: bool,
    /// Counts the sandboxes of a pod from 0.
    pub attempt: u32,
    /// Nanoseconds since 1970.
    pub created_at_ns: i64,
    /// The pod's addresses; empty with the host's network.
    pub ips: Vec<String>,
    /// Uses the host's network.
    pub host_network: bool,
}

/// Where a container stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Made and not started.
    Created,
    /// Its process runs.
    Running,
    /// Its process has ended.
    Exited,
    /// The runtime does not know.
    #[default]
    Unknown,
}

/// One run of a container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Instance {
    /// The runtime's id.
    pub id: String,
    /// The container's name in the pod.
    pub name: String,
    /// The sandbox it lives in.
    pub sandbox_id: String,
    /// Where it stands.
    pub phase: Phase,
    /// Nanoseconds since 1970.
    pub created_at_ns: i64,
    /// Nanoseconds since 1970; 0 before the start.
    pub started_at_ns: i64,
    /// Nanoseconds since 1970; 0 before the end.
    pub finished_at_ns: i64,
    /// What the process ended with.
    pub exit_code: i32,
    /// The runtime's: `Completed`, `Error`, `OOMKilled`.
    pub reason: String,
    /// The runtime's, with the container's last words once they are read.
    pub message: String,
    /// The image as it was asked for.
    pub image: String,
    /// The image's digest reference, else its id.
    pub image_id: String,
    /// Of the container's definition it was made from.
    pub hash: String,
    /// How many runs there were before.
    pub restart_count: u32,
    /// Where its log is.
    pub log_path: String,
    /// Where it leaves its last words: path on the host and policy.
    pub termination: Option<(String, String)>,
}

impl Instance {
    /// When it ended.
    pub fn finished_at(&self) -> Option<Timestamp> {
        (self.finished_at_ns > 0).then(|| Timestamp::from_nanosecond(i128::from(self.finished_at_ns)).ok()).flatten()
    }

    /// When it began.
    pub fn started_at(&self) -> Option<Timestamp> {
        (self.started_at_ns > 0).then(|| Timestamp::from_nanosecond(i128::from(self.started_at_ns)).ok()).flatten()
    }
}

impl Observed {
    /// The newest sandbox, where it is ready.
    pub fn ready_sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first().filter(|sandbox| sandbox.ready)
    }

    /// The newest run of a container.
    pub fn latest(&self, name: &str) -> Option<&Instance> {
        self.containers.iter().find(|instance| instance.name == name)
    }

    /// The run before the newest.
    pub fn previous(&self, name: &str) -> Option<&Instance> {
        self.containers.iter().filter(|instance| instance.name == name).nth(1)
    }

    /// The newest run of a container in a sandbox.
    pub fn latest_in(&self, name: &str, sandbox_id: &str) -> Option<&Instance> {
        self.containers.iter().find(|instance| instance.name == name && instance.sandbox_id == sandbox_id)
    }

    /// True where nothing of the pod is alive.
    pub fn is_stopped(&self) -> bool {
        self.sandboxes.iter().all(|sandbox| !sandbox.ready)
            && self.containers.iter().all(|instance| instance.phase != Phase::Running)
    }

    /// Brings everything into order, the newest first.
    pub fn sort(&mut self) {
        self.sandboxes.sort_by(|a, b| (b.created_at_ns, &b.id).cmp(&(a.created_at_ns, &a.id)));
        self.containers.sort_by(|a, b| (b.created_at_ns, &b.id).cmp(&(a.created_at_ns, &a.id)));
    }
}

/// A sandbox as the runtime's status tells it.
pub fn sandbox(status: &v1::PodSandboxStatus) -> Sandbox {
    let mut ips = Vec::new();
    if let Some(network) = &status.network {
        ips.extend((!network.ip.is_empty()).then(|| network.ip.clone()));
        ips.extend(network.additional_ips.iter().map(|address| address.ip.clone()));
    }
    let namespaces = status.linux.as_ref().and_then(|linux| linux.namespaces.as_ref());
    let network = namespaces.and_then(|namespaces| namespaces.options.as_ref()).map(|options| options.network());
    Sandbox {
        id: status.id.clone(),
        ready: status.state() == v1::PodSandboxState::SandboxReady,
        attempt: status.metadata.as_ref().map_or(0, |metadata| metadata.attempt),
        created_at_ns: status.created_at,
        ips,
        host_network: network == Some(v1::NamespaceMode::Node),
    }
}

/// A container as the runtime's status tells it; `sandbox_id` is from the list, which alone has it.
pub fn instance(status: &v1::ContainerStatus, sandbox_id: &str) -> Instance {
    let annotation = |name: &str| status.annotations.get(name).cloned();
    let wanted = status.image.as_ref().map(|image| image.image.clone()).unwrap_or_default();
    Instance {
        id: status.id.clone(),
        name: container_name(&status.labels, status.metadata.as_ref()),
        sandbox_id: sandbox_id.to_string(),
        phase: phase(status.state()),
        created_at_ns: status.created_at,
        started_at_ns: status.started_at,
        finished_at_ns: status.finished_at,
        exit_code: status.exit_code,
        reason: status.reason.clone(),
        message: status.message.clone(),
        image: wanted,
        image_id: status.image_ref.clone(),
        hash: annotation(identity::HASH).unwrap_or_default(),
        restart_count: annotation(identity::RESTART_COUNT).and_then(|count| count.parse().ok()).unwrap_or(0),
        log_path: status.log_path.clone(),
        termination: termination(status),
    }
}

fn termination(status: &v1::ContainerStatus) -> Option<(String, String)> {
    let path = status.annotations.get(identity::TERMINATION_PATH)?;
    let mount = status.mounts.iter().find(|mount| &mount.container_path == path)?;
    let policy = status.annotations.get(identity::TERMINATION_POLICY).cloned().unwrap_or_else(|| "File".into());
    Some((mount.host_path.clone(), policy))
}

/// The runtime's state as ours.
pub fn phase(state: v1::ContainerState) -> Phase {
    match state {
        v1::ContainerState::ContainerCreated => Phase::Created,
        v1::ContainerState::ContainerRunning => Phase::Running,
        v1::ContainerState::ContainerExited => Phase::Exited,
        v1::ContainerState::ContainerUnknown => Phase::Unknown,
    }
}

fn container_name(labels: &HashMap<String, String>, metadata: Option<&v1::ContainerMetadata>) -> String {
    match labels.get(identity::CONTAINER_NAME) {
        Some(name) => name.clone(),
        None => metadata.map(|metadata| metadata.name.clone()).unwrap_or_default(),
    }
}
