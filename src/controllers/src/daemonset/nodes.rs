//! Which nodes may have a DaemonSet's pod, and how a pod is tied to its node.

use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint,
    Toleration,
};

use crate::common::nodes::{admits, taints, tolerates};
use crate::common::pods;

/// Whether nothing changed that matters here.
pub fn same(old: &Node, new: &Node) -> bool {
    let taint = |taint: &Taint| (taint.key.clone(), taint.value.clone(), taint.effect.clone());
    old.metadata.labels == new.metadata.labels && taints(old).iter().map(taint).eq(taints(new).iter().map(taint))
}

/// The tolerations that every daemon has beside its own: it is there through what drives others away.
pub fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut all = spec.tolerations.clone().unwrap_or_default();
    let mut effects = vec![
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    if spec.host_network == Some(true) {
        effects.push(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    }
    for (key, effect) in effects {
        let toleration = Toleration {
            key: Some(key.to_string()),
            operator: Some("Exists".to_string()),
            effect: Some(effect.to_string()),
            ..Toleration::default()
        };
        if !all.contains(&toleration) {
            all.push(toleration);
        }
    }
    all
}

/// What a node says to a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// A pod is to be created.
    pub should_run: bool,
    /// A pod that is there may stay.
    pub should_stay: bool,
}

/// Asks a node.
pub fn verdict(spec: &PodSpec, node: &Node) -> Verdict {
    let named = spec.node_name.as_deref().filter(|name| !name.is_empty());
    if named.is_some_and(|name| Some(name) != node.metadata.name.as_deref()) || !admits(spec, node) {
        return Verdict { should_run: false, should_stay: false };
    }
    let tolerations = tolerations(spec);
    let repels = |effects: &[&str]| {
        taints(node)
            .iter()
            .any(|taint| effects.contains(&taint.effect.as_str()) && !tolerations.iter().any(|t| tolerates(t, taint)))
    };
    Verdict { should_run: !repels(&["NoSchedule", "NoExecute"]), should_stay: !repels(&["NoExecute"]) }
}

/// The pod for one node: the scheduler places it, since affinity names that node and no other.
pub fn pod_for(template: &Pod, node: &str) -> Pod {
    let mut pod = template.clone();
    let spec = pod.spec.get_or_insert_default();
    spec.tolerations = Some(tolerations(spec));
    let only = NodeSelectorRequirement {
        key: "metadata.name".to_string(),
        operator: "In".to_string(),
        values: Some(vec![node.to_string()]),
    };
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    let affinity: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    let required: &mut NodeSelector =
        affinity.required_during_scheduling_ignored_during_execution.get_or_insert_default();
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields = Some(vec![only.clone()]);
    }
    pod
}

/// The node a daemon's pod is on, or is tied to.
pub fn target(pod: &Pod) -> Option<String> {
    let node = pods::node_name(pod);
    if !node.is_empty() {
        return Some(node.to_string());
    }
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let named = fields.filter(|field| field.key == "metadata.name" && field.operator == "In");
    named.flat_map(|field| field.values.iter().flatten()).next().cloned()
}
