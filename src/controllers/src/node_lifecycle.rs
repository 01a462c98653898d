//! Nodes that fall silent: their conditions become unknown, taints say so, and their pods are evicted as those
//! tolerate; and everything back when they return.
//!
//! Where many fall silent at once, `zones` says that few or none of them drive pods away.
//!
//! Clocks of nodes are not trusted: a node is silent when neither its lease nor its status has changed for the grace
//! period by this process's own clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::events::{EventType, Recorder};
use client::informer::{Change, Index, Informer};
use client::queue::{Outcome, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use tokio::time::Instant;

use crate::common::error::{Error, doing};
use crate::common::{nodes, pods, ready};
use crate::{Config, Shared};

mod evict;
mod health;
#[cfg(test)]
mod tests;
mod zones;

use evict::Eviction;
use zones::Pace;

const WORKERS: usize = 4;
const COMPONENT: &str = "node-controller";
const LEASES: &str = "kube-node-lease";

struct Controller {
    client: kube::Client,
    config: Arc<Config>,
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods_on: Index<Pod>,
    seen: Mutex<HashMap<String, Seen>>,
    /// When a node of each zone last began to drive its pods away.
    begun: Mutex<HashMap<String, Instant>>,
    recorder: Recorder,
}

/// A node's last sign of life, and when by our clock it was new.
struct Seen {
    sign: (Option<Timestamp>, Option<Timestamp>),
    since: Instant,
}

/// Whether a node may drive its pods away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Not, or not yet.
    No,
    /// It does already, or has no reason to.
    Had,
    /// It begins now; when another of its zone last began.
    Taken(Option<Instant>),
}

/// Watches over nodes until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::<String>::new("node-lifecycle");
    let (all, all_pods) = (context.informers.all::<Node>(), context.informers.all::<Pod>());
    let leases = context.informers.all::<Lease>();
    let pods_on = all_pods.index("node", |pod| {
        Some(pods::node_name(pod)).filter(|node| !node.is_empty()).map(str::to_string).into_iter().collect()
    });
    let controller = Arc::new(Controller {
        client: context.client.clone(),
        config: shared.config.clone(),
        nodes: all.clone(),
        leases: leases.clone(),
        pods_on,
        seen: Mutex::default(),
        begun: Mutex::default(),
        recorder: Recorder::new(context.client.clone(), COMPONENT, ""),
    });
    let enqueue = queue.clone();
    all.on_change(move |change| enqueue.add(change.object().name_any()));
    let (enqueue, known) = (queue.clone(), all.clone());
    all_pods.on_change(move |change| {
        let node = pods::node_name(change.object());
        // Only nodes that drive pods away care about each pod.
        if !matches!(change, Change::Deleted(_)) && known.get("", node).is_some_and(|node| evict::repels(&node)) {
            enqueue.add(node.to_string());
        }
    });
    if !ready(context, async { tokio::join!(all.synced(), all_pods.synced(), leases.synced()) }).await {
        return Ok(());
    }
    let (enqueue, period) = (queue.clone(), shared.config.node_monitor_period);
    let tick = async {
        loop {
            all.list(None).iter().for_each(|node| enqueue.add(node.name_any()));
            tokio::time::sleep(period).await;
        }
    };
    let work = queue.run_until(&context.shutdown, WORKERS, move |name| {
        let controller = controller.clone();
        async move { controller.reconcile(&name).await }
    });
    tokio::select! {
        () = tick => {}
        () = work => {}
    }
    Ok(())
}

