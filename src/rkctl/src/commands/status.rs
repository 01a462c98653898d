//! `rkctl status`

use std::collections::BTreeMap;

use inventory::{Cluster, Host, Unreachable};
use provision::cluster_facts::{ClusterFacts, GitOpsFacts};
use provision::{HostFacts, Observation};

use super::cluster::{Prepared, print_findings};
use crate::{exit, output, runtime};

/// Show hosts, nodes, addons and the repository as they are, and whether there is something to do.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rkctl status inventories/lab.yaml\n  rkctl status --output json")]
pub struct Args {
    #[command(flatten)]
    inventory: super::Inventory,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t)]
    output: output::Format,
}

pub fn run(args: Args) -> exit::Answer {
    let cluster = super::cluster::load(&args.inventory.path)?;
    runtime::operator(async {
        let prepared = Prepared::new(&cluster).await?;
        let plan = prepared.plan()?;
        let facts = cluster.controllers().find_map(|host| answered(&prepared, host)?.cluster.as_ref());
        let healthy = facts.is_some_and(|facts| is_healthy(&cluster, facts, &prepared.unreachable()));
        if args.output == output::Format::Json {
            output::print_json(&serde_json::json!({
                "cluster": cluster.name, "healthy": healthy, "facts": facts, "unreachable": prepared.unreachable(),
                "steps": plan.steps, "problems": plan.problems, "notices": plan.notices,
            }))?;
        } else {
            output::print(&text(&cluster, &prepared, &plan, healthy))?;
        }
        Ok(if healthy { exit::DONE } else { exit::PARTIAL })
    })
}

/// Whether all is as it should be. What hosts that do not answer are is left aside where the inventory lets it.
fn is_healthy(cluster: &Cluster, facts: &ClusterFacts, unreachable: &BTreeMap<String, String>) -> bool {
    let is_skipped =
        |host: &&Host| cluster.options.unreachable == Unreachable::Skip && unreachable.contains_key(&host.name);
    let is_ready = |host: &Host| facts.nodes.get(&host.name).is_some_and(|node| node.ready);
    facts.ready && facts.dns_answers != Some(false) && cluster.present().filter(|host| !is_skipped(host)).all(is_ready)
}

fn answered<'a>(prepared: &'a Prepared<'_>, host: &Host) -> Option<&'a HostFacts> {
    match prepared.observed.get(&host.name)? {
        Observation::Answered(facts) => Some(facts),
        Observation::Failed { .. } => None,
    }
}

fn text(cluster: &Cluster, prepared: &Prepared<'_>, plan: &provision::Plan, healthy: bool) -> String {
    let facts = cluster.controllers().find_map(|host| answered(prepared, host)?.cluster.as_ref());
    let mut rows = Vec::new();
    for host in cluster.present() {
        let node = facts.and_then(|facts| facts.nodes.get(&host.name));
        let unit = |name: &str| {
            let found = answered(prepared, host).map(|facts| facts.unit(name).active);
            found.filter(|state| !state.is_empty()).unwrap_or_else(|| "-".to_owned())
        };
        let state = match (answered(prepared, host), node) {
            (None, _) => "unreachable".to_owned(),
            // Whether it is Ready, only the control plane knows.
            (Some(host), None) if facts.is_none() && host.joined => "unknown".to_owned(),
            (_, None) => "not joined".to_owned(),
            (_, Some(node)) if node.ready && node.unschedulable => "Ready, cordoned".to_owned(),
            (_, Some(node)) if node.ready => "Ready".to_owned(),
            (_, Some(_)) => "NotReady".to_owned(),
        };
        rows.push(vec![
            host.name.clone(),
            format!("{:?}", host.role).to_lowercase(),
            host.address.clone(),
            state,
            if host.role.is_control_plane() { unit("rkctl-server") } else { "-".to_owned() },
            unit("rkctl-agent"),
            node.map(|node| node.version.clone()).unwrap_or_default(),
        ]);
    }
    let mut text = output::table(&["HOST", "ROLE", "ADDRESS", "NODE", "SERVER", "AGENT", "VERSION"], &rows);
    if let Some(facts) = facts {
        text.push_str(&format!("API server: {}\n", if facts.ready { "ready" } else { &facts.unready }));
        for (name, addon) in &facts.addons {
            text.push_str(&format!("addon {name}: {}\n", if addon.ready { "available" } else { "not available" }));
        }
        text.push_str(&facts.gitops.as_ref().map(repository).unwrap_or_default());
    }
    let unreachable = prepared.unreachable();
    text.push_str(&print_findings(plan, &unreachable));
    let state = if healthy { "healthy" } else { "not healthy" };
    text.push_str(&format!("The cluster {} is {state}; {}.\n", cluster.name, to_do(plan, unreachable.len())));
    text
}

