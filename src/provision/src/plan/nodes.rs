//! Labels and taints of nodes, as the inventory wants them. What others set is left alone.

use std::collections::BTreeMap;

use inventory::{Cluster, Host, Role, Taint, TaintEffect};

use super::{Action, Draft, Peers, Wave};
use crate::cluster_facts::{Managed, NodeFacts, NodeSettings};
use crate::observe::Observation;

const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// The taint that comes with a role: a host that is only a controller runs no workloads.
pub(super) fn role_taint(role: Role) -> Option<Taint> {
    (role == Role::Controller).then(|| Taint {
        key: CONTROL_PLANE.to_owned(),
        value: String::new(),
        effect: TaintEffect::NoSchedule,
    })
}

pub(super) fn plan(
    cluster: &Cluster,
    observed: &BTreeMap<String, Observation>,
    peers: &Peers,
    joining: &[String],
    draft: &mut Draft<'_>,
) {
    let unknown = NodeFacts::default();
    for host in cluster.present().filter(|host| joining.contains(&host.name)) {
        let node = peers.cluster.as_ref().and_then(|cluster| cluster.nodes.get(&host.name));
        // A host that cannot be reached and never joined has no node to label.
        if node.is_none() && !matches!(observed.get(&host.name), Some(Observation::Answered(_))) {
            continue;
        }
        let Some((settings, before, after)) = settings(host, node.unwrap_or(&unknown)) else { continue };
        draft
            .step(
                Wave::Cluster,
                "node-settings",
                format!("set labels and taints of {}", host.name),
                "the inventory wants them",
            )
            .change(before, after)
            .by(Action::SetNode { settings, joined: node.is_some() });
    }
}

/// A list for people, or the word for none.
fn named(list: String, none: &str) -> String {
    if list.is_empty() { none.to_owned() } else { list }
}

/// What must change on a node, with before and after for people.
fn settings(host: &Host, node: &NodeFacts) -> Option<(NodeSettings, String, String)> {
    let mut labels = host.labels.clone();
    if host.role.is_control_plane() {
        labels.insert(CONTROL_PLANE.to_owned(), String::new());
    }
    let mut taints = host.taints.clone();
    taints.extend(role_taint(host.role));
    taints.sort();
    taints.dedup();
    let id = |taint: &Taint| format!("{}:{:?}", taint.key, taint.effect);
    let managed = Managed { labels: labels.keys().cloned().collect(), taints: taints.iter().map(&id).collect() };
    let settings = NodeSettings {
        name: host.name.clone(),
        set_labels: labels.into_iter().filter(|(key, value)| node.labels.get(key) != Some(value)).collect(),
        remove_labels: node
            .managed
            .labels
            .iter()
            .filter(|key| !managed.labels.contains(key) && node.labels.contains_key(*key))
            .cloned()
            .collect(),
        set_taints: taints.into_iter().filter(|taint| !node.taints.contains(taint)).collect(),
        remove_taints: node
            .taints
            .iter()
            .map(&id)
            .filter(|id| node.managed.taints.contains(id) && !managed.taints.contains(id))
            .collect(),
        managed,
    };
    let nothing = settings.set_labels.is_empty()
        && settings.remove_labels.is_empty()
        && settings.set_taints.is_empty()
        && settings.remove_taints.is_empty();
    if nothing && settings.managed == node.managed {
        return None;
    }
    let label = |key: &str, value: &str| format!("{key}={value}");
    let mut before: Vec<String> = settings
        .set_labels
        .keys()
        .chain(&settings.remove_labels)
        .filter_map(|key| Some(label(key, node.labels.get(key)?)))
        .collect();
    before.extend(settings.remove_taints.iter().cloned());
    let mut after: Vec<String> = settings.set_labels.iter().map(|(key, value)| label(key, value)).collect();
    after.extend(settings.set_taints.iter().map(Taint::to_string));
    let (before, after) = match (nothing, before.join(", "), after.join(", ")) {
        // All is there, and not yet known to be the inventory's to take away again.
        (true, ..) => ("there, as somebody else set them".to_owned(), "the inventory's".to_owned()),
        (false, before, after) => (named(before, "not set"), named(after, "removed")),
    };
    Some((settings, before, after))
}
