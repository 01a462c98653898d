//! The Node object: registered once, its labels kept, its status told on every change and every five minutes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::events::EventType;
use client::informer::Informer;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::config::Config;
use crate::host::Host;
use crate::machine::Machine;
use crate::objects::api::api;

pub mod lease;
pub mod status;

/// The node is looked at this often.
const LOOK: Duration = Duration::from_secs(10);
/// While it is not ready or not registered, this often.
const LOOK_UNREADY: Duration = Duration::from_secs(1);
/// An unchanged status is told again after this.
const HEARTBEAT: SignedDuration = SignedDuration::from_mins(5);

/// The keeper of this node's object.
pub struct Keeper {
    host: Arc<Host>,
    machine: Machine,
    client: kube::Client,
    nodes: Informer<Node>,
}

impl Keeper {
    /// A keeper; [`Keeper::run`] does the work.
    pub fn new(host: Arc<Host>, machine: Machine, context: &client::Context) -> Self {
        let nodes = context.informers.by_field::<Node>(&format!("metadata.name={}", host.config.node_name));
        Self { host, machine, client: context.client.clone(), nodes }
    }

    /// This node's object as the API has it.
    pub fn node(&self) -> Option<Arc<Node>> {
        self.nodes.get("", &self.host.config.node_name)
    }

    /// This node's object, and its changes.
    pub fn informer(&self) -> Informer<Node> {
        self.nodes.clone()
    }

    /// Registers the node and tells its status until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        self.nodes.synced().await;
        let mut told: Option<(NodeStatus, Timestamp)> = None;
        let mut labelled = false;
        loop {
            let wait = match self.once(&mut told, &mut labelled).await {
                Ok(true) => LOOK,
                Ok(false) => LOOK_UNREADY,
                Err(error) => {
                    tracing::warn!(error = %stdx::error::chain(&error), "tell the node's status");
                    LOOK_UNREADY
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// True where the node is there and ready.
    async fn once(&self, told: &mut Option<(NodeStatus, Timestamp)>, labelled: &mut bool) -> Result<bool, Error> {
        let Some(node) = self.node() else {
            *told = None;
            *labelled = false;
            return self.register().await.map(|()| false);
        };
        if !*labelled {
            self.keep_labels(&node).await?;
            *labelled = true;
        }
        let now = Timestamp::now();
        let observed = status::observe(&self.host).await;
        let fresh = status::status(&self.host.config, &self.machine, &observed, node.status.as_ref(), now);
        let ready = status::is_ready(&fresh);
        // The node controller writes over the conditions of a node that is silent.
        let overwritten = node.status.as_ref().is_none_or(|found| !status::says_the_same(found, &fresh));
        let due = overwritten
            || told
                .as_ref()
                .is_none_or(|(before, at)| now.duration_since(*at) >= HEARTBEAT || !status::same(before, &fresh));
        if due {
            self.tell(&fresh, node.status.as_ref()).await?;
            let name = &self.host.config.node_name;
            for reason in status::turns(told.as_ref().map(|(before, _)| before), &fresh) {
                self.host.events.node(name, EventType::Normal, reason, &format!("Node {name} status is now: {reason}"));
            }
            *told = Some((fresh, now));
        }
        Ok(ready)
    }

    async fn register(&self) -> Result<(), Error> {
        let config = &self.host.config;
        let nodes = Api::<Node>::all(self.client.clone());
        let action = || api(format!("register node {}", config.node_name));
        match nodes.create(&PostParams::default(), &new_node(config)).await {
            Ok(_) => {
                tracing::info!(node = config.node_name, "registered");
                self.host.events.node(&config.node_name, EventType::Normal, "Starting", "Starting the node agent.");
                Ok(())
            }
            // The informer is behind.
            Err(error) if client::is_already_exists(&error) => Ok(()),
            Err(error) => Err(action()(error)),
        }
    }

    async fn keep_labels(&self, node: &Node) -> Result<(), Error> {
        let wanted = labels(&self.host.config);
        let present = node.metadata.labels.clone().unwrap_or_default();
        let missing: BTreeMap<_, _> =
            wanted.into_iter().filter(|(key, value)| present.get(key) != Some(value)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let body = json!({ "metadata": { "labels": missing } });
        let nodes = Api::<Node>::all(self.client.clone());
        let patched = nodes.patch(&self.host.config.node_name, &PatchParams::default(), &Patch::Merge(&body)).await;
        patched.map(drop).map_err(api("label the node"))
    }

    async fn tell(&self, status: &NodeStatus, found: Option<&NodeStatus>) -> Result<(), Error> {
        let body = json!({ "status": status::patch(status, found) });
        let nodes = Api::<Node>::all(self.client.clone());
        let patched =
            nodes.patch_status(&self.host.config.node_name, &PatchParams::default(), &Patch::Strategic(&body)).await;
        patched.map(drop).map_err(api("patch the node's status"))
    }
}

/// The labels a node has by itself and those of its configuration.
pub fn labels(config: &Config) -> BTreeMap<String, String> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut labels = BTreeMap::from([
        ("kubernetes.io/hostname".to_string(), config.node_name.clone()),
        ("kubernetes.io/os".to_string(), "linux".to_string()),
        ("kubernetes.io/arch".to_string(), architecture.to_string()),
        ("beta.kubernetes.io/os".to_string(), "linux".to_string()),
        ("beta.kubernetes.io/arch".to_string(), architecture.to_string()),
    ]);
    labels.extend(config.labels.clone());
    labels
}

fn new_node(config: &Config) -> Node {
    let taints: Vec<Taint> = config
        .taints
        .iter()
        .map(|taint| Taint {
            key: taint.key.clone(),
            value: (!taint.value.is_empty()).then(|| taint.value.clone()),
            effect: taint.effect.clone(),
            time_added: None,
        })
        .collect();
    Node {
        metadata: ObjectMeta {
            name: Some(config.node_name.clone()),
            labels: Some(labels(config)),
            ..Default::default()
        },
        spec: Some(NodeSpec { taints: (!taints.is_empty()).then_some(taints), ..Default::default() }),
        status: None,
    }
}