/// The repository that the cluster follows, on one line; `rkctl gitops status` tells more.
fn repository(facts: &GitOpsFacts) -> String {
    match (facts.suspended, facts.ready) {
        (true, _) => "repository: suspended\n".to_owned(),
        (false, true) => format!("repository: {}\n", facts.message),
        (false, false) => format!("repository: not applied: {}\n", facts.message),
    }
}

/// What `up` would do, as far as anybody can tell.
fn to_do(plan: &provision::Plan, unreachable: usize) -> String {
    let steps = match plan.steps.len() {
        0 if !plan.problems.is_empty() => return "`rkctl up` can do nothing before this is put right".to_owned(),
        1 => "1 step".to_owned(),
        count => format!("{count} steps"),
    };
    let but = if unreachable > 0 { ", not counting hosts that cannot be reached" } else { "" };
    format!("`rkctl up` has {steps} to do{but}")
}

#[cfg(test)]
mod tests {
    use provision::cluster_facts::NodeFacts;
    use provision::{Finding, Plan};

    use super::*;

    #[test]
    fn a_repository_that_is_not_applied_is_told_with_its_cause() {
        let facts = |ready, suspended, message: &str| GitOpsFacts { ready, suspended, message: message.to_owned() };
        assert_eq!(repository(&facts(true, false, "commit 1 (A)")), "repository: commit 1 (A)\n");
        assert_eq!(repository(&facts(false, false, "a.yaml: wrong")), "repository: not applied: a.yaml: wrong\n");
        assert_eq!(repository(&facts(true, true, "commit 1 (A)")), "repository: suspended\n");
    }

    #[test]
    fn a_host_that_does_not_answer_decides_only_where_the_inventory_wants_it() {
        let cluster = |unreachable: &str| {
            let text = format!(
                "spec:\n  options: {{unreachable: {unreachable}}}\n  hosts:\n    - {{name: cp1, role: controller, \
                 address: 192.0.2.1}}\n    - {{name: w1, address: 192.0.2.2}}\n"
            );
            inventory::parse(&text, std::path::Path::new("hosts.yaml")).unwrap()
        };
        let ready = |ready| NodeFacts { ready, ..NodeFacts::default() };
        let nodes = BTreeMap::from([("cp1".to_owned(), ready(true)), ("w1".to_owned(), ready(false))]);
        let facts = ClusterFacts { ready: true, nodes, ..ClusterFacts::default() };
        let silent = BTreeMap::from([("w1".to_owned(), "no answer".to_owned())]);
        assert!(is_healthy(&cluster("skip"), &facts, &silent));
        assert!(!is_healthy(&cluster("fail"), &facts, &silent));
        assert!(!is_healthy(&cluster("skip"), &facts, &BTreeMap::new()), "it answers, and its node is not Ready");
        let lost = ClusterFacts { ready: false, ..facts };
        assert!(!is_healthy(&cluster("skip"), &lost, &silent));
    }

    #[test]
    fn what_is_left_to_do_is_told_as_far_as_it_is_known() {
        let problem = Finding { host: "w1".into(), message: "m".into(), remedy: "r".into() };
        let wrong = Plan { problems: vec![problem], ..Plan::default() };
        assert_eq!(to_do(&Plan::default(), 0), "`rkctl up` has 0 steps to do");
        assert_eq!(
            to_do(&Plan::default(), 1),
            "`rkctl up` has 0 steps to do, not counting hosts that cannot be reached"
        );
        assert_eq!(to_do(&wrong, 0), "`rkctl up` can do nothing before this is put right");
    }
}
