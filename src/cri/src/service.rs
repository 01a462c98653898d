//! The runtime as the agent sees it.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::{Error, v1};

/// An item each time something happened to a container; ends with an error when the runtime goes away. Says neither
/// what happened nor to which: look.
pub type EventStream = BoxStream<'static, Result<(), Error>>;

/// Labels that all must match: name and value.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// What a command printed and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// 0 is success.
    pub exit_code: i32,
}

/// The runtime and image services of the container runtime interface, v1. Each call has a time limit of its own.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Name and version of the runtime.
    async fn version(&self) -> Result<v1::VersionResponse, Error>;
    /// Whether the runtime and its network are ready; `verbose` adds the runtime's own configuration as JSON.
    async fn status(&self, verbose: bool) -> Result<v1::StatusResponse, Error>;
    /// The cgroup driver the runtime wants; `None` where it does not say (older than KEP-4033).
    async fn cgroup_driver(&self) -> Result<Option<v1::CgroupDriver>, Error>;
    /// Tells the runtime the node's pod CIDR.
    async fn update_pod_cidr(&self, pod_cidr: &str) -> Result<(), Error>;

    /// Creates and starts a sandbox; answers its id.
    async fn run_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String, Error>;
    /// Stops what runs in a sandbox and gives its network back. No error where it is stopped or gone.
    async fn stop_sandbox(&self, id: &str) -> Result<(), Error>;
    /// Removes a sandbox and its containers. No error where it is gone.
    async fn remove_sandbox(&self, id: &str) -> Result<(), Error>;
    /// A sandbox's state and addresses.
    async fn sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus, Error>;
    /// The sandboxes that carry these labels; all with an empty selection.
    async fn list_sandboxes(&self, labels: Labels<'_>) -> Result<Vec<v1::PodSandbox>, Error>;

    /// Makes a container in a sandbox; answers its id.
    async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String, Error>;
    /// Starts a created container.
    async fn start_container(&self, id: &str) -> Result<(), Error>;
    /// Sends the stop signal, and SIGKILL after `grace`. No error where it is stopped or gone.
    async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), Error>;
    /// Removes a container. No error where it is gone.
    async fn remove_container(&self, id: &str) -> Result<(), Error>;
    /// A container's state.
    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, Error>;
    /// The containers that carry these labels; all with an empty selection.
    async fn list_containers(&self, labels: Labels<'_>) -> Result<Vec<v1::Container>, Error>;
    /// Makes the runtime open the log file anew after a rotation.
    async fn reopen_container_log(&self, id: &str) -> Result<(), Error>;
    /// Changes the limits of a running container.
    async fn update_container_resources(&self, id: &str, resources: v1::LinuxContainerResources) -> Result<(), Error>;
    /// Events of containers; the first item is an `is_unimplemented` error where the runtime has none.
    fn container_events(&self) -> EventStream;

    /// Runs a command in a container to its end, at most `limit`.
    async fn exec_sync(&self, id: &str, command: Vec<String>, limit: Duration) -> Result<ExecOutput, Error>;
    /// The URL where the runtime serves this command's streams.
    async fn exec(&self, request: v1::ExecRequest) -> Result<String, Error>;
    /// The URL where the runtime serves a container's own streams.
    async fn attach(&self, request: v1::AttachRequest) -> Result<String, Error>;
    /// The URL where the runtime forwards to ports of a sandbox.
    async fn port_forward(&self, sandbox: &str, ports: Vec<i32>) -> Result<String, Error>;

    /// Use of processor, memory and disk of every container.
    async fn list_container_stats(&self) -> Result<Vec<v1::ContainerStats>, Error>;

    /// Every image.
    async fn list_images(&self) -> Result<Vec<v1::Image>, Error>;
    /// One image; `None` where it is not on the node.
    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>, Error>;
    /// Pulls an image; answers its reference. At most `limit`.
    async fn pull_image(&self, image: &str, auth: Option<v1::AuthConfig>, limit: Duration) -> Result<String, Error>;
    /// Removes an image. No error where it is gone.
    async fn remove_image(&self, image: &str) -> Result<(), Error>;
    /// The disks images lie on.
    async fn image_fs_info(&self) -> Result<Vec<v1::FilesystemUsage>, Error>;
}
