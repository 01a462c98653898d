//! What all pods of this node share: the runtime, the API's objects, volumes, cgroups, images, addresses.

use std::net::IpAddr;
use std::sync::Arc;

use client::events::{EventType, Recorder};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};

use crate::cgroup::{Cgroups, NodeLimits};
use crate::config::Config;
use crate::eviction;
use crate::images::Images;
use crate::objects::Objects;
use crate::pod::fields::{Allocatable, Facts};
use crate::pod::resolver::HostResolver;
use crate::pod::resources;
use crate::volumes::Volumes;

/// See the module.
pub struct Host {
    /// The agent's configuration.
    pub config: Config,
    /// The container runtime.
    pub runtime: Arc<dyn cri::Runtime>,
    /// ConfigMaps, Secrets, Services, tokens.
    pub objects: Arc<dyn Objects>,
    /// Where events go.
    pub events: Events,
    /// The pods' volumes.
    pub volumes: Volumes,
    /// The pods' cgroups.
    pub cgroups: Cgroups,
    /// Images and their pulls.
    pub images: Images,
    /// The node's addresses, the main one first.
    pub host_ips: Vec<IpAddr>,
    /// What pods may use together.
    pub allocatable: Allocatable,
    /// The machine's memory.
    pub memory_bytes: i64,
    /// What the node is short of.
    pub pressures: eviction::Shared,
}

impl Host {
    /// What a pod with these addresses is told of itself and its node.
    pub fn facts(&self, pod_ips: Vec<String>) -> Facts {
        Facts {
            node_name: self.config.node_name.clone(),
            host_ips: self.host_ips.clone(),
            pod_ips,
            allocatable: self.allocatable,
        }
    }

    /// Keeps all pods together to what is allocatable.
    pub fn limit_pods(&self) {
        self.cgroups.limit_node(NodeLimits {
            cpu_shares: resources::shares(self.allocatable.milli_cpu),
            memory_bytes: self.allocatable.memory_bytes,
        });
    }

    /// The host's resolver configuration as it is now, for a pod.
    pub fn resolver(&self, pod: &Pod) -> HostResolver {
        let on_host = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
        HostResolver::read(&self.config.resolv_conf, on_host)
    }
}

/// Where events go: to the API, or only to the log on a node without one.
#[derive(Clone)]
pub enum Events {
    /// To the API.
    Api(Recorder),
    /// To the log.
    Log,
}

impl Events {
    /// Records an event of a pod, or of one of its containers.
    pub fn pod(&self, pod: &Pod, container: Option<&str>, type_: EventType, reason: &str, message: &str) {
        tracing::debug!(pod = ?pod.metadata.name, container, reason, message, "event");
        let Events::Api(recorder) = self else { return };
        let metadata = &pod.metadata;
        let init = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
        let path = container.map(|name| {
            let field = if init.is_some_and(|init| init.iter().any(|c| c.name == name)) {
                "initContainers"
            } else {
                "containers"
            };
            format!("spec.{field}{{{name}}}")
        });
        let involved = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
            field_path: path,
        };
        recorder.about(involved, type_, reason, message);
    }

    /// Records an event of the node.
    pub fn node(&self, name: &str, type_: EventType, reason: &str, message: &str) {
        let Events::Api(recorder) = self else { return };
        let involved = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(name.into()),
            // Kubernetes' own node agent gives the name here, and describe looks for it.
            uid: Some(name.into()),
            ..Default::default()
        };
        recorder.about(involved, type_, reason, message);
    }
}
