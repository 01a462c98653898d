//! A container runtime in memory, for tests of what drives one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use cri::{Error, EventStream, ExecOutput, Labels, v1};
use futures::{StreamExt, stream};
use tokio::sync::mpsc;

use crate::cgroup::{Cgroups, Driver};
use crate::config::Config;
use crate::host::{Events, Host};
use crate::images::Images;
use crate::objects::Standalone;
use crate::selfimage::bring::Brought;
use crate::volumes::Volumes;

/// A node with that runtime whose folders are all below `folder`.
pub fn host(runtime: Arc<FakeRuntime>, folder: &Path) -> Arc<Host> {
    let mut config = Config::for_node("w1");
    config.kubelet_dir = folder.join("kubelet");
    config.pod_logs_dir = folder.join("pods");
    config.container_logs_dir = folder.join("containers");
    std::fs::write(folder.join("cgroup.controllers"), "").unwrap();
    Arc::new(Host {
        runtime: runtime.clone(),
        objects: Arc::new(Standalone),
        events: Events::Log,
        volumes: Volumes::new(&config.kubelet_dir),
        cgroups: Cgroups::at(folder, "/", Driver::Cgroupfs),
        images: Images::new(runtime, Brought::already()),
        host_ips: vec![IpAddr::from([127, 0, 0, 1])],
        allocatable: Default::default(),
        memory_bytes: 1 << 30,
        pressures: Default::default(),
        config,
    })
}

/// See the module. Containers run until [`FakeRuntime::end`] or until they are stopped.
#[derive(Default)]
pub struct FakeRuntime(Mutex<State>);

#[derive(Default)]
struct State {
    next: i64,
    sandboxes: BTreeMap<String, v1::PodSandboxStatus>,
    containers: BTreeMap<String, (String, v1::ContainerStatus)>,
    calls: Vec<String>,
    imported: Vec<String>,
    listeners: Vec<mpsc::UnboundedSender<()>>,
    without_events: bool,
    refuses_stops: bool,
    looks: usize,
    images: Vec<v1::Image>,
    probed: usize,
    hangs_in_pulls: bool,
}

fn matches(labels: &std::collections::HashMap<String, String>, wanted: Labels<'_>) -> bool {
    wanted.iter().all(|(name, value)| labels.get(*name).map(String::as_str) == Some(*value))
}

impl FakeRuntime {
    /// One that tells no events.
    pub fn without_events() -> Self {
        Self(Mutex::new(State { without_events: true, ..State::default() }))
    }

