//! How much of a zone is silent, and how fast its pods are driven away then: pure.
//!
//! Many nodes that fall silent at once are more likely cut off from here than dead: their pods run on, and to make
//! them anew elsewhere is of no use or more than the rest can bear. The bounds are those of Kubernetes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;

use crate::common::nodes;

/// One node in this long begins to drive its pods away.
const PACE: Duration = Duration::from_secs(10);
/// In a large zone that is partly silent.
const SLOW_PACE: Duration = Duration::from_secs(100);
/// A zone is partly silent where more nodes than this are not ready,
const PARTIAL_ABOVE_NODES: usize = 2;
/// and at least this part of them.
const PARTIAL_PERCENT: usize = 55;
/// A zone with more nodes than this is large.
const LARGE_ABOVE_NODES: usize = 50;
/// Labels that name a zone, the present ones and those before them.
const ZONE_LABELS: [[&str; 2]; 2] = [
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"],
    ["failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone"],
];

/// How much of a zone is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disruption {
    Little,
    Partial,
    Full,
}

/// How fast nodes of a zone begin to drive their pods away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// None does, and those that did stop.
    Nobody,
    /// One node in this long.
    OneIn(Duration),
}

/// Region and zone of a node; empty where it has none.
pub fn zone(node: &Node) -> String {
    let label = |name: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
    let named = ZONE_LABELS.map(|pair| pair.map(|name| label(name).unwrap_or_default()));
    let [region, zone] = named.into_iter().find(|names| names.concat() != "").unwrap_or_default();
    // No label holds a slash.
    format!("{region}/{zone}")
}

/// How much of a zone is silent.
pub fn disruption(ready: usize, silent: usize) -> Disruption {
    match (ready, silent) {
        (0, 1..) => Disruption::Full,
        _ if silent > PARTIAL_ABOVE_NODES && silent * 100 >= (ready + silent) * PARTIAL_PERCENT => Disruption::Partial,
        _ => Disruption::Little,
    }
}

/// The pace of each zone.
pub fn paces(all: &[Arc<Node>]) -> HashMap<String, Pace> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for node in all {
        let (ready, silent) = counts.entry(zone(node)).or_default();
        *(if nodes::ready_status(node) == "True" { ready } else { silent }) += 1;
    }
    let zones: Vec<(String, usize, Disruption)> =
        counts.into_iter().map(|(zone, (ready, silent))| (zone, ready + silent, disruption(ready, silent))).collect();
    let everything = zones.iter().all(|(_, _, disruption)| *disruption == Disruption::Full);
    let pace = |size: usize, disruption: Disruption| match disruption {
        _ if everything => Pace::Nobody,
        Disruption::Partial if size > LARGE_ABOVE_NODES => Pace::OneIn(SLOW_PACE),
        Disruption::Partial => Pace::Nobody,
        // A whole zone that is gone while others are there is gone.
        Disruption::Full | Disruption::Little => Pace::OneIn(PACE),
    };
    zones.into_iter().map(|(zone, size, disruption)| (zone, pace(size, disruption))).collect()
}
