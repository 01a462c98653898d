//! Topology spread constraints that must hold.

use std::collections::{HashMap, HashSet};

use super::{Reason, matches_node};
use crate::cluster::Cluster;
use crate::node::{NodeInfo, untolerated};
use crate::pod::PodInfo;
use crate::pod::terms::Spread;

/// Matching pods in each domain of one constraint, by the value of its label.
#[derive(Debug, Default)]
pub struct Domains(HashMap<String, i64>);

/// The domains of each hard constraint, in the constraints' order.
pub fn domains(pod: &PodInfo, cluster: &Cluster, without: &HashSet<String>) -> Vec<Domains> {
    let hard: Vec<&Spread> = pod.spread.iter().filter(|constraint| constraint.hard).collect();
    let mut domains: Vec<Domains> = hard.iter().map(|_| Domains::default()).collect();
    if hard.is_empty() {
        return domains;
    }
    for node in cluster.known_nodes() {
        if !hard.iter().all(|constraint| node.labels.contains_key(&constraint.topology_key)) {
            continue;
        }
        for (constraint, domain) in hard.iter().zip(&mut domains) {
            if !is_counted(pod, node, constraint) {
                continue;
            }
            let Some(value) = node.labels.get(&constraint.topology_key) else { continue };
            let pods = node.pods.values().filter(|other| !without.contains(&other.uid));
            *domain.0.entry(value.clone()).or_insert(0) += count(pod, pods, constraint);
        }
    }
    domains
}

/// Whether the node's pods count for a constraint of the pod.
pub fn is_counted(pod: &PodInfo, node: &NodeInfo, constraint: &Spread) -> bool {
    (!constraint.honor_affinity || matches_node(pod, node))
        && (!constraint.honor_taints
            || untolerated(&node.taints, &pod.tolerations, &["NoSchedule", "NoExecute"]).is_none())
}

/// How many of `others` a constraint counts.
pub fn count<'a>(pod: &PodInfo, others: impl Iterator<Item = &'a std::sync::Arc<PodInfo>>, constraint: &Spread) -> i64 {
    let counted =
        others.filter(|o| o.namespace == pod.namespace && !o.terminating && constraint.counts(&o.labels)).count();
    i64::try_from(counted).unwrap_or(i64::MAX)
}

pub fn check(pod: &PodInfo, node: &NodeInfo, domains: &[Domains]) -> Option<Reason> {
    for (constraint, domain) in pod.spread.iter().filter(|constraint| constraint.hard).zip(domains) {
        let Some(value) = node.labels.get(&constraint.topology_key) else { return Some(Reason::SpreadLabel) };
        let too_few = i64::try_from(domain.0.len()).unwrap_or(i64::MAX) < constraint.min_domains;
        let least = if too_few { 0 } else { domain.0.values().copied().min().unwrap_or(0) };
        let here = domain.0.get(value).copied().unwrap_or(0);
        let itself = i64::from(constraint.counts(&pod.labels));
        if here + itself - least > constraint.max_skew {
            return Some(Reason::Spread);
        }
    }
    None
}
