//! What must be done so that the hosts are what the inventory wants. Pure: no host is asked here.
//!
//! One file a step in `plan/`; each looks at one thing and adds a step where it is not as it should be.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use inventory::{Cluster, Host, State};
use jiff::Timestamp;
use serde::Serialize;

use crate::error::Error;
use crate::observe::{HostFacts, Observation};
use crate::render::Templates;

mod access;
mod addons;
mod belonging;
mod binary;
mod carried;
mod files;
mod firewall;
mod identity;
mod join;
mod kernel;
mod links;
mod nodes;
mod preflight;
mod remove;
mod repository;
mod runtime;
mod server;
mod swap;

pub use firewall::{Opening, Source, openings};

/// Where the binary lives on a host.
pub const BINARY: &str = "/usr/local/bin/rkctl";
/// Ports of services on every node.
pub const NODE_PORT_RANGE: &str = "30000-32767";

/// What this program brings along.
#[derive(Debug, Clone)]
pub struct Release {
    /// Version of this program.
    pub version: String,
    /// SHA-256 of its file, in hexadecimal.
    pub sha256: String,
    /// `x86_64`.
    pub arch: String,
    /// Path on the server and SHA-256 of the credentials for the repository.
    pub git_files: BTreeMap<String, String>,
    /// Name and hash of every addon it carries.
    pub addons: BTreeMap<String, String>,
}

/// When a step runs, beside its place among its host's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Wave {
    /// On each host, on all at once; includes the control plane's start.
    Host,
    /// On each host once the control plane is ready.
    Join,
    /// On the control plane once the hosts have joined.
    Cluster,
    /// Hosts that leave.
    Leave,
}

/// What carries a step out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A script for `/bin/sh` with its parameters and input.
    Run {
        /// POSIX shell.
        script: &'static str,
        /// `$1` and on.
        args: Vec<String>,
        /// Standard input; never a secret.
        input: String,
        /// How long it may take.
        timeout: Duration,
    },
    /// A file, whole or not at all.
    Write {
        /// Where.
        path: String,
        /// What.
        content: String,
        /// Permission bits.
        mode: u32,
        /// Run afterwards.
        then: Option<&'static str>,
    },
    /// This program's own file.
    CopyBinary {
        /// In hexadecimal.
        sha256: String,
    },
    /// Keys and certificates, made on the host itself.
    Certificates,
    /// Files for the server that only it reads.
    Secrets {
        /// Those below this folder.
        folder: &'static str,
    },
    /// Enables a unit and starts it anew.
    Restart {
        /// Without `.service`.
        unit: &'static str,
    },
    /// Waits until the API server is ready.
    AwaitServer,
    /// The cluster's authority from the control plane.
    FetchAuthority,
    /// A bootstrap token for the agent, with the API server it is good for.
    HandToken {
        /// `https://ADDRESS:PORT`.
        server: String,
    },
    /// Waits until the node is Ready.
    AwaitNode,
    /// Labels and taints of a node.
    SetNode {
        /// What they are to be.
        settings: crate::cluster_facts::NodeSettings,
        /// The node is in the cluster already: it is set whether its host answers or not.
        joined: bool,
    },
    /// Applies addons, and removes those that are not wanted.
    ApplyAddons {
        /// Wanted.
        apply: Vec<String>,
        /// Not wanted and there.
        remove: Vec<String>,
    },
    /// Waits until addons are available.
    AwaitAddons(Vec<String>),
    /// Drains a node and deletes it.
    RemoveNode {
        /// The node.
        name: String,
        /// How long its pods are given.
        drain_timeout: Duration,
    },
    /// Leaves the host as it was before rkctl.
    Reset,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The host it is done on.
    pub host: String,
    /// What kind of step it is.
    pub id: &'static str,
    /// When it runs.
    pub wave: Wave,
    /// What it does, in a few words.
    pub title: String,
    /// Why it is needed.
    pub reason: String,
    /// What is there now, for people.
    pub before: String,
    /// What will be there, for people.
    pub after: String,
    /// What carries it out.
    #[serde(skip)]
    pub action: Action,
}

