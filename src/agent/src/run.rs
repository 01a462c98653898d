//! The agent as a whole: what is started in which order, and how it ends.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use client::events::Recorder;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio_util::sync::CancellationToken;

use crate::balancer::Balancer;
use crate::bootstrap::Identity;
use crate::cgroup::{Cgroups, Driver};
use crate::config::Config;
use crate::eviction::Evictor;
use crate::host::{Events, Host};
use crate::images::Images;
use crate::machine::{self, Machine};
use crate::node::Keeper;
use crate::objects::api::ApiObjects;
use crate::objects::{Objects, Standalone};
use crate::pods::{Pods, Sink};
use crate::selfimage::bring;
use crate::source::{Statics, follow_api, keep_mirrors};
use crate::statuses::Statuses;
use crate::volumes::Volumes;
use crate::{Error, connection};

/// How long the runtime is waited for before its absence is told again.
const RUNTIME_RETRY: Duration = Duration::from_secs(2);

/// An agent that has joined its cluster and is about to run.
pub struct Agent {
    config: Config,
    addresses: Vec<IpAddr>,
    joined: Option<Joined>,
    shutdown: CancellationToken,
}

struct Joined {
    identity: Arc<Identity>,
    context: client::Context,
    ca_pem: String,
}

impl Agent {
    /// Joins the cluster of the configuration, or of none where it names no servers. Waits as long as it takes;
    /// `None` where `shutdown` came first.
    pub async fn join(config: Config, shutdown: CancellationToken) -> Result<Option<Self>, Error> {
        let address = config.node_ip.or_else(machine::default_address);
        let address = address.ok_or_else(|| Error::Setting {
            message: "the machine has no default route to find its address by: set nodeIP".into(),
        })?;
        let addresses = vec![address];
        let identity = Arc::new(Identity::new(&config, &addresses)?);
        if config.servers.is_empty() {
            return Ok(Some(Self { config, addresses, joined: None, shutdown }));
        }
        let ca_pem = std::fs::read_to_string(&config.ca_file).map_err(Error::file("read", &config.ca_file))?;
        let listener = Balancer::listen(config.balancer_address).await?;
        let url = format!("https://{}", listener.local_addr().unwrap_or(config.balancer_address));
        tokio::spawn(Balancer::new(&config.servers).run(listener, shutdown.clone()));
        if !identity.join(&config, &url, &ca_pem, &shutdown).await? {
            return Ok(None);
        }
        let client = connection::client(&url, &ca_pem, identity.client.clone())?;
        let context = client::Context::new(client, shutdown.clone());
        Ok(Some(Self { config, addresses, joined: Some(Joined { identity, context, ca_pem }), shutdown }))
    }

    /// What other components in this process may use; `None` on a node without API servers.
    pub fn context(&self) -> Option<client::Context> {
        self.joined.as_ref().map(|joined| joined.context.clone())
    }

    /// Runs pods until the shutdown.
    pub async fn run(self) -> Result<(), Error> {
        let Self { config, addresses, joined, shutdown } = self;
        if let Some(Joined { identity, context, .. }) = &joined {
            // A node whose runtime is down for long must not lose its way back.
            let (identity, client, shutdown) = (identity.clone(), context.client.clone(), shutdown.clone());
            tokio::spawn(async move { identity.keep(&client, shutdown).await });
        }
        let runtime: Arc<dyn cri::Runtime> = Arc::new(cri::Remote::new(&config.container_runtime_endpoint)?);
        let health = crate::health::listen(config.health_address).await?;
        tokio::spawn(crate::health::serve(health, shutdown.clone()));
        let Some(driver) = wait_for_runtime(runtime.as_ref(), &shutdown).await else { return Ok(()) };
        let importer = cri::Importer::new(&config.container_runtime_endpoint)?;
        let own_images = bring::begin(runtime.clone(), importer, config.data_dir.clone(), shutdown.clone());
        let machine = Machine::read(&config.kubelet_dir);
        let (objects, events): (Arc<dyn Objects>, Events) = match &joined {
            Some(Joined { context, .. }) => {
                let recorder = Recorder::new(context.client.clone(), "kubelet", &config.node_name);
                (Arc::new(ApiObjects::new(context, &config.node_name)), Events::Api(recorder))
            }
            None => (Arc::new(Standalone), Events::Log),
        };
        let cgroups = Cgroups::new(&config.cgroup_root, driver);
        cgroups.prepare_node().map_err(Error::file("create cgroup", crate::cgroup::MOUNT))?;
        let host = Arc::new(Host {
            volumes: Volumes::new(&config.kubelet_dir),
            images: Images::new(runtime.clone(), own_images),
            allocatable: machine.allocatable(&config),
            memory_bytes: machine.memory_bytes,
            pressures: Default::default(),
            host_ips: addresses,
            config,
            runtime,
            objects,
            events,
            cgroups,
        });
        host.limit_pods();
        match joined {
            Some(joined) => run_joined(host, machine, joined, shutdown).await,
            None => {
                let pods = Pods::new(host, Arc::new(NoApi));
                tokio::spawn(crate::upkeep::run(Evictor::new(pods.clone())?, shutdown.clone()));
                let statics = Statics::default();
                let follow = statics.follow(&pods, shutdown.clone(), async || pods.complete());
                tokio::join!(follow, pods.run(shutdown.clone()));
                Ok(())
            }
        }
    }
}

