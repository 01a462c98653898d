//! What the commands that work with a whole cluster share: load, connect, observe, plan.

use std::collections::BTreeMap;
use std::path::Path;

use inventory::{Cluster, Host, Unreachable};
use jiff::Timestamp;
use provision::secrets::GitFiles;
use provision::{Fleet, Observation, Plan, Release};

use crate::access;
use crate::exit::Usage;
use crate::release::release;

/// Loads an inventory and refuses what this version cannot do.
pub fn load(path: &Path) -> Result<Cluster, inventory::Error> {
    inventory::load_for(env!("CARGO_PKG_VERSION"), path)
}

/// A cluster with connections to its hosts and what was found on them.
pub struct Prepared<'a> {
    pub cluster: &'a Cluster,
    pub fleet: Fleet,
    pub release: Release,
    pub git_files: GitFiles,
    pub observed: BTreeMap<String, Observation>,
}

impl<'a> Prepared<'a> {
    /// Connects to the hosts and asks them what they are.
    pub async fn new(cluster: &'a Cluster) -> anyhow::Result<Self> {
        let git_files = GitFiles::read(cluster.gitops.as_ref(), &cluster.security).await;
        let git_files = git_files.map_err(|error| {
            Usage(format!("spec.gitops.auth or spec.security of the inventory: {}", stdx::error::chain(&error)))
        })?;
        access::check_files(cluster, &git_files).map_err(Usage)?;
        // The file's hash is computed while the connections come about.
        let hashing = {
            let (cluster, git_files) = (cluster.clone(), git_files.clone());
            tokio::task::spawn_blocking(move || release(&cluster, &git_files))
        };
        let fleet = provision::connect(cluster).await;
        let observed = provision::observe(cluster, &fleet).await;
        Ok(Self { cluster, fleet, release: hashing.await??, git_files, observed })
    }

    /// Asks the hosts again.
    pub async fn observe_again(&mut self) {
        self.observed = provision::observe(self.cluster, &self.fleet).await;
    }

    pub fn plan(&self) -> anyhow::Result<Plan> {
        Ok(provision::plan(self.cluster, &self.observed, &self.release, Timestamp::now())?)
    }

    /// Hosts that are to be in the cluster and did not answer, with the reason. An absent one is only a notice of the
    /// plan: there is nothing to wait for.
    pub fn unreachable(&self) -> BTreeMap<String, String> {
        let cause = |host: &Host| match self.observed.get(&host.name)? {
            Observation::Failed { cause } => Some((host.name.clone(), cause.clone())),
            Observation::Answered(_) => None,
        };
        self.cluster.present().filter_map(cause).collect()
    }

    /// Whether hosts that did not answer make the run fail.
    pub fn counts_as_failure(&self) -> bool {
        !self.unreachable().is_empty()
            && (self.cluster.options.unreachable == Unreachable::Fail
                || self.cluster.controllers().all(|host| self.unreachable().contains_key(&host.name)))
    }
}

/// A plan for people.
pub fn print_plan(plan: &Plan, unreachable: &BTreeMap<String, String>, hosts: usize) -> String {
    let mut text = print_findings(plan, unreachable);
    let mut line = |line: String| text.push_str(&(line + "\n"));
    for step in &plan.steps {
        line(format!("+ {}: {} ({})", step.host, step.title, step.reason));
        match (step.before.is_empty(), step.after.is_empty()) {
            (true, true) => {}
            (true, false) => line(format!("      {}", step.after)),
            _ => line(format!("      {} -> {}", step.before, step.after)),
        }
    }
    line(conclusion(plan, unreachable.len(), hosts));
    text
}

/// What was found beside steps: hosts that do not answer, problems and notices.
pub fn print_findings(plan: &Plan, unreachable: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let mut line = |line: String| text.push_str(&(line + "\n"));
    for (host, cause) in unreachable {
        line(format!("! {host}: cannot be reached: {cause}"));
    }
    for problem in &plan.problems {
        line(format!("! {}: {}; {}", problem.host, problem.message, problem.remedy));
    }
    for notice in &plan.notices {
        line(format!("~ {}: {}; {}", notice.host, notice.message, notice.remedy));
    }
    text
}

/// What a plan comes to; nothing is said of hosts that nobody could look at.
fn conclusion(plan: &Plan, unreachable: usize, hosts: usize) -> String {
    if plan.steps.is_empty() && unreachable > 0 && unreachable == hosts {
        return "No host answered: what they need is not known.".to_owned();
    }
    let steps = match plan.steps.len() {
        0 if !plan.problems.is_empty() => "Nothing can be done before this is put right.".to_owned(),
        0 if unreachable > 0 => "Nothing to do on hosts that answered.".to_owned(),
        0 => "Nothing to do.".to_owned(),
        1 => "1 step.".to_owned(),
        count => format!("{count} steps."),
    };
    match unreachable {
        0 => steps,
        1 => format!("{steps} 1 host could not be looked at: what it needs is not known."),
        count => format!("{steps} {count} hosts could not be looked at: what they need is not known."),
    }
}

#[cfg(test)]
mod tests {
    use provision::Finding;

    use super::*;

    #[test]
    fn a_plan_says_nothing_of_hosts_that_nobody_could_look_at() {
        let problem = Finding { host: "w1".into(), message: "m".into(), remedy: "r".into() };
        let wrong = Plan { problems: vec![problem], ..Plan::default() };
        for (plan, unreachable, hosts, expected) in [
            (&Plan::default(), 0, 3, "Nothing to do."),
            (&Plan::default(), 2, 3, "2 hosts could not be looked at: what they need is not known."),
            (&Plan::default(), 1, 3, "Nothing to do on hosts that answered. 1 host could not be looked at"),
            (&Plan::default(), 3, 3, "No host answered: what they need is not known."),
            (&Plan::default(), 1, 1, "No host answered"),
            (&wrong, 0, 3, "Nothing can be done before this is put right."),
        ] {
            let said = conclusion(plan, unreachable, hosts);
            assert!(said.contains(expected) && (unreachable == 0 || !said.contains("to do. ")), "{said}");
            assert!(unreachable < hosts || !said.contains("that answered"), "{said}");
        }
    }
}
