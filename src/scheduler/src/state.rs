//! Cluster and queue together: what a change of the API's objects does to both. No clock, no requests.

use std::sync::Arc;

use client::informer::Change;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::pod::PodInfo;
use crate::queue::{Happened, Queue};

/// What decisions are made from, and who waits for one.
#[derive(Debug)]
pub struct State {
    pub cluster: Cluster,
    pub queue: Queue,
}

impl State {
    /// An empty cluster and this queue.
    pub fn new(queue: Queue) -> Self {
        Self { cluster: Cluster::default(), queue }
    }

    /// Takes in a namespace's labels.
    pub fn namespace_changed(&mut self, change: &Change<Namespace>) {
        let namespace = change.object();
        let name = namespace.metadata.name.clone().unwrap_or_default();
        match change {
            Change::Deleted(_) => self.cluster.namespaces.remove(&name),
            _ => self.cluster.namespaces.insert(name, namespace.metadata.labels.clone().unwrap_or_default()),
        };
    }

    /// Takes in a budget of pods that may leave.
    pub fn budget_changed(&mut self, change: &Change<PodDisruptionBudget>) {
        let budget = change.object();
        match change {
            Change::Deleted(_) => {
                let metadata = &budget.metadata;
                let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
                self.cluster.remove_budget(namespace.unwrap_or_default(), name.unwrap_or_default());
            }
            _ => self.cluster.set_budget(budget),
        }
    }

    /// Takes in a node; whether pods that wait may fit now.
    pub fn node_changed(&mut self, change: &Change<Node>, now: Instant) -> bool {
        let node = change.object();
        let name = node.metadata.name.as_deref().unwrap_or_default();
        if matches!(change, Change::Deleted(_)) {
            self.cluster.remove_node(name);
            return false;
        }
        if !self.cluster.set_node(node) {
            return false;
        }
        let Some(info) = self.cluster.nodes.get(name) else { return false };
        self.queue.happened(Happened::Node(info), now);
        true
    }

    /// Takes in a pod, which is to be scheduled where it is `ours`; whether it or others may fit now.
    pub fn pod_changed(&mut self, change: &Change<Pod>, ours: bool, now: Instant) -> bool {
        let pod = change.object();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        let gone = matches!(change, Change::Deleted(_)) || phase == "Succeeded" || phase == "Failed";
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        if gone {
            return self.pod_left(uid, now);
        }
        let info = Arc::new(PodInfo::new(pod));
        if !info.assigned_to.is_empty() {
            self.queue.remove(uid);
            let (was_there, relabelled) = (self.cluster.place_of(uid).is_some(), relabelled(change));
            let node = info.assigned_to.clone();
            let kept = self.cluster.place(info, &node);
            let came = !was_there || relabelled;
            if came {
                self.queue.happened(Happened::PodCame, now);
            }
            return self.room_came(kept, now) || came;
        }
        if self.cluster.place_of(uid).is_some() || !ours {
            return false;
        }
        if info.terminating {
            return self.pod_left(uid, now);
        }
        // Room that was made for it before this process started is kept for it.
        if !info.nominated_to.is_empty() {
            self.cluster.nominated.insert(info.uid.clone(), (info.nominated_to.clone(), info.clone()));
        }
        self.queue.put(info, now);
        true
    }

    /// A pod waits no longer and needs no room, whether it had a node or was only to get one.
    fn pod_left(&mut self, uid: &str, now: Instant) -> bool {
        self.queue.remove(uid);
        let node = self.cluster.remove_pod(uid);
        self.room_came(node, now)
    }

    /// There is room on a node that was taken or kept for a pod; whether there is such a node.
    pub fn room_came(&mut self, node: Option<String>, now: Instant) -> bool {
        let Some(info) = node.and_then(|node| self.cluster.nodes.get(&node)) else { return false };
        self.queue.happened(Happened::PodLeft(info), now);
        true
    }
}

fn relabelled(change: &Change<Pod>) -> bool {
    matches!(change, Change::Updated(old, new) if old.metadata.labels != new.metadata.labels)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::node;
    use crate::schedule::schedule;

    fn pod(name: &str, cpu: &str, priority: i32, more: Value) -> Pod {
        let mut pod = json!({"metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
            "spec": {"priority": priority,
                "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
        machinery::patch::merge(&mut pod, &more).unwrap();
        serde_json::from_value(pod).unwrap()
    }

    /// A node with four cores of which an important pod, which waits for others to leave, was promised three; and a
    /// pod that found no room for its two.
    fn promised(now: Instant) -> State {
        let mut state =
            State::new(Queue::new((Duration::from_secs(1), Duration::from_secs(10)), Duration::from_secs(300)));
        state.node_changed(&Change::Added(Arc::new(node("n", "4", "8Gi"))), now);
        let high = pod("high", "3", 10, json!({"status": {"nominatedNodeName": "n"}}));
        assert!(state.pod_changed(&Change::Added(Arc::new(high)), true, now));
        let low = pod("low", "2", 0, json!({}));
        assert!(state.pod_changed(&Change::Added(Arc::new(low)), true, now));
        assert_eq!(state.queue.pop(now).unwrap().pod.name, "high");
        let popped = state.queue.pop(now).unwrap();
        let refused = schedule(&popped.pod, &state.cluster, 0).unwrap_err();
        state.queue.did_not_fit(&popped, refused.nodes.into_values().flatten().collect(), now);
        state
    }

    #[test]
    fn room_that_was_promised_to_a_pod_is_others_when_it_does_not_need_it() {
        let now = Instant::now();
        let soon = now + Duration::from_secs(1);
        let status = |phase: &str| json!({"status": {"phase": phase, "nominatedNodeName": "n"}});
        let high = |more: Value| Arc::new(pod("high", "3", 10, more));
        for (what, change) in [
            ("deleted", Change::Deleted(high(status("Pending")))),
            ("failed", Change::Updated(high(status("Pending")), high(status("Failed")))),
            ("terminating", Change::Added(high(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})))),
            ("placed elsewhere", Change::Added(high(json!({"spec": {"nodeName": "m"}})))),
        ] {
            let mut state = promised(now);
            assert!(state.pod_changed(&change, true, now), "{what}");
            let popped = state.queue.pop(soon).unwrap_or_else(|| panic!("{what}: the other pod is tried again"));
            assert_eq!(schedule(&popped.pod, &state.cluster, 0).ok().as_deref(), Some("n"), "{what}");
        }
        let mut state = promised(now);
        let placed = Change::Added(high(json!({"spec": {"nodeName": "n"}})));
        state.pod_changed(&placed, true, now);
        assert!(state.queue.pop(soon).is_none(), "where it takes the room nobody else can");
    }
}
