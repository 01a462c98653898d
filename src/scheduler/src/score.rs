//! Which of the nodes that can take a pod is best: each stage gives 0 to 100, weighted as Kubernetes weighs them.

use std::collections::HashMap;

use crate::cluster::Cluster;
use crate::filter::spread::{count, is_counted};
use crate::node::{NodeInfo, tolerates};
use crate::pod::PodInfo;

/// The best score of a stage.
const BEST: i64 = 100;
const WEIGHT_LEAST_ALLOCATED: i64 = 1;
const WEIGHT_BALANCED: i64 = 1;
const WEIGHT_IMAGES: i64 = 1;
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_NODE_AFFINITY: i64 = 2;
const WEIGHT_SPREAD: i64 = 2;
const WEIGHT_PODS: i64 = 2;

/// Images smaller than this do not matter; larger than the other, per container, are as good as can be.
const IMAGE_BYTES: (i64, i64) = (23 << 20, 1000 << 20);

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The score of each of `nodes`, in their order.
pub fn scores(pod: &PodInfo, nodes: &[&NodeInfo], cluster: &Cluster) -> Vec<i64> {
    let mut totals = vec![0; nodes.len()];
    let mut add = |weight: i64, scores: Vec<i64>| {
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += weight * score;
        }
    };
    add(WEIGHT_LEAST_ALLOCATED, nodes.iter().map(|node| least_allocated(pod, node)).collect());
    add(WEIGHT_BALANCED, nodes.iter().map(|node| balanced(pod, node)).collect());
    add(WEIGHT_IMAGES, images(pod, nodes, cluster));
    add(WEIGHT_TAINTS, taints(pod, nodes));
    if !pod.preferred_nodes.is_empty() {
        add(WEIGHT_NODE_AFFINITY, up(nodes.iter().map(|node| node_affinity(pod, node)).collect()));
    }
    if let Some(scores) = spread(pod, nodes, cluster) {
        add(WEIGHT_SPREAD, scores);
    }
    if let Some(scores) = preferred_pods(pod, nodes, cluster) {
        add(WEIGHT_PODS, scores);
    }
    totals
}

/// Scales so that the largest is [`BEST`].
fn up(mut raw: Vec<i64>) -> Vec<i64> {
    let most = raw.iter().copied().max().unwrap_or(0);
    if most > 0 {
        raw.iter_mut().for_each(|score| *score = *score * BEST / most);
    }
    raw
}

fn least_allocated(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let free = |asked: i64, used: i64, has: i64| {
        let taken = used.saturating_add(asked);
        if has <= 0 || taken > has { 0 } else { (has - taken).saturating_mul(BEST) / has }
    };
    let cpu = free(pod.requests.assumed_cpu_millis, node.assumed_cpu_millis, node.allocatable.cpu_millis);
    let memory = free(pod.requests.assumed_memory_bytes, node.assumed_memory_bytes, node.allocatable.memory_bytes);
    (cpu + memory) / 2
}

/// Prefers nodes whose CPU and memory are used to the same degree.
fn balanced(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let share = |asked: i64, used: i64, has: i64| {
        if has <= 0 { 1.0 } else { (used.saturating_add(asked) as f64 / has as f64).min(1.0) }
    };
    let asked = &pod.requests.asked;
    let cpu = share(asked.cpu_millis, node.used.cpu_millis, node.allocatable.cpu_millis);
    let memory = share(asked.memory_bytes, node.used.memory_bytes, node.allocatable.memory_bytes);
    // The standard deviation of two values is half their distance.
    ((1.0 - (cpu - memory).abs() / 2.0) * BEST as f64) as i64
}

/// Prefers nodes that have the pod's images; an image that few nodes have counts less, so that pods do not gather.
fn images(pod: &PodInfo, nodes: &[&NodeInfo], cluster: &Cluster) -> Vec<i64> {
    if pod.images.is_empty() {
        return vec![0; nodes.len()];
    }
    let all = cluster.nodes.len().max(1) as i64;
    let names: Vec<String> = pod.images.iter().map(|image| with_tag(image)).collect();
    let spread: Vec<i64> = names
        .iter()
        .map(|name| cluster.known_nodes().filter(|node| node.images.contains_key(name)).count() as i64)
        .collect();
    let (least, most) = (IMAGE_BYTES.0, IMAGE_BYTES.1 * names.len() as i64);
    let score = |node: &&NodeInfo| {
        let size = |(name, have): (&String, &i64)| node.images.get(name).map_or(0, |bytes| bytes / all * have);
        let bytes: i64 = names.iter().zip(&spread).map(size).sum();
        (bytes.clamp(least, most) - least) * BEST / (most - least)
    };
    nodes.iter().map(score).collect()
}

/// Image names as nodes report them have a tag or digest.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || image.contains('@') { image.to_string() } else { format!("{image}:latest") }
}

/// Prefers nodes with fewer PreferNoSchedule taints that the pod does not tolerate.
fn taints(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    let bad = |node: &&NodeInfo| {
        let soft = node.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
        soft.filter(|taint| !pod.tolerations.iter().any(|toleration| tolerates(toleration, taint))).count() as i64
    };
    let counts: Vec<i64> = nodes.iter().map(bad).collect();
    let most = counts.iter().copied().max().unwrap_or(0);
    counts.into_iter().map(|count| if most == 0 { BEST } else { BEST - count * BEST / most }).collect()
}

