//! Whether a pod that has come is taken, asked once: what the node took before stays.

use client::events::EventType;
use k8s_openapi::api::core::v1::Pod;

use super::{Pods, Table};
use crate::node;
use crate::pod::admission::{self, Place};
use crate::pod::memory::Verdict;

impl Pods {
    /// Why a new pod is not taken, which is told as an event.
    pub(super) fn refusal(&self, pod: &Pod, table: &Table) -> Option<Verdict> {
        if was_here(pod) {
            return None;
        }
        let there = table.workers.iter().filter(|(uid, worker)| !table.departed.contains(*uid) && !worker.is_over());
        let others: Vec<_> = there.map(|(_, worker)| worker.pod()).collect();
        let verdict = admission::refusal(pod, &self.place(), &others)?;
        self.0.host.events.pod(pod, None, EventType::Warning, &verdict.reason, verdict.reported());
        Some(verdict)
    }

    fn place(&self) -> Place {
        let host = &self.0.host;
        let name = host.config.node_name.clone();
        let known = self.0.node.get().and_then(|nodes| nodes.get("", &name));
        let labels = known.and_then(|node| node.metadata.labels.clone());
        Place {
            labels: labels.unwrap_or_else(|| node::labels(&host.config)),
            allocatable: host.allocatable,
            max_pods: host.config.max_pods,
            pressures: host.pressures.now(),
            name,
        }
    }
}

/// A pod with a start was taken by this node before the agent was restarted; one that ends or has ended needs no place.
fn was_here(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let over = matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"));
    over || pod.metadata.deletion_timestamp.is_some() || status.is_some_and(|status| status.start_time.is_some())
}
