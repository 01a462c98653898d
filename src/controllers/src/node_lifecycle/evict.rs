//! When a pod must leave a node because of the node's taints: pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use stdx::clock::later;

use crate::common::nodes::{taints, tolerates};

/// When a pod goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    Never,
    At(Timestamp),
}

fn evicting(node: &Node) -> impl Iterator<Item = &Taint> {
    taints(node).iter().filter(|taint| taint.effect == "NoExecute")
}

/// Whether the node drives any pods away.
pub fn repels(node: &Node) -> bool {
    evicting(node).next().is_some()
}

/// The earliest moment at which one of the node's taints drives the pod away.
pub fn plan(node: &Node, pod: &Pod) -> Eviction {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let mut earliest: Option<Timestamp> = None;
    for taint in evicting(node) {
        let covering = || tolerations.iter().filter(|toleration| tolerates(toleration, taint));
        let added = taint.time_added.as_ref().map(|time| time.0);
        // A pod that came after the taint is given its time all the same.
        let from = added.max(created).unwrap_or(Timestamp::UNIX_EPOCH);
        let at = if covering().next().is_none() {
            from
        } else {
            match covering().filter_map(|toleration| toleration.toleration_seconds).min() {
                Some(seconds) => later(from, SignedDuration::from_secs(seconds.max(0))),
                None => continue,
            }
        };
        earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
    }
    earliest.map_or(Eviction::Never, Eviction::At)
}
