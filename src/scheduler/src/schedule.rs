//! The decision: filter, score, choose.

use std::collections::{BTreeMap, HashSet};

use crate::cluster::Cluster;
use crate::filter::{self, Reason};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::score;

/// Why no node can take a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FitError {
    /// What is wrong with the pod itself, so that no node was looked at.
    pub pod: Option<String>,
    /// Every node, and what is against it.
    pub nodes: BTreeMap<String, Vec<Reason>>,
}

impl FitError {
    /// The text of the event and the condition: `0/3 nodes are available: 1 Too many pods, 2 Insufficient cpu.`
    pub fn message(&self) -> String {
        if self.nodes.is_empty() && self.pod.is_none() {
            return "no nodes available to schedule pods".to_string();
        }
        let head = format!("0/{} nodes are available", self.nodes.len());
        if let Some(pod) = &self.pod {
            return format!("{head}: {pod}.");
        }
        format!("{head}: {}.", histogram(self.nodes.values().flatten().map(ToString::to_string)))
    }
}

/// `1 this, 2 that`, in the order of the text.
pub fn histogram(reasons: impl Iterator<Item = String>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_insert(0) += 1;
    }
    let mut texts: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    texts.join(", ")
}

/// The node for a pod. Of equally good nodes the one that `dice` points at is taken.
///
/// # Errors
/// Why no node can take it.
pub fn schedule(pod: &PodInfo, cluster: &Cluster, dice: u64) -> Result<String, FitError> {
    if pod.has_claims {
        // There is no volume binder: a pod that was given a node could never start there.
        let nodes = cluster.known_nodes().map(|node| (node.name.clone(), Vec::new())).collect();
        let reason = "pod has unbound immediate PersistentVolumeClaims".to_string();
        return Err(FitError { pod: Some(reason), nodes });
    }
    let prepared = filter::prepare(pod, cluster, &HashSet::new());
    // A pod for whose sake others were evicted goes where it was promised room, while that is right.
    if let Some(node) = cluster.nodes.get(&pod.nominated_to).filter(|node| node.known)
        && filter::check(pod, node, cluster, &prepared).is_empty()
    {
        return Ok(node.name.clone());
    }
    let mut fitting: Vec<&NodeInfo> = Vec::new();
    let mut against = Vec::new();
    for node in cluster.known_nodes() {
        let reasons = filter::check(pod, node, cluster, &prepared);
        if reasons.is_empty() {
            fitting.push(node);
        } else if fitting.is_empty() {
            against.push((node, reasons));
        }
    }
    match fitting.as_slice() {
        [] => {
            let nodes = against.into_iter().map(|(node, reasons)| (node.name.clone(), reasons)).collect();
            Err(FitError { pod: None, nodes })
        }
        [node] => Ok(node.name.clone()),
        nodes => {
            let scores = score::scores(pod, nodes, cluster);
            let best = scores.iter().copied().max().unwrap_or(0);
            let ties: Vec<&NodeInfo> =
                nodes.iter().zip(&scores).filter(|(_, score)| **score == best).map(|(node, _)| *node).collect();
            let chosen = usize::try_from(dice).unwrap_or(0) % ties.len();
            Ok(ties[chosen].name.clone())
        }
    }
}