/// Something a person should know of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The host.
    pub host: String,
    /// What is the matter.
    pub message: String,
    /// What follows from it or what to do.
    pub remedy: String,
}

/// What must be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// In the order of waves, hosts and each host's steps.
    pub steps: Vec<Step>,
    /// Hosts on which nothing can be done until somebody sees to it.
    pub problems: Vec<Finding>,
    /// What does not stop anything.
    pub notices: Vec<Finding>,
}

/// All that a step's file looks at.
pub(crate) struct View<'a> {
    pub cluster: &'a Cluster,
    pub host: &'a Host,
    pub facts: &'a HostFacts,
    pub peers: &'a Peers,
    pub release: &'a Release,
    pub templates: &'a Templates,
}

/// What hosts know of each other.
pub(crate) struct Peers {
    /// Address in the cluster of every host that is to be in it and is known.
    pub addresses: BTreeMap<String, IpAddr>,
    /// What the cluster says; `None` before there is one.
    pub cluster: Option<crate::cluster_facts::ClusterFacts>,
    /// The cluster's authority.
    pub ca_sha256: Option<String>,
    /// Whether a control-plane host said what it is.
    pub controller_answered: bool,
    /// Where agents find the API server.
    pub servers: Vec<String>,
}

/// The plan of one host while it grows.
pub(crate) struct Draft<'a> {
    host: &'a str,
    plan: &'a mut Plan,
    /// Units that must start anew, with the reason.
    pub restarts: BTreeMap<&'static str, String>,
}

impl Draft<'_> {
    pub fn problem(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        let finding = Finding { host: self.host.to_owned(), message: message.into(), remedy: remedy.into() };
        self.plan.problems.push(finding);
    }

    pub fn notice(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        let finding = Finding { host: self.host.to_owned(), message: message.into(), remedy: remedy.into() };
        self.plan.notices.push(finding);
    }

    pub fn step(
        &mut self,
        wave: Wave,
        id: &'static str,
        title: impl Into<String>,
        reason: impl Into<String>,
    ) -> Adding<'_> {
        Adding {
            steps: &mut self.plan.steps,
            step: Step {
                host: self.host.to_owned(),
                id,
                wave,
                title: title.into(),
                reason: reason.into(),
                before: String::new(),
                after: String::new(),
                action: Action::Reset,
            },
        }
    }

    pub fn restart(&mut self, unit: &'static str, reason: impl Into<String>) {
        self.restarts.entry(unit).or_insert_with(|| reason.into());
    }
}

/// A step that is being added.
pub(crate) struct Adding<'a> {
    steps: &'a mut Vec<Step>,
    step: Step,
}

impl Adding<'_> {
    pub fn change(mut self, before: impl Into<String>, after: impl Into<String>) -> Self {
        self.step.before = before.into();
        self.step.after = after.into();
        self
    }

    pub fn by(mut self, action: Action) {
        let step = &self.step;
        debug_assert!(
            [&step.title, &step.reason, &step.before, &step.after].iter().all(|text| !text.is_empty()),
            "the step {} does not say why it is needed or what it changes",
            step.id
        );
        self.step.action = action;
        self.steps.push(self.step);
    }

    pub fn script(self, script: &'static str, args: Vec<String>) {
        self.by(Action::Run { script, args, input: String::new(), timeout: SCRIPT_TIMEOUT });
    }
}

/// How long a script of preparation may take.
pub(crate) const SCRIPT_TIMEOUT: Duration = Duration::from_secs(60);

