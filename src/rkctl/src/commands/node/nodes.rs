//! `rkctl node nodes`: what `rkctl up` does to Node objects.

use std::io::Read as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use client::list;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Resource as _;
use kube::api::{Api, DeleteParams, EvictParams, ListParams, Patch, PatchParams};
use provision::cluster_facts::{MANAGED_ANNOTATION, NodeSettings};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api;
use crate::{exit, runtime};

/// A node that joins registers within seconds.
const REGISTERED_WITHIN: Duration = Duration::from_secs(30);
/// Somebody else may write the node between our read and our write.
const CONFLICT_ATTEMPTS: usize = 10;
/// Between two attempts at pods that may not be evicted yet.
const EVICT_AGAIN: Duration = Duration::from_secs(1);

/// What `rkctl up` does to Node objects.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Wait until a node is Ready.
    Wait {
        /// The node.
        name: String,
        /// How long.
        #[arg(long, value_parser = api::duration, default_value = "60s")]
        timeout: Duration,
    },
    /// Set labels and taints as standard input (JSON) says.
    Set,
    /// Cordon a node and move its pods away.
    Drain {
        /// The node.
        name: String,
        /// How long pods are given.
        #[arg(long, value_parser = api::duration, default_value = "120s")]
        timeout: Duration,
    },
    /// Delete a node.
    Delete {
        /// The node.
        name: String,
    },
}

pub fn run(args: Args) -> exit::Answer {
    runtime::operator(async {
        let client = api::client().await?;
        let nodes: Api<Node> = Api::all(client.clone());
        match args.command {
            Command::Wait { name, timeout } => wait(&nodes, &name, timeout).await?,
            Command::Set => {
                let mut input = String::new();
                std::io::stdin().read_to_string(&mut input).context("read standard input")?;
                set(&nodes, &serde_json::from_str(&input).context("read the settings")?).await?;
            }
            Command::Drain { name, timeout } => drain(&client, &nodes, &name, timeout).await?,
            Command::Delete { name } => match nodes.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => other.map(drop).with_context(|| format!("delete the node {name}"))?,
            },
        }
        Ok(exit::DONE)
    })
}

async fn wait(nodes: &Api<Node>, name: &str, timeout: Duration) -> anyhow::Result<()> {
    let look = || async move {
        match nodes.get_opt(name).await {
            Ok(Some(node)) => api::readiness(&node),
            Ok(None) => Err("it has not registered".to_owned()),
            Err(error) => Err(stdx::error::chain(&error)),
        }
    };
    api::wait_for(timeout, &format!("the node {name} is not Ready"), look).await
}

async fn set(nodes: &Api<Node>, settings: &NodeSettings) -> anyhow::Result<()> {
    let name = &settings.name;
    let look = || async move {
        match nodes.get_opt(name).await {
            Ok(found) => found.ok_or_else(|| "it has not registered".to_owned()),
            Err(error) => Err(stdx::error::chain(&error)),
        }
    };
    api::wait_for(REGISTERED_WITHIN, &format!("the node {name} is not there"), look).await?;
    for attempt in 1..=CONFLICT_ATTEMPTS {
        let node = nodes.get(name).await.with_context(|| format!("read the node {name}"))?;
        let patch = patch(&node, settings)?;
        match nodes.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Err(kube::Error::Api(status)) if status.code == 409 && attempt < CONFLICT_ATTEMPTS => {}
            other => return other.map(drop).with_context(|| format!("change the node {name}")),
        }
    }
    Ok(())
}

/// A merge patch that holds only for the state it was made from.
fn patch(node: &Node, settings: &NodeSettings) -> anyhow::Result<Value> {
    let mut labels: serde_json::Map<String, Value> =
        settings.set_labels.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    labels.extend(settings.remove_labels.iter().map(|key| (key.clone(), Value::Null)));
    let managed =
        (settings.managed != Default::default()).then(|| serde_json::to_string(&settings.managed)).transpose()?;
    let mut patch = json!({"metadata": {
        "resourceVersion": node.metadata.resource_version,
        "labels": labels,
        "annotations": {MANAGED_ANNOTATION: managed},
    }});
    if !settings.set_taints.is_empty() || !settings.remove_taints.is_empty() {
        let present = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        let replaced = |key: &str, effect: &str| {
            settings.remove_taints.contains(&format!("{key}:{effect}"))
                || settings.set_taints.iter().any(|taint| taint.key == key && format!("{:?}", taint.effect) == effect)
        };
        let kept = present.iter().filter(|taint| !replaced(&taint.key, &taint.effect));
        let mut taints: Vec<Value> = kept.map(serde_json::to_value).collect::<Result<_, _>>()?;
        taints.extend(settings.set_taints.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?);
        patch["spec"] = json!({"taints": taints});
    }
    Ok(patch)
}

async fn drain(client: &kube::Client, nodes: &Api<Node>, name: &str, timeout: Duration) -> anyhow::Result<()> {
    let cordon = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    let mut node = match nodes.patch(name, &PatchParams::default(), &cordon).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        other => other.with_context(|| format!("cordon the node {name}"))?,
    };
    let deadline = Instant::now() + timeout;
    let pods = Pod::url_path(&(), None);
    let mine = ListParams::default().fields(&format!("spec.nodeName={name}"));
    loop {
        let found = list::page(client, &pods, &mine).await.context("list the node's pods")?;
        let left: Vec<Pod> = found.objects.into_iter().filter(must_leave).collect();
        if left.is_empty() {
            return Ok(());
        }
        for pod in &left {
            evict(client, pod).await?;
        }
        // Nobody stops the pods of a node whose agent is silent, which shows only after a while: there is nothing to
        // wait for.
        if api::readiness(&node).is_err() {
            return Ok(());
        }
        if Instant::now() > deadline {
            eprintln!("rkctl: {} pods of {name} did not leave within {} s", left.len(), timeout.as_secs());
            return Ok(());
        }
        tokio::time::sleep(EVICT_AGAIN).await;
        let Some(found) = nodes.get_opt(name).await.with_context(|| format!("read the node {name}"))? else {
            return Ok(());
        };
        node = found;
    }
}

/// Pods of daemon sets come back at once, mirrors of static pods go with the agent, and ended pods hold nothing.
fn must_leave(pod: &Pod) -> bool {
    let owned_by_daemon_set = pod
        .metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.kind == "DaemonSet" && owner.controller == Some(true));
    let mirror = pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key("kubernetes.io/config.mirror"));
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    !owned_by_daemon_set && !mirror && phase != "Succeeded" && phase != "Failed"
}

async fn evict(client: &kube::Client, pod: &Pod) -> anyhow::Result<()> {
    let (Some(namespace), Some(name)) = (&pod.metadata.namespace, &pod.metadata.name) else { return Ok(()) };
    if pod.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    match pods.evict(name, &EvictParams::default()).await {
        Ok(_) => Ok(()),
        // Gone, or a disruption budget forbids it for now: it is asked again.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 429 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("evict the pod {namespace}/{name}")),
    }
}
