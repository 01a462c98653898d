//! The gRPC implementation over a Unix socket.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::import::socket_path;
use crate::{Error, EventStream, ExecOutput, Labels, Runtime, v1};

/// For calls that read or change state without waiting for processes.
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// A sandbox needs its network, which may wait for addresses.
const SANDBOX_LIMIT: Duration = Duration::from_secs(240);
/// Health questions must not hang the node's status.
const STATUS_LIMIT: Duration = Duration::from_secs(10);
/// What is waited beyond the limit that the runtime itself keeps.
const MARGIN: Duration = Duration::from_secs(10);
/// Answers of a node with many containers are larger than gRPC's default of 4 MiB.
const MESSAGE_MAX_BYTES: usize = 16 * 1024 * 1024;

/// A runtime at the other end of a Unix socket. Connects when needed and again after the runtime was restarted.
#[derive(Clone)]
pub struct Remote {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    channel: Channel,
}

impl Remote {
    /// A client of `endpoint` (`unix:///path`); nothing is connected yet.
    pub fn new(endpoint: &str) -> Result<Self, Error> {
        let path = socket_path(endpoint)?;
        let channel = Endpoint::try_from("http://localhost")
            .map_err(Error::Transport)?
            .connect_timeout(STATUS_LIMIT)
            .connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
            }));
        Ok(Self {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_MAX_BYTES),
            images: ImageServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_MAX_BYTES),
            channel,
        })
    }

    fn runtime(&self) -> RuntimeServiceClient<Channel> {
        self.runtime.clone()
    }

    fn images(&self) -> ImageServiceClient<Channel> {
        self.images.clone()
    }
}

async fn limited<T>(
    call: &'static str,
    limit: Duration,
    answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, answer).await {
        Err(_) => Err(Error::Timeout { call, limit }),
        Ok(Err(status)) => Err(Error::Call { call, status: Box::new(status) }),
        Ok(Ok(response)) => Ok(response.into_inner()),
    }
}

/// The interface counts seconds, and nobody's grace is cut short: 2.99 s are three.
fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}

/// What is gone is as good as stopped or removed.
fn gone_is_fine<T>(result: Result<T, Error>) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

fn selector(labels: Labels<'_>) -> HashMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn image_spec(image: &str) -> Option<v1::ImageSpec> {
    Some(v1::ImageSpec { image: image.to_string(), ..Default::default() })
}

#[async_trait]
impl Runtime for Remote {
    async fn version(&self) -> Result<v1::VersionResponse, Error> {
        let request = v1::VersionRequest { version: "v1".into() };
        limited("Version", STATUS_LIMIT, self.runtime().version(request)).await
    }

    async fn status(&self, verbose: bool) -> Result<v1::StatusResponse, Error> {
        limited("Status", STATUS_LIMIT, self.runtime().status(v1::StatusRequest { verbose })).await
    }

