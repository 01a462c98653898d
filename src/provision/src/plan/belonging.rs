//! Whether the inventory still speaks of the cluster that its hosts are in. What is said here is about the cluster as
//! a whole: where it does not hold, nothing is begun on any host, since every step would lead further away.
//!
//! What decides is what the hosts are: which of them has the control plane's state, with which networks, and who has
//! joined. A host that is wrong by itself is told by [`super::preflight`] and does not hold up the others.

use std::collections::BTreeMap;

use inventory::{Cluster, Host, State};

use super::{Finding, Plan};
use crate::observe::{Configured, HostFacts, Observation};

/// Whether anything may be begun; the plan's problems say why not.
pub(super) fn plan(cluster: &Cluster, observed: &BTreeMap<String, Observation>, plan: &mut Plan) -> bool {
    let hosts = Answered::of(cluster, observed);
    let found: Vec<Finding> =
        [moved(cluster, &hosts), elsewhere(cluster, &hosts), renamed(&hosts)].into_iter().flatten().take(1).collect();
    let found = if found.is_empty() { networks(cluster, &hosts) } else { found };
    let nothing = found.is_empty();
    plan.problems.extend(found);
    nothing
}

/// The hosts that said what they are.
struct Answered<'a>(Vec<(&'a Host, &'a HostFacts)>);

impl<'a> Answered<'a> {
    fn of(cluster: &'a Cluster, observed: &'a BTreeMap<String, Observation>) -> Self {
        let hosts = cluster.hosts.iter();
        Self(hosts.filter_map(|host| Some((host, observed.get(&host.name)?.facts()?))).collect())
    }

    fn present(&self) -> impl Iterator<Item = (&'a Host, &'a HostFacts)> {
        self.0.iter().copied().filter(|(host, _)| host.state == State::Present)
    }

    fn controllers(&self) -> impl Iterator<Item = (&'a Host, &'a HostFacts)> {
        self.present().filter(|(host, _)| host.role.is_control_plane())
    }

    /// The control-plane hosts of the inventory that have the cluster's state.
    fn keepers(&self) -> impl Iterator<Item = (&'a Host, &'a HostFacts)> {
        self.controllers().filter(|(_, facts)| facts.server_state)
    }
}

fn finding(host: &Host, message: String, remedy: String) -> Finding {
    Finding { host: host.name.clone(), message, remedy }
}

/// The state is on a host that is to be no control plane any more, and on none that is to be one.
fn moved(cluster: &Cluster, hosts: &Answered<'_>) -> Option<Finding> {
    if hosts.keepers().next().is_some() {
        return None;
    }
    let ours = |facts: &HostFacts| facts.server_state && facts.cluster_name.as_deref() == Some(cluster.name.as_str());
    let (host, _) = hosts.0.iter().copied().find(|(_, facts)| ours(facts))?;
    let becomes = match host.state {
        State::Present => "a worker",
        State::Absent => "absent",
    };
    let message = format!(
        "the control plane of {} is on this host, which the inventory makes {becomes}; nothing was begun",
        cluster.name
    );
    let remedy = format!(
        "a control plane is not moved to another host: make {} the controller again, or take the cluster apart with \
         `rkctl reset` and make it anew",
        host.name
    );
    Some(finding(host, message, remedy))
}

/// The control-plane hosts are fresh, and others have joined a cluster: it is kept on a host nobody speaks of.
fn elsewhere(cluster: &Cluster, hosts: &Answered<'_>) -> Option<Finding> {
    // Whoever is not root does not see what is kept.
    let (controller, _) = hosts.controllers().find(|(_, facts)| facts.uid == Some(0))?;
    if hosts.keepers().next().is_some() {
        return None;
    }
    // A control-plane host whose state was lost may have an agent of its own.
    let is_member = |host: &Host, facts: &HostFacts| {
        facts.joined && !(host.role.is_control_plane() && facts.cluster_name.as_deref() == Some(cluster.name.as_str()))
    };
    let members: Vec<&str> =
        hosts.present().filter(|(host, facts)| is_member(host, facts)).map(|(host, _)| host.name.as_str()).collect();
    if members.is_empty() {
        return None;
    }
    let (names, verb) = (members.join(", "), if members.len() == 1 { "belongs" } else { "belong" });
    let message = format!(
        "there is no control plane on this host, and {names} {verb} to a cluster that has its own elsewhere; nothing \
         was begun"
    );
    let resets: Vec<String> = members.iter().map(|name| format!("--host {name}")).collect();
    let remedy = format!(
        "name that cluster's controller in the inventory; where that cluster is no more, run `rkctl reset {}` first",
        resets.join(" ")
    );
    Some(finding(controller, message, remedy))
}

/// The control plane's own node has another name: everything else leans on it.
fn renamed(hosts: &Answered<'_>) -> Option<Finding> {
    let (host, node) = hosts.controllers().find_map(|(host, facts)| Some((host, other_name(host, facts)?)))?;
    let message = format!("the host is the node {node}, and the inventory calls it {}; nothing was begun", host.name);
    let remedy =
        format!("a node is not renamed: put the name {node} back, or take the cluster apart with `rkctl reset`");
    Some(finding(host, message, remedy))
}

/// The name a host has joined under, where it is another than the inventory's. What its certificate says counts: the
/// configuration may have been written for another name since.
pub(super) fn other_name<'a>(host: &Host, facts: &'a HostFacts) -> Option<&'a str> {
    let name = facts.joined_as.as_deref().or(facts.agent_config.node_name.as_deref())?;
    (facts.joined && name != host.name).then_some(name)
}

/// Networks and domain are what addresses and names were given out from: they stay while the cluster does.
fn networks(cluster: &Cluster, hosts: &Answered<'_>) -> Vec<Finding> {
    let keeper = hosts.keepers().next().map(|(host, facts)| (host, &facts.server_config));
    // Where no control-plane host says anything, what agents run with does.
    let silent = hosts.controllers().next().is_none();
    let member = || hosts.present().find(|(_, facts)| silent && facts.joined);
    let Some((host, config)) = keeper.or_else(|| member().map(|(host, facts)| (host, &facts.agent_config))) else {
        return Vec::new();
    };
    let Configured { pod_cidr, service_cidr, cluster_domain, .. } = config;
    let wanted = &cluster.network;
    [
        ("podCIDR", pod_cidr, wanted.pod_cidr.to_string()),
        ("serviceCIDR", service_cidr, wanted.service_cidr.to_string()),
        ("clusterDomain", cluster_domain, wanted.cluster_domain.clone()),
    ]
    .into_iter()
    .filter_map(|(key, found, wanted)| {
        let found = found.as_ref().filter(|found| **found != wanted)?;
        let message = format!(
            "network.{key} is {wanted} in the inventory, and the cluster {} was made with {found}; nothing was begun",
            cluster.name
        );
        let remedy = format!(
            "it cannot change while the cluster is there: put {found} back, or take the cluster apart with `rkctl \
             reset` and make it anew"
        );
        Some(finding(host, message, remedy))
    })
    .collect()
}