impl Controller {
    async fn reconcile(&self, name: &str) -> Result<Outcome, Error> {
        let Some(node) = self.nodes.get("", name) else {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
            return Ok(Outcome::Done);
        };
        if node.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        let known = self.seen.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name);
        let silent = self.is_silent(&node);
        if !known {
            let message = format!("Node {name} event: Registered Node {name} in Controller");
            self.recorder.normal(node.as_ref(), "RegisteredNode", &message);
        }
        let now = Timestamp::now();
        if silent && let Some(conditions) = health::unknown(&node, now) {
            let api: Api<Node> = Api::all(self.client.clone());
            let patch =
                Patch::Strategic(json!({"metadata": {"uid": node.uid()}, "status": {"conditions": conditions}}));
            let done = api.patch_status(name, &PatchParams::default(), &patch).await;
            done.map_err(doing(format!("say that node {name} is silent")))?;
            tracing::warn!(node = name, "node has fallen silent");
            self.recorder.normal(node.as_ref(), "NodeNotReady", &format!("Node {name} status is now: NodeNotReady"));
            // The change of the node brings the rest.
            return Ok(Outcome::Done);
        }
        self.set_taints(&node, now).await?;
        let on_node = self.pods_on.get(name);
        if nodes::ready_status(&node) != "True" {
            for pod in on_node.iter().filter(|pod| pods::is_ready(pod)) {
                self.mark_unready(pod, now).await?;
            }
        }
        self.evict(&node, &on_node, now).await
    }

    fn is_silent(&self, node: &Node) -> bool {
        let name = node.name_any();
        let lease = self.leases.get(LEASES, &name);
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0));
        let sign = (renewed, health::heartbeat(node));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let entry = seen.entry(name).or_insert(Seen { sign, since: now });
        if entry.sign != sign {
            // What we wrote ourselves is no sign of life: it does not touch the heartbeat.
            *entry = Seen { sign, since: now };
        }
        now.duration_since(entry.since) > self.config.node_monitor_grace
    }

    async fn set_taints(&self, node: &Arc<Node>, now: Timestamp) -> Result<(), Error> {
        let name = node.name_any();
        let turn = self.turn(node);
        let Some(taints) = health::taints(node, turn != Turn::No, now) else { return Ok(()) };
        let api: Api<Node> = Api::all(self.client.clone());
        let taints = if taints.is_empty() { json!(null) } else { json!(taints) };
        let patch = json!({"metadata": {"uid": node.uid(), "resourceVersion": node.resource_version()},
            "spec": {"taints": taints}});
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if !client::is_not_found(&error) => {
                if let Turn::Taken(before) = turn {
                    self.give_back(node, before);
                }
                Err(doing(format!("taint node {name}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Whether the node may drive its pods away where it is not ready.
    fn turn(&self, node: &Node) -> Turn {
        let zone = zones::zone(node);
        let pace = zones::paces(&self.nodes.list(None)).get(&zone).copied().unwrap_or(Pace::Nobody);
        match pace {
            Pace::Nobody => Turn::No,
            Pace::OneIn(_) if nodes::ready_status(node) == "True" || health::drives_away(node) => Turn::Had,
            Pace::OneIn(pause) => {
                let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
                let (now, before) = (Instant::now(), begun.get(&zone).copied());
                if before.is_some_and(|before| now.duration_since(before) < pause) {
                    // It is looked at again with the next round.
                    return Turn::No;
                }
                begun.insert(zone, now);
                Turn::Taken(before)
            }
        }
    }

    /// The node's turn came to nothing.
    fn give_back(&self, node: &Node, before: Option<Instant>) {
        let (zone, mut begun) = (zones::zone(node), self.begun.lock().unwrap_or_else(PoisonError::into_inner));
        match before {
            Some(before) => begun.insert(zone, before),
            None => begun.remove(&zone),
        };
    }

    async fn mark_unready(&self, pod: &Arc<Pod>, now: Timestamp) -> Result<(), Error> {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let condition = json!({"type": "Ready", "status": "False",
            "lastTransitionTime": machinery::meta::format_time(now)});
        let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}}));
        match api.patch_status(&name, &PatchParams::default(), &patch).await {
            Err(error) if !client::is_not_found(&error) && !client::is_conflict(&error) => {
                Err(doing(format!("mark pod {namespace}/{name} not ready"))(error))
            }
            _ => {
                self.recorder.event(pod.as_ref(), EventType::Warning, "NodeNotReady", "Node is not ready");
                Ok(())
            }
        }
    }

    async fn evict(&self, node: &Node, on_node: &[Arc<Pod>], now: Timestamp) -> Result<Outcome, Error> {
        let mut next: Option<Timestamp> = None;
        for pod in on_node.iter().filter(|pod| !pods::is_terminating(pod)) {
            match evict::plan(node, pod) {
                Eviction::Never => {}
                Eviction::At(at) if at > now => next = Some(next.map_or(at, |next| next.min(at))),
                Eviction::At(_) => self.delete(pod, now).await?,
            }
        }
        Ok(next.map_or(Outcome::Done, |at| {
            let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
            Outcome::After(left.max(Duration::from_millis(50)))
        }))
    }

    async fn delete(&self, pod: &Arc<Pod>, now: Timestamp) -> Result<(), Error> {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": machinery::meta::format_time(now)});
        let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}}));
        match api.patch_status(&name, &PatchParams::default(), &patch).await {
            Err(error) if client::is_not_found(&error) => return Ok(()),
            other => {
                other.map_err(doing(format!("say why pod {namespace}/{name} goes")))?;
            }
        }
        let message = format!("Marking for deletion Pod {namespace}/{name}");
        self.recorder.normal(pod.as_ref(), "TaintManagerEviction", &message);
        let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
        match api.delete(&name, &DeleteParams::default().preconditions(preconditions)).await {
            Err(error) if !client::is_not_found(&error) => Err(doing(format!("evict pod {namespace}/{name}"))(error)),
            _ => Ok(()),
        }
    }
}