/// Computes the plan.
///
/// # Errors
/// [`Error::Template`], which is a bug of this program.
pub fn plan(
    cluster: &Cluster,
    observed: &BTreeMap<String, Observation>,
    release: &Release,
    _now: Timestamp,
) -> Result<Plan, Error> {
    let templates = Templates::new()?;
    let peers = peers(cluster, observed);
    let mut plan = Plan::default();
    if !belonging::plan(cluster, observed, &mut plan) {
        return Ok(plan);
    }
    for host in &cluster.hosts {
        let Some(facts) = observed.get(&host.name).and_then(Observation::facts) else {
            plan.notices.extend(remove::out_of_reach(host));
            continue;
        };
        let view = View { cluster, host, facts, peers: &peers, release, templates: &templates };
        let mut draft = Draft { host: &host.name, plan: &mut plan, restarts: BTreeMap::new() };
        match host.state {
            State::Present => plan_present(&view, &mut draft)?,
            State::Absent => remove::plan_host(&view, &mut draft),
        }
    }
    cluster_wide(cluster, observed, &peers, release, &mut plan);
    let order: BTreeMap<&str, usize> =
        cluster.hosts.iter().enumerate().map(|(index, host)| (host.name.as_str(), index)).collect();
    plan.steps.sort_by_key(|step| (step.wave, order.get(step.host.as_str()).copied()));
    Ok(plan)
}

fn plan_present(view: &View<'_>, draft: &mut Draft<'_>) -> Result<(), Error> {
    if !preflight::plan(view, draft) {
        return Ok(());
    }
    swap::plan(view, draft);
    kernel::plan(view, draft)?;
    identity::plan(view, draft);
    links::plan(view, draft)?;
    firewall::plan(view, draft)?;
    runtime::plan(view, draft)?;
    binary::plan(view, draft);
    if view.host.role.is_control_plane() {
        server::plan(view, draft)?;
    }
    if view.host.role.is_control_plane() || view.peers.controller_answered {
        return join::plan(view, draft);
    }
    // Nothing joins without a control plane, and an agent's configuration must not name one that nobody saw.
    Ok(())
}

/// What is done on a control-plane host for the whole cluster.
fn cluster_wide(
    cluster: &Cluster,
    observed: &BTreeMap<String, Observation>,
    peers: &Peers,
    release: &Release,
    plan: &mut Plan,
) {
    let Some(controller) = cluster.controllers().next() else { return };
    if !matches!(observed.get(&controller.name), Some(Observation::Answered(_)))
        || plan.problems.iter().any(|problem| problem.host == controller.name)
    {
        return;
    }
    // A host with a problem does not join, and what is known of its node may be another's.
    let is_wrong = |host: &&Host| plan.problems.iter().any(|problem| problem.host == host.name);
    let joining: Vec<String> = cluster.present().filter(|host| !is_wrong(host)).map(|host| host.name.clone()).collect();
    let mut draft = Draft { host: &controller.name, plan, restarts: BTreeMap::new() };
    nodes::plan(cluster, observed, peers, &joining, &mut draft);
    let wait = addons::plan(cluster, peers, release, &mut draft);
    // The pods of a dead host are what addons would be waited for in vain.
    remove::plan_nodes(cluster, observed, peers, &mut draft);
    addons::plan_wait(wait, &mut draft);
}

fn peers(cluster: &Cluster, observed: &BTreeMap<String, Observation>) -> Peers {
    let facts = |host: &Host| match observed.get(&host.name) {
        Some(Observation::Answered(facts)) => Some(&**facts),
        _ => None,
    };
    let address = |host: &Host| host.node_ip().or_else(|| facts(host)?.address.map(IpAddr::V4));
    let addresses: BTreeMap<String, IpAddr> =
        cluster.present().filter_map(|host| Some((host.name.clone(), address(host)?))).collect();
    let controller = cluster.controllers().find_map(facts);
    let servers = cluster
        .controllers()
        .filter_map(|host| addresses.get(&host.name))
        .map(|address| match address {
            IpAddr::V4(address) => format!("https://{address}:{}", inventory::cluster::API_PORT),
            IpAddr::V6(address) => format!("https://[{address}]:{}", inventory::cluster::API_PORT),
        })
        .collect();
    Peers {
        addresses,
        cluster: controller.and_then(|facts| facts.cluster.clone()),
        ca_sha256: controller.and_then(|facts| facts.sha256("/etc/rkctl/pki/ca.crt")).map(str::to_owned),
        controller_answered: controller.is_some(),
        servers,
    }
}

#[cfg(test)]
mod tests;
