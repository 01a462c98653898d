//! What a node's silence and conditions mean for its conditions and taints: pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::common::nodes;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that keep new pods away while they are true.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
/// Conditions that a silent node cannot vouch for.
const VOUCHED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

fn conditions(node: &Node) -> &[NodeCondition] {
    node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// The node's own last word in its status.
pub fn heartbeat(node: &Node) -> Option<Timestamp> {
    let ready = conditions(node).iter().find(|condition| condition.type_ == "Ready")?;
    ready.last_heartbeat_time.as_ref().map(|time| time.0)
}

/// The conditions of a silent node that must become unknown; `None` where they are.
pub fn unknown(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let mut changed = Vec::new();
    for type_ in VOUCHED {
        let old = conditions(node).iter().find(|condition| condition.type_ == type_);
        if old.is_some_and(|old| old.status == "Unknown") {
            continue;
        }
        let (reason, message) = match old {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        changed.push(NodeCondition {
            type_: type_.to_string(),
            status: "Unknown".to_string(),
            reason: Some(reason.to_string()),
            message: Some(message.to_string()),
            last_heartbeat_time: old
                .map_or(node.metadata.creation_timestamp.clone(), |old| old.last_heartbeat_time.clone()),
            last_transition_time: Some(Time(now)),
        });
    }
    (!changed.is_empty()).then_some(changed)
}

/// Whether the node drives pods away because it is not ready.
pub fn drives_away(node: &Node) -> bool {
    let ours = |taint: &Taint| taint.effect == "NoExecute" && [NOT_READY, UNREACHABLE].contains(&taint.key.as_str());
    nodes::taints(node).iter().any(ours)
}

/// The taints the node should have; `None` where it has them. Taints that others set stay.
pub fn taints(node: &Node, may_evict: bool, now: Timestamp) -> Option<Vec<Taint>> {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    let health = match nodes::ready_status(node) {
        "True" => None,
        "False" => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    };
    if let Some(key) = health {
        wanted.push((key, "NoSchedule"));
        if may_evict {
            wanted.push((key, "NoExecute"));
        }
    }
    let is_true = |type_: &str| conditions(node).iter().any(|c| c.type_ == type_ && c.status == "True");
    wanted.extend(PRESSURES.iter().filter(|(type_, _)| is_true(type_)).map(|(_, key)| (*key, "NoSchedule")));
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let pressure_keys = PRESSURES.iter().map(|(_, key)| *key);
    let ours: Vec<&str> = [NOT_READY, UNREACHABLE, UNSCHEDULABLE].into_iter().chain(pressure_keys).collect();
    let is = |taint: &Taint, (key, effect): (&str, &str)| taint.key == key && taint.effect == effect;
    let mut taints: Vec<Taint> = nodes::taints(node)
        .iter()
        .filter(|taint| {
            let managed = ours.contains(&taint.key.as_str()) && taint.effect != "PreferNoSchedule";
            !managed || wanted.iter().any(|wanted| is(taint, *wanted))
        })
        .cloned()
        .collect();
    let mut changed = taints.len() != nodes::taints(node).len();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| is(taint, (key, effect))) {
            changed = true;
            taints.push(Taint {
                key: key.to_string(),
                effect: effect.to_string(),
                // Taints that evict say since when, for tolerations with a time.
                time_added: Some(Time(now)),
                value: None,
            });
        }
    }
    changed.then_some(taints)
}
