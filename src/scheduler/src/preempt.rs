//! Which pods of lower priority to evict so that a more important one fits.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::budget;
use crate::cluster::Cluster;
use crate::filter;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::schedule::{FitError, histogram};

/// Nodes on which an eviction is tried out, at most: the first that help are nearly as good as all.
const CANDIDATE_NODES: usize = 100;

/// What to evict, and where.
#[derive(Debug, Clone)]
pub struct Preemption {
    pub node: String,
    pub victims: Vec<Arc<PodInfo>>,
}

/// A preemption that lets the pod fit, or the text that says why there is none.
///
/// # Errors
/// The text for the event: `preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.`
pub fn plan(pod: &PodInfo, cluster: &Cluster, fit: &FitError) -> Result<Preemption, String> {
    if !pod.preempts {
        return Err("preemption: not eligible due to preemptionPolicy=Never.".to_string());
    }
    if waits_for_victims(pod, cluster) {
        return Err("preemption: not eligible due to a terminating pod on the nominated node.".to_string());
    }
    let mut best: Option<(Cost, Preemption)> = None;
    let mut tried = 0;
    let mut reasons = Vec::new();
    for (name, against) in &fit.nodes {
        let helpful = !against.is_empty() && against.iter().all(filter::Reason::helped_by_preemption);
        let Some(node) = cluster.nodes.get(name).filter(|_| helpful && fit.pod.is_none()) else {
            reasons.push("Preemption is not helpful for scheduling".to_string());
            continue;
        };
        if tried == CANDIDATE_NODES {
            break;
        }
        tried += 1;
        match victims(pod, node, cluster) {
            None => reasons.push("No preemption victims found for incoming pod".to_string()),
            Some((victims, broken)) => {
                let cost = cost(&victims, broken);
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, Preemption { node: name.clone(), victims }));
                }
            }
        }
    }
    match best {
        Some((_, preemption)) => Ok(preemption),
        None => {
            Err(format!("preemption: 0/{} nodes are available: {}.", fit.nodes.len(), histogram(reasons.into_iter())))
        }
    }
}

/// Whether pods are leaving the node that this one was promised: nobody else need go then.
fn waits_for_victims(pod: &PodInfo, cluster: &Cluster) -> bool {
    let Some(node) = cluster.nodes.get(&pod.nominated_to) else { return false };
    node.pods.values().any(|other| other.terminating && other.priority < pod.priority)
}

/// The fewest and least important pods whose leaving lets the pod fit, the most important first, and how many of them
/// leave against a disruption budget; `None` where nothing helps.
fn victims(pod: &PodInfo, node: &NodeInfo, cluster: &Cluster) -> Option<(Vec<Arc<PodInfo>>, usize)> {
    let mut lower: Vec<Arc<PodInfo>> =
        node.pods.values().filter(|other| other.priority < pod.priority).cloned().collect();
    if lower.is_empty() {
        return None;
    }
    // Most important first, and of equals the one that has run longest: these are spared first.
    let rank = |other: &PodInfo| (Reverse(other.priority), other.started.unwrap_or(Timestamp::MAX), other.uid.clone());
    lower.sort_by_key(|other| rank(other));
    let mut without: HashSet<String> = lower.iter().map(|other| other.uid.clone()).collect();
    let mut bare = node.clone();
    for other in &lower {
        bare.remove_pod(&other.uid);
    }
    let fits = |node: &NodeInfo, without: &HashSet<String>| {
        let prepared = filter::prepare(pod, cluster, without);
        filter::check(pod, node, cluster, &prepared).is_empty()
    };
    if !fits(&bare, &without) {
        return None;
    }
    let (kept_by_budgets, others) = budget::part(lower, cluster.budgets.values());
    let (mut victims, mut broken) = (Vec::new(), 0);
    let all =
        kept_by_budgets.into_iter().map(|other| (other, true)).chain(others.into_iter().map(|other| (other, false)));
    for (other, breaks) in all {
        bare.add_pod(other.clone());
        without.remove(&other.uid);
        if !fits(&bare, &without) {
            bare.remove_pod(&other.uid);
            without.insert(other.uid.clone());
            victims.push(other);
            broken += usize::from(breaks);
        }
    }
    victims.sort_by_key(|other| rank(other));
    Some((victims, broken))
}

/// What is compared: how many budgets' pods leave, the most important victim, all their importance, how many, and how lately the most important
/// one started (the later the better).
type Cost = (usize, i32, i64, usize, Reverse<Timestamp>);

