//! Deletes pods that nobody else will: ended ones beyond a number, those of nodes that are gone, and those that were
//! deleted before they had a node.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use tokio::time::Instant;

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::{pods, ready};

/// Why a pod goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// There are too many that have ended.
    Ended,
    /// Its node is gone.
    Orphaned,
    /// It was deleted and never had a node.
    Unscheduled,
}

/// Deletes until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let (nodes, all) = (context.informers.all::<Node>(), context.informers.all::<Pod>());
    if !ready(context, async { tokio::join!(nodes.synced(), all.synced()) }).await {
        return Ok(());
    }
    let mut missing: HashMap<String, Instant> = HashMap::new();
    loop {
        let pods = all.list(None);
        let known: HashSet<String> = nodes.list(None).iter().map(|node| node.name_any()).collect();
        let gone = gone(&pods, &known, &mut missing, shared.config.orphaned_pod_grace, Instant::now());
        for (pod, why) in plan(&pods, &gone, shared.config.terminated_pods) {
            if let Err(error) = delete(&context.client, &pod, why).await {
                tracing::warn!(error = stdx::error::chain(&error), "cannot collect a pod; will retry");
            }
        }
        tokio::select! {
            () = context.shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(shared.config.pod_gc_period) => {}
        }
    }
}

/// The nodes that pods name and that have been missing for `grace`. `missing` remembers since when.
fn gone(
    pods: &[Arc<Pod>],
    known: &HashSet<String>,
    missing: &mut HashMap<String, Instant>,
    grace: Duration,
    now: Instant,
) -> HashSet<String> {
    let named: HashSet<&str> =
        pods.iter().map(|pod| pods::node_name(pod)).filter(|n| !n.is_empty() && !known.contains(*n)).collect();
    missing.retain(|name, _| named.contains(name.as_str()));
    for name in named {
        missing.entry(name.to_string()).or_insert(now);
    }
    missing.iter().filter(|(_, since)| now.duration_since(**since) >= grace).map(|(name, _)| name.clone()).collect()
}

/// Which pods go, and why.
pub fn plan(pods: &[Arc<Pod>], gone_nodes: &HashSet<String>, most_ended: usize) -> Vec<(Arc<Pod>, Why)> {
    let mut plan = Vec::new();
    let mut ended = Vec::new();
    for pod in pods {
        let node = pods::node_name(pod);
        if !node.is_empty() && gone_nodes.contains(node) {
            plan.push((pod.clone(), Why::Orphaned));
        } else if node.is_empty() && pods::is_terminating(pod) {
            plan.push((pod.clone(), Why::Unscheduled));
        } else if pods::is_terminal(pod) && !pods::is_terminating(pod) {
            ended.push(pod.clone());
        }
    }
    let surplus = ended.len().saturating_sub(most_ended);
    ended.sort_by_key(|pod| (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pod.name_any()));
    plan.extend(ended.into_iter().take(surplus).map(|pod| (pod, Why::Ended)));
    plan
}

async fn delete(client: &kube::Client, pod: &Pod, why: Why) -> Result<(), Error> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    if !pods::is_terminal(pod) {
        let mut status = json!({"phase": "Failed"});
        if why == Why::Orphaned {
            status["conditions"] = json!([{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                "message": "PodGC: node no longer exists",
                "lastTransitionTime": machinery::meta::format_time(Timestamp::now())}]);
        }
        let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid()}, "status": status}));
        match api.patch_status(&name, &PatchParams::default(), &patch).await {
            Err(error) if client::is_not_found(&error) => return Ok(()),
            other => {
                other.map_err(doing(format!("mark pod {namespace}/{name} failed")))?;
            }
        }
    }
    let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
    match api.delete(&name, &DeleteParams::default().grace_period(0).preconditions(preconditions)).await {
        Err(error) if !client::is_not_found(&error) => Err(doing(format!("delete pod {namespace}/{name}"))(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str, phase: &str, deleted: bool) -> Arc<Pod> {
        let mut pod = json!({"metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:0{}Z", name.len())},
            "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase}});
        if deleted {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn what_nobody_else_deletes_goes() {
        let pods = [
            pod("a", "n1", "Running", false),
            pod("bb", "gone", "Running", false),
            pod("ccc", "", "Pending", true),
            pod("dddd", "n1", "Succeeded", false),
            pod("eeeee", "n1", "Failed", false),
            pod("ffffff", "n1", "Failed", true),
            pod("ggggggg", "", "Pending", false),
        ];
        let gone = HashSet::from(["gone".to_string()]);
        let named = |plan: Vec<(Arc<Pod>, Why)>| -> Vec<(String, Why)> {
            plan.into_iter().map(|(pod, why)| (pod.name_any(), why)).collect()
        };
        let expected =
            [("bb".to_string(), Why::Orphaned), ("ccc".into(), Why::Unscheduled), ("dddd".into(), Why::Ended)];
        assert_eq!(named(plan(&pods, &gone, 1)), expected);
    }

    #[test]
    fn a_node_is_gone_only_after_a_while_and_not_when_it_comes_back() {
        let pods = [pod("a", "n1", "Running", false)];
        let (mut missing, grace, now) = (HashMap::new(), Duration::from_secs(40), Instant::now());
        let later = now + Duration::from_secs(41);
        assert!(gone(&pods, &HashSet::new(), &mut missing, grace, now).is_empty());
        assert!(gone(&pods, &HashSet::from(["n1".to_string()]), &mut missing, grace, later).is_empty());
        assert!(gone(&pods, &HashSet::new(), &mut missing, grace, later).is_empty(), "counted anew");
        assert_eq!(gone(&pods, &HashSet::new(), &mut missing, grace, later + grace).len(), 1);
    }
}