/// Runs the agent of a node until `shutdown`.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    match Agent::join(config, shutdown).await? {
        Some(agent) => agent.run().await,
        None => Ok(()),
    }
}

async fn run_joined(
    host: Arc<Host>,
    machine: Machine,
    joined: Joined,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let Joined { identity, context, ca_pem } = joined;
    let client = context.client.clone();
    let statuses = Statuses::new(client.clone());
    let pods = Pods::new(host.clone(), statuses.clone());
    tokio::spawn(crate::upkeep::run(Evictor::new(pods.clone())?, shutdown.clone()));
    let keeper = Keeper::new(host.clone(), machine, &context);
    let nodes = keeper.informer();
    let informer = context.informers.by_field::<Pod>(&format!("spec.nodeName={}", host.config.node_name));
    let server = crate::server::Server::new(pods.clone(), client.clone(), identity.serving.clone(), &ca_pem)?;
    let listener = crate::server::listen(host.config.listen_address).await?;
    let statics = Statics::default();
    let follow_api = async {
        tokio::join!(informer.synced(), nodes.synced());
        pods.follow_node(nodes);
        follow_api(&pods, &informer);
        statics
            .follow(&pods, shutdown.clone(), async || {
                pods.complete();
                keep_mirrors(&statics, &pods, &informer, &keeper, &client).await;
            })
            .await;
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        ((), (), (), (), (), ()) = async {
            tokio::join!(
                statuses.run(shutdown.clone()),
                keeper.run(shutdown.clone()),
                keeper.keep_lease(shutdown.clone()),
                pods.run(shutdown.clone()),
                server.run(listener, shutdown.clone()),
                follow_api,
            )
        } => {}
    }
    Ok(())
}

/// Waits until the runtime answers, and asks which cgroup driver it wants.
async fn wait_for_runtime(runtime: &dyn cri::Runtime, shutdown: &CancellationToken) -> Option<Driver> {
    loop {
        match runtime.version().await {
            Ok(version) => {
                tracing::info!(name = version.runtime_name, version = version.runtime_version, "container runtime");
                return Some(driver(runtime).await);
            }
            Err(error) => tracing::warn!(error = %stdx::error::chain(&error), "wait for the container runtime"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep(RUNTIME_RETRY) => {}
        }
    }
}

/// By the call made for it, else by the configuration that the runtime's status shows, else cgroupfs.
async fn driver(runtime: &dyn cri::Runtime) -> Driver {
    match runtime.cgroup_driver().await {
        Ok(Some(cri::v1::CgroupDriver::Systemd)) => return Driver::Systemd,
        Ok(Some(cri::v1::CgroupDriver::Cgroupfs)) => return Driver::Cgroupfs,
        Ok(None) | Err(_) => {}
    }
    let info = runtime.status(true).await.map(|status| status.info).unwrap_or_default();
    if systemd_configured(&info) { Driver::Systemd } else { Driver::Cgroupfs }
}

fn systemd_configured(info: &HashMap<String, String>) -> bool {
    let config = info.get("config").and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    let Some(containerd) = config.as_ref().and_then(|config| config.get("containerd")) else { return false };
    let default = containerd.get("defaultRuntimeName").and_then(|name| name.as_str()).unwrap_or("runc");
    containerd["runtimes"][default]["options"]["SystemdCgroup"].as_bool() == Some(true)
}

struct NoApi;

impl Sink for NoApi {
    fn status(&self, pod: &Arc<Pod>, status: PodStatus) {
        tracing::debug!(pod = ?pod.metadata.name, phase = ?status.phase, "status");
    }

    fn gone(&self, pod: &Arc<Pod>) {
        tracing::debug!(pod = ?pod.metadata.name, "gone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtimes_own_configuration_tells_its_driver() {
        let info = |systemd: bool| {
            let text = serde_json::json!({ "containerd": {
                "defaultRuntimeName": "runc", "runtimes": { "runc": { "options": { "SystemdCgroup": systemd } } },
            }});
            HashMap::from([("config".to_string(), text.to_string())])
        };
        assert!(systemd_configured(&info(true)));
        assert!(!systemd_configured(&info(false)));
        assert!(!systemd_configured(&HashMap::new()));
    }
}