    async fn cgroup_driver(&self) -> Result<Option<v1::CgroupDriver>, Error> {
        match limited("RuntimeConfig", STATUS_LIMIT, self.runtime().runtime_config(v1::RuntimeConfigRequest {})).await {
            Ok(answer) => Ok(answer.linux.map(|linux| linux.cgroup_driver())),
            Err(error) if error.is_unimplemented() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn update_pod_cidr(&self, pod_cidr: &str) -> Result<(), Error> {
        let network_config = Some(v1::NetworkConfig { pod_cidr: pod_cidr.to_string() });
        let request = v1::UpdateRuntimeConfigRequest { runtime_config: Some(v1::RuntimeConfig { network_config }) };
        limited("UpdateRuntimeConfig", CALL_LIMIT, self.runtime().update_runtime_config(request)).await.map(drop)
    }

    async fn run_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String, Error> {
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_string() };
        let answer = limited("RunPodSandbox", SANDBOX_LIMIT, self.runtime().run_pod_sandbox(request)).await?;
        Ok(answer.pod_sandbox_id)
    }

    async fn stop_sandbox(&self, id: &str) -> Result<(), Error> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_string() };
        gone_is_fine(limited("StopPodSandbox", SANDBOX_LIMIT, self.runtime().stop_pod_sandbox(request)).await)
    }

    async fn remove_sandbox(&self, id: &str) -> Result<(), Error> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_string() };
        gone_is_fine(limited("RemovePodSandbox", SANDBOX_LIMIT, self.runtime().remove_pod_sandbox(request)).await)
    }

    async fn sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus, Error> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_string(), verbose: false };
        limited("PodSandboxStatus", CALL_LIMIT, self.runtime().pod_sandbox_status(request))
            .await?
            .status
            .ok_or(Error::Incomplete { call: "PodSandboxStatus", field: "status" })
    }

    async fn list_sandboxes(&self, labels: Labels<'_>) -> Result<Vec<v1::PodSandbox>, Error> {
        let filter = v1::PodSandboxFilter { label_selector: selector(labels), ..Default::default() };
        let request = v1::ListPodSandboxRequest { filter: Some(filter) };
        Ok(limited("ListPodSandbox", CALL_LIMIT, self.runtime().list_pod_sandbox(request)).await?.items)
    }

    async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String, Error> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_string(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        Ok(limited("CreateContainer", CALL_LIMIT, self.runtime().create_container(request)).await?.container_id)
    }

    async fn start_container(&self, id: &str) -> Result<(), Error> {
        let request = v1::StartContainerRequest { container_id: id.to_string() };
        limited("StartContainer", CALL_LIMIT, self.runtime().start_container(request)).await.map(drop)
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), Error> {
        let timeout = whole_seconds(grace);
        let request = v1::StopContainerRequest { container_id: id.to_string(), timeout };
        let limit = grace.saturating_add(CALL_LIMIT);
        gone_is_fine(limited("StopContainer", limit, self.runtime().stop_container(request)).await)
    }

    async fn remove_container(&self, id: &str) -> Result<(), Error> {
        let request = v1::RemoveContainerRequest { container_id: id.to_string() };
        gone_is_fine(limited("RemoveContainer", CALL_LIMIT, self.runtime().remove_container(request)).await)
    }

    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, Error> {
        let request = v1::ContainerStatusRequest { container_id: id.to_string(), verbose: false };
        limited("ContainerStatus", CALL_LIMIT, self.runtime().container_status(request))
            .await?
            .status
            .ok_or(Error::Incomplete { call: "ContainerStatus", field: "status" })
    }

    async fn list_containers(&self, labels: Labels<'_>) -> Result<Vec<v1::Container>, Error> {
        let filter = v1::ContainerFilter { label_selector: selector(labels), ..Default::default() };
        let request = v1::ListContainersRequest { filter: Some(filter) };
        Ok(limited("ListContainers", CALL_LIMIT, self.runtime().list_containers(request)).await?.containers)
    }

    async fn reopen_container_log(&self, id: &str) -> Result<(), Error> {
        let request = v1::ReopenContainerLogRequest { container_id: id.to_string() };
        limited("ReopenContainerLog", CALL_LIMIT, self.runtime().reopen_container_log(request)).await.map(drop)
    }

    async fn update_container_resources(&self, id: &str, resources: v1::LinuxContainerResources) -> Result<(), Error> {
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.to_string(),
            linux: Some(resources),
            ..Default::default()
        };
        limited("UpdateContainerResources", CALL_LIMIT, self.runtime().update_container_resources(request))
            .await
            .map(drop)
    }

    fn container_events(&self) -> EventStream {
        crate::events::open(self.channel.clone())
    }

    async fn exec_sync(&self, id: &str, command: Vec<String>, limit: Duration) -> Result<ExecOutput, Error> {
        let timeout = i64::try_from(limit.as_secs().max(1)).unwrap_or(i64::MAX);
        let request = v1::ExecSyncRequest { container_id: id.to_string(), cmd: command, timeout };
        let limit = limit.saturating_add(MARGIN);
        let answer = limited("ExecSync", limit, self.runtime().exec_sync(request)).await?;
        Ok(ExecOutput { stdout: answer.stdout, stderr: answer.stderr, exit_code: answer.exit_code })
    }

    async fn exec(&self, request: v1::ExecRequest) -> Result<String, Error> {
        Ok(limited("Exec", CALL_LIMIT, self.runtime().exec(request)).await?.url)
    }

    async fn attach(&self, request: v1::AttachRequest) -> Result<String, Error> {
        Ok(limited("Attach", CALL_LIMIT, self.runtime().attach(request)).await?.url)
    }

    async fn port_forward(&self, sandbox: &str, ports: Vec<i32>) -> Result<String, Error> {
        let request = v1::PortForwardRequest { pod_sandbox_id: sandbox.to_string(), port: ports };
        Ok(limited("PortForward", CALL_LIMIT, self.runtime().port_forward(request)).await?.url)
    }

    async fn list_container_stats(&self) -> Result<Vec<v1::ContainerStats>, Error> {
        let request = v1::ListContainerStatsRequest { filter: None };
        Ok(limited("ListContainerStats", CALL_LIMIT, self.runtime().list_container_stats(request)).await?.stats)
    }

    async fn list_images(&self) -> Result<Vec<v1::Image>, Error> {
        let request = v1::ListImagesRequest { filter: None };
        Ok(limited("ListImages", CALL_LIMIT, self.images().list_images(request)).await?.images)
    }

    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>, Error> {
        let request = v1::ImageStatusRequest { image: image_spec(image), verbose: false };
        Ok(limited("ImageStatus", CALL_LIMIT, self.images().image_status(request)).await?.image)
    }

    async fn pull_image(&self, image: &str, auth: Option<v1::AuthConfig>, limit: Duration) -> Result<String, Error> {
        let request = v1::PullImageRequest { image: image_spec(image), auth, sandbox_config: None };
        Ok(limited("PullImage", limit, self.images().pull_image(request)).await?.image_ref)
    }

    async fn remove_image(&self, image: &str) -> Result<(), Error> {
        let request = v1::RemoveImageRequest { image: image_spec(image) };
        gone_is_fine(limited("RemoveImage", CALL_LIMIT, self.images().remove_image(request)).await)
    }

    async fn image_fs_info(&self) -> Result<Vec<v1::FilesystemUsage>, Error> {
        let request = v1::ImageFsInfoRequest {};
        Ok(limited("ImageFsInfo", CALL_LIMIT, self.images().image_fs_info(request)).await?.image_filesystems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_grace_is_cut_short() {
        let of = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!([of(0), of(1), of(2999), of(3000), of(3001)], [0, 1, 3, 3, 4]);
    }
}