fn node_affinity(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let matching = pod.preferred_nodes.iter().filter(|(_, term)| term.matches(&node.name, &node.labels));
    matching.map(|(weight, _)| i64::from(*weight)).sum()
}

/// Spreading that is wished for: the pod's own soft constraints, or for pods of a controller that have no
/// constraints at all, over hosts and zones. `None` where there is nothing to spread.
fn spread(pod: &PodInfo, nodes: &[&NodeInfo], cluster: &Cluster) -> Option<Vec<i64>> {
    let soft: Vec<_> = pod.spread.iter().filter(|constraint| !constraint.hard).collect();
    let mut raw = vec![0.0; nodes.len()];
    if pod.spread.is_empty() {
        let owner = pod.owner.as_ref()?;
        let here = |node: &NodeInfo| node.owners.get(owner).copied().unwrap_or(0);
        add_domain_counts(&mut raw, nodes, HOSTNAME, 3, cluster.known_nodes().map(|node| (node, here(node))));
        if nodes.iter().any(|node| node.labels.contains_key(ZONE)) {
            add_domain_counts(&mut raw, nodes, ZONE, 5, cluster.known_nodes().map(|node| (node, here(node))));
        }
    } else if soft.is_empty() {
        return None;
    } else {
        for constraint in soft {
            let counted = cluster.known_nodes().filter(|node| is_counted(pod, node, constraint));
            let counts = counted.map(|node| (node, count(pod, node.pods.values(), constraint)));
            add_domain_counts(&mut raw, nodes, &constraint.topology_key, constraint.max_skew, counts);
        }
    }
    let most = raw.iter().copied().fold(0.0, f64::max);
    let least = raw.iter().copied().fold(f64::INFINITY, f64::min);
    let score = |raw: f64| if most == 0.0 { BEST } else { (BEST as f64 * (most + least - raw) / most) as i64 };
    Some(raw.into_iter().map(score).collect())
}

/// Adds to each node how crowded its domain is; constraints with more domains weigh more.
fn add_domain_counts<'a>(
    raw: &mut [f64],
    nodes: &[&NodeInfo],
    key: &str,
    max_skew: i64,
    counts: impl Iterator<Item = (&'a NodeInfo, i64)>,
) {
    let mut domains: HashMap<&str, i64> = HashMap::new();
    for (node, count) in counts {
        if let Some(value) = node.labels.get(key) {
            *domains.entry(value).or_insert(0) += count;
        }
    }
    let weight = (domains.len() as f64 + 2.0).ln();
    let fullest = domains.values().copied().max().unwrap_or(0);
    for (raw, node) in raw.iter_mut().zip(nodes) {
        // A node outside of the topology is as bad as the fullest domain.
        let count = node.labels.get(key).map_or(fullest, |value| domains.get(value.as_str()).copied().unwrap_or(0));
        *raw += count as f64 * weight + (max_skew - 1) as f64;
    }
}

/// Attraction and repulsion between pods that is wished for, the newcomer's and that of pods already there.
fn preferred_pods(pod: &PodInfo, nodes: &[&NodeInfo], cluster: &Cluster) -> Option<Vec<i64>> {
    if pod.preferred_pods.is_empty() && cluster.attracting.is_empty() {
        return None;
    }
    let mut weights: HashMap<(&str, &str), i64> = HashMap::new();
    if !pod.preferred_pods.is_empty() {
        for node in cluster.known_nodes() {
            for other in node.pods.values() {
                for (weight, term) in &pod.preferred_pods {
                    if let Some(value) = node.labels.get(&term.topology_key)
                        && term.matches(other, &cluster.namespaces)
                    {
                        *weights.entry((&term.topology_key, value)).or_insert(0) += i64::from(*weight);
                    }
                }
            }
        }
    }
    for (uid, other) in &cluster.attracting {
        let Some(node) = cluster.place_of(uid).and_then(|name| cluster.nodes.get(name)) else { continue };
        // A pod that had to be near this one's like draws it a little, as in Kubernetes (hardPodAffinityWeight 1).
        let wishes = other.preferred_pods.iter().map(|(weight, term)| (i64::from(*weight), term));
        for (weight, term) in wishes.chain(other.affinity.iter().map(|term| (1, term))) {
            if let Some(value) = node.labels.get(&term.topology_key)
                && term.matches(pod, &cluster.namespaces)
            {
                *weights.entry((&term.topology_key, value)).or_insert(0) += weight;
            }
        }
    }
    let raw: Vec<i64> = nodes
        .iter()
        .map(|node| {
            let here = |((key, value), _): &(&(&str, &str), &i64)| node.labels.get(*key).is_some_and(|v| v == value);
            weights.iter().filter(here).map(|(_, weight)| weight).sum()
        })
        .collect();
    let (least, most) = (raw.iter().copied().min()?, raw.iter().copied().max()?);
    Some(raw.into_iter().map(|raw| if most == least { 0 } else { (raw - least) * BEST / (most - least) }).collect())
}