    /// How often all sandboxes were listed.
    pub fn looks(&self) -> usize {
        self.lock().looks
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What was asked of the runtime that changes something, in order.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// From now on nothing is stopped, or stopped again.
    pub fn refuse_stops(&self, refuse: bool) {
        self.lock().refuses_stops = refuse;
    }

    /// Images (ids) of a mebibyte each that are there; the runtime refuses to remove those with `stuck` in their name.
    pub fn have_images(&self, ids: &[&str]) {
        let image = |id: &&str| v1::Image { id: id.to_string(), size: 1 << 20, ..Default::default() };
        self.lock().images = ids.iter().map(image).collect();
    }

    /// How many commands were run in containers.
    pub fn commands(&self) -> usize {
        self.lock().probed
    }

    /// From now on pulls do not end.
    pub fn hang_in_pulls(&self) {
        self.lock().hangs_in_pulls = true;
    }

    /// Ends the running container of that name.
    pub fn end(&self, name: &str, exit_code: i32) {
        let mut state = self.lock();
        let running = v1::ContainerState::ContainerRunning as i32;
        for (_, status) in state.containers.values_mut() {
            if status.metadata.as_ref().unwrap().name == name && status.state == running {
                finish(status, exit_code);
            }
        }
        state.listeners.retain(|listener| listener.send(()).is_ok());
    }

    /// Brings an image; all but those with `missing` in their name are there from the beginning.
    pub fn import(&self, image: &str) {
        self.lock().imported.push(image.to_string());
    }

    fn id(&self, state: &mut State, kind: &str) -> (String, i64) {
        state.next += 1;
        (format!("{kind}{}", state.next), state.next)
    }
}

fn finish(status: &mut v1::ContainerStatus, exit_code: i32) {
    status.state = v1::ContainerState::ContainerExited as i32;
    status.exit_code = exit_code;
    status.finished_at = jiff::Timestamp::now().as_nanosecond() as i64;
}

#[async_trait]
impl cri::Runtime for FakeRuntime {
    async fn version(&self) -> Result<v1::VersionResponse, Error> {
        Ok(v1::VersionResponse::default())
    }
    async fn status(&self, _: bool) -> Result<v1::StatusResponse, Error> {
        Ok(v1::StatusResponse::default())
    }
    async fn cgroup_driver(&self) -> Result<Option<v1::CgroupDriver>, Error> {
        Ok(None)
    }
    async fn update_pod_cidr(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn run_sandbox(&self, config: v1::PodSandboxConfig, _: &str) -> Result<String, Error> {
        let mut state = self.lock();
        let (id, created_at) = self.id(&mut state, "sandbox");
        let status = v1::PodSandboxStatus {
            id: id.clone(),
            metadata: config.metadata,
            state: v1::PodSandboxState::SandboxReady as i32,
            created_at,
            network: Some(v1::PodSandboxNetworkStatus { ip: "10.42.0.9".into(), ..Default::default() }),
            labels: config.labels,
            ..Default::default()
        };
        state.calls.push("run sandbox".into());
        state.sandboxes.insert(id.clone(), status);
        Ok(id)
    }
    async fn stop_sandbox(&self, id: &str) -> Result<(), Error> {
        let mut state = self.lock();
        if let Some(sandbox) = state.sandboxes.get_mut(id) {
            sandbox.state = v1::PodSandboxState::SandboxNotready as i32;
            sandbox.network = None;
        }
        state.calls.push("stop sandbox".into());
        Ok(())
    }
    async fn remove_sandbox(&self, id: &str) -> Result<(), Error> {
        self.lock().sandboxes.remove(id);
        Ok(())
    }
    async fn sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus, Error> {
        let found = self.lock().sandboxes.get(id).cloned();
        found.ok_or(Error::Incomplete { call: "PodSandboxStatus", field: "status" })
    }
    async fn list_sandboxes(&self, labels: Labels<'_>) -> Result<Vec<v1::PodSandbox>, Error> {
        let mut state = self.lock();
        state.looks += usize::from(labels.is_empty());
        let found = state.sandboxes.values().filter(|sandbox| matches(&sandbox.labels, labels));
        Ok(found
            .map(|sandbox| v1::PodSandbox {
                id: sandbox.id.clone(),
                state: sandbox.state,
                labels: sandbox.labels.clone(),
                ..Default::default()
            })
            .collect())
    }

    async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        _: v1::PodSandboxConfig,
    ) -> Result<String, Error> {
        let mut state = self.lock();
        let (id, created_at) = self.id(&mut state, "container");
        let status = v1::ContainerStatus {
            id: id.clone(),
            metadata: config.metadata,
            created_at,
            image: config.image,
            labels: config.labels,
            annotations: config.annotations,
            mounts: config.mounts,
            log_path: config.log_path,
            ..Default::default()
        };
        state.containers.insert(id.clone(), (sandbox.to_string(), status));
        Ok(id)
    }
    async fn start_container(&self, id: &str) -> Result<(), Error> {
        let mut state = self.lock();
        if let Some((_, status)) = state.containers.get_mut(id) {
            status.state = v1::ContainerState::ContainerRunning as i32;
            status.started_at = jiff::Timestamp::now().as_nanosecond() as i64;
            let call = format!("start {}", status.metadata.as_ref().unwrap().name);
            state.calls.push(call);
        }
        Ok(())
    }
    async fn stop_container(&self, id: &str, _: Duration) -> Result<(), Error> {
        let mut state = self.lock();
        if state.refuses_stops {
            state.calls.push("refuse to stop".into());
            return Err(Error::refused("StopContainer", cri::Code::Unknown, "no"));
        }
        if let Some((_, status)) = state.containers.get_mut(id) {
            finish(status, 0);
            let call = format!("stop {}", status.metadata.as_ref().unwrap().name);
            state.calls.push(call);
        }
        Ok(())
    }
    async fn remove_container(&self, id: &str) -> Result<(), Error> {
        self.lock().containers.remove(id);
        Ok(())
    }
    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, Error> {
        let found = self.lock().containers.get(id).map(|(_, status)| status.clone());
        found.ok_or(Error::Incomplete { call: "ContainerStatus", field: "status" })
    }
    async fn list_containers(&self, labels: Labels<'_>) -> Result<Vec<v1::Container>, Error> {
        let state = self.lock();
        let found = state.containers.values().filter(|(_, status)| matches(&status.labels, labels));
        Ok(found
            .map(|(sandbox, status)| v1::Container {
                id: status.id.clone(),
                pod_sandbox_id: sandbox.clone(),
                state: status.state,
                labels: status.labels.clone(),
                annotations: status.annotations.clone(),
                ..Default::default()
            })
            .collect())
    }
    async fn reopen_container_log(&self, id: &str) -> Result<(), Error> {
        let mut state = self.lock();
        let Some((_, status)) = state.containers.get(id) else { return Ok(()) };
        let name = status.metadata.clone().unwrap_or_default().name;
        if name.contains("stuck") {
            return Err(Error::refused("ReopenContainerLog", cri::Code::Unknown, "no"));
        }
        state.calls.push(format!("reopen {name}"));
        Ok(())
    }
    async fn update_container_resources(&self, _: &str, _: v1::LinuxContainerResources) -> Result<(), Error> {
        Ok(())
    }
    fn container_events(&self) -> EventStream {
        let mut state = self.lock();
        if state.without_events {
            return stream::iter([Err(Error::unimplemented("GetContainerEvents"))]).boxed();
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        state.listeners.push(sender);
        stream::unfold(receiver, async |mut receiver| Some((Ok(receiver.recv().await?), receiver))).boxed()
    }

    async fn exec_sync(&self, _: &str, _: Vec<String>, _: Duration) -> Result<ExecOutput, Error> {
        self.lock().probed += 1;
        Ok(ExecOutput::default())
    }
    async fn exec(&self, _: v1::ExecRequest) -> Result<String, Error> {
        Ok(String::new())
    }
    async fn attach(&self, _: v1::AttachRequest) -> Result<String, Error> {
        Ok(String::new())
    }
    async fn port_forward(&self, _: &str, _: Vec<i32>) -> Result<String, Error> {
        Ok(String::new())
    }
    async fn list_container_stats(&self) -> Result<Vec<v1::ContainerStats>, Error> {
        Ok(Vec::new())
    }
    async fn list_images(&self) -> Result<Vec<v1::Image>, Error> {
        Ok(self.lock().images.clone())
    }
    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>, Error> {
        let present = !image.contains("missing") || self.lock().imported.iter().any(|imported| imported == image);
        Ok(present.then(|| v1::Image { id: format!("sha256:{image}"), ..Default::default() }))
    }
    async fn pull_image(&self, _: &str, _: Option<v1::AuthConfig>, limit: Duration) -> Result<String, Error> {
        if self.lock().hangs_in_pulls {
            std::future::pending::<()>().await;
        }
        Err(Error::Timeout { call: "PullImage", limit })
    }
    async fn remove_image(&self, id: &str) -> Result<(), Error> {
        let mut state = self.lock();
        if id.contains("stuck") {
            return Err(Error::refused("RemoveImage", cri::Code::Unknown, "it is in use"));
        }
        state.images.retain(|image| image.id != id);
        state.calls.push(format!("remove image {id}"));
        Ok(())
    }
    async fn image_fs_info(&self) -> Result<Vec<v1::FilesystemUsage>, Error> {
        Ok(Vec::new())
    }
}
