//! Hosts that leave: drained, deleted from the cluster, and left as they were.

use std::collections::BTreeMap;

use inventory::{Cluster, State};

use super::{Action, BINARY, Draft, Peers, View, Wave};
use crate::observe::Observation;

/// What is on an absent host.
pub(super) fn plan_host(view: &View<'_>, draft: &mut Draft<'_>) {
    let facts = view.facts;
    let ours = |path: &&String| path.contains("rkctl");
    let mut traces: Vec<String> = facts.files.keys().filter(ours).cloned().collect();
    traces.extend(facts.units.keys().filter(|unit| unit.starts_with("rkctl-")).map(|unit| format!("{unit}.service")));
    if traces.is_empty() {
        return;
    }
    if view.host.role.is_control_plane() && view.cluster.controllers().next().is_none() {
        draft.problem("the last control-plane host cannot be absent", "use `rkctl reset` to take the cluster apart");
        return;
    }
    let before = if traces.iter().any(|trace| trace == BINARY) { BINARY.to_owned() } else { traces.join(", ") };
    draft
        .step(Wave::Leave, "reset", "leave the host as it was", "its state is `absent`")
        .change(before, "nothing of rkctl")
        .by(Action::Reset);
}

/// Nodes of absent hosts, and nodes nobody speaks of.
pub(super) fn plan_nodes(
    cluster: &Cluster,
    observed: &BTreeMap<String, Observation>,
    peers: &Peers,
    draft: &mut Draft<'_>,
) {
    let Some(facts) = &peers.cluster else { return };
    // A host that was renamed in the inventory is told with the host.
    let renamed: Vec<&str> = cluster
        .present()
        .filter_map(|host| super::belonging::other_name(host, observed.get(&host.name)?.facts()?))
        .collect();
    for name in facts.nodes.keys() {
        match cluster.host(name).map(|host| host.state) {
            Some(State::Present) => {}
            Some(State::Absent) => draft
                .step(
                    Wave::Cluster,
                    "node-remove",
                    format!("drain and delete the node {name}"),
                    "its state is `absent`",
                )
                .by(Action::RemoveNode { name: name.clone(), drain_timeout: cluster.upgrade.drain_timeout }),
            None if renamed.contains(&name.as_str()) => {}
            None => draft.notice(
                format!("the node {name} is in the cluster and not in the inventory"),
                "add its host, with `state: absent` to remove it",
            ),
        }
    }
}