fn cost(victims: &[Arc<PodInfo>], broken: usize) -> Cost {
    let highest = victims.iter().map(|victim| victim.priority).max().unwrap_or(i32::MIN);
    // Shifted so that more victims of a negative priority cost more, not less.
    let sum = victims.iter().map(|victim| i64::from(victim.priority) - i64::from(i32::MIN)).sum();
    let important = victims.iter().filter(|victim| victim.priority == highest);
    let earliest = important.filter_map(|victim| victim.started).min().unwrap_or(Timestamp::MAX);
    (broken, highest, sum, victims.len(), Reverse(earliest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{cluster, cpu_pod, node, node_with, place};
    use crate::schedule::schedule;
    use serde_json::json;

    #[test]
    fn the_least_important_and_fewest_pods_leave() {
        let mut cluster = cluster(&[node("n1", "4", "8Gi"), node("n2", "4", "8Gi")]);
        place(&mut cluster, cpu_pod("low-1", "2", json!({"priority": 1})), "n1");
        place(&mut cluster, cpu_pod("mid-1", "2", json!({"priority": 5})), "n1");
        place(&mut cluster, cpu_pod("mid-2", "4", json!({"priority": 5})), "n2");
        let pod = cpu_pod("high", "2", json!({"priority": 10}));
        let fit = schedule(&pod, &cluster, 0).unwrap_err();
        let planned = plan(&pod, &cluster, &fit).unwrap();
        let names: Vec<&str> = planned.victims.iter().map(|victim| victim.name.as_str()).collect();
        assert_eq!((planned.node.as_str(), names.as_slice()), ("n1", &["low-1"][..]));
    }

    fn guarded(cluster: &mut Cluster, app: &str, allowed: i32) {
        let budget = json!({"metadata": {"name": app, "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": app}}}, "status": {"disruptionsAllowed": allowed,
                "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
        cluster.set_budget(&serde_json::from_value(budget).unwrap());
    }

    fn planned(cluster: &Cluster, cpu: &str) -> (String, Vec<String>) {
        let pod = cpu_pod("high", cpu, json!({"priority": 10}));
        let planned = plan(&pod, cluster, &schedule(&pod, cluster, 0).unwrap_err()).unwrap();
        (planned.node, planned.victims.iter().map(|victim| victim.name.clone()).collect())
    }

    #[test]
    fn pods_that_a_budget_keeps_leave_last() {
        let mut all = cluster(&[node("n1", "4", "8Gi")]);
        place(&mut all, cpu_pod("kept-1", "2", json!({"priority": 1})), "n1");
        place(&mut all, cpu_pod("free-1", "2", json!({"priority": 5})), "n1");
        assert_eq!(planned(&all, "2").1, ["kept-1"], "without a budget the less important one leaves");
        guarded(&mut all, "kept", 0);
        assert_eq!(planned(&all, "2").1, ["free-1"]);
        guarded(&mut all, "kept", 1);
        assert_eq!(planned(&all, "2").1, ["kept-1"], "the budget allows it");
        guarded(&mut all, "kept", 0);
        assert_eq!(planned(&all, "4").1, ["free-1", "kept-1"], "a budget is kept where it can be, and no further");
        all.remove_budget("default", "kept");
        assert_eq!(planned(&all, "2").1, ["kept-1"]);
    }

    #[test]
    fn the_node_is_taken_where_the_fewest_budgets_are_broken() {
        let mut all = cluster(&[node("n1", "4", "8Gi"), node("n2", "4", "8Gi")]);
        place(&mut all, cpu_pod("kept-1", "4", json!({"priority": 1})), "n1");
        place(&mut all, cpu_pod("free-1", "4", json!({"priority": 5})), "n2");
        assert_eq!(planned(&all, "2").0, "n1");
        guarded(&mut all, "kept", 0);
        assert_eq!(planned(&all, "2").0, "n2");
    }

    #[test]
    fn a_budget_counts_each_pod_that_would_leave() {
        let mut all = cluster(&[node("n1", "4", "8Gi")]);
        for number in 1..=2 {
            place(&mut all, cpu_pod(&format!("kept-{number}"), "1", json!({"priority": 1})), "n1");
            place(&mut all, cpu_pod(&format!("free-{number}"), "1", json!({"priority": 5})), "n1");
        }
        guarded(&mut all, "kept", 1);
        // One of each two may go, and the less important two would.
        assert_eq!(planned(&all, "2").1, ["free-2", "kept-1"]);
    }

    #[test]
    fn nobody_leaves_where_that_would_not_help() {
        let tainted = json!({"taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}]});
        let mut cluster = cluster(&[node("n1", "4", "8Gi"), node_with("n2", "4", "8Gi", json!({}), tainted)]);
        place(&mut cluster, cpu_pod("peer", "4", json!({"priority": 10})), "n1");
        let text = |pod: PodInfo| plan(&pod, &cluster, &schedule(&pod, &cluster, 0).unwrap_err()).unwrap_err();
        assert_eq!(
            text(cpu_pod("high", "2", json!({"priority": 10}))),
            "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, \
             1 Preemption is not helpful for scheduling."
        );
        assert_eq!(
            text(cpu_pod("never", "2", json!({"priority": 20, "preemptionPolicy": "Never"}))),
            "preemption: not eligible due to preemptionPolicy=Never."
        );
    }

    #[test]
    fn room_that_was_made_is_kept_from_less_important_pods() {
        let mut cluster = cluster(&[node("n1", "4", "8Gi")]);
        let high = Arc::new(cpu_pod("high", "3", json!({"priority": 10})));
        cluster.nominated.insert(high.uid.clone(), ("n1".to_string(), high.clone()));
        assert!(schedule(&cpu_pod("low", "2", json!({})), &cluster, 0).is_err());
        assert!(schedule(&cpu_pod("higher", "2", json!({"priority": 11})), &cluster, 0).is_ok());
        assert!(schedule(&high, &cluster, 0).is_ok());
    }
}
