//! Hosts that leave: drained, deleted from the cluster, and left as they were.

use std::collections::BTreeMap;
use std::time::Duration;

use inventory::{Cluster, Host, State};

use super::{Action, BINARY, Draft, Finding, Peers, View, Wave};
use crate::observe::Observation;

/// How long the pods of a host that does not answer are given: it may be cut off from here and not from the cluster.
const SILENT_DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

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

/// An absent host that does not answer: its node is removed all the same, and nothing is left that a run could do.
pub(super) fn out_of_reach(host: &Host) -> Option<Finding> {
    (host.state == State::Absent).then(|| Finding {
        host: host.name.clone(),
        message: "the host is to be absent and does not answer, so that nothing is reset on it".to_owned(),
        remedy: "run `rkctl up` again when it answers, or take it out of the inventory where it is gone for good"
            .to_owned(),
    })
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
    let drain_timeout = |name: &str| match observed.get(name).and_then(Observation::facts) {
        Some(_) => cluster.upgrade.drain_timeout,
        None => cluster.upgrade.drain_timeout.min(SILENT_DRAIN_TIMEOUT),
    };
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
                .change("in the cluster", "drained and deleted")
                .by(Action::RemoveNode { name: name.clone(), drain_timeout: drain_timeout(name) }),
            None if renamed.contains(&name.as_str()) => {}
            None => draft.notice(
                format!("the node {name} is in the cluster and not in the inventory"),
                "add its host, with `state: absent` to remove it",
            ),
        }
    }
}
