//! What the commands that work with a whole cluster share: load, connect, observe, plan.

use std::collections::BTreeMap;
use std::path::Path;

use inventory::{Cluster, Unreachable};
use jiff::Timestamp;
use provision::secrets::GitFiles;
use provision::{Fleet, Observation, Plan, Release};

use crate::exit::Usage;
use crate::release::release;

/// Loads an inventory and refuses what this version cannot do.
pub fn load(path: &Path) -> anyhow::Result<Cluster> {
    let cluster = inventory::load(path)?;
    let mut missing = inventory::unsupported(&cluster);
    let own = env!("CARGO_PKG_VERSION");
    if let Some(version) = cluster.version.as_deref().filter(|version| *version != own) {
        missing.push(format!(
            "spec.version is {version}, this is rkctl {own}: use rkctl {version}, or change the inventory"
        ));
    }
    if missing.is_empty() {
        Ok(cluster)
    } else {
        Err(Usage(format!("{}: {}", path.display(), missing.join("; "))).into())
    }
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
        let git_files = GitFiles::read(cluster.gitops.as_ref()).await?;
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

    /// Hosts that did not answer, with the reason.
    pub fn unreachable(&self) -> BTreeMap<String, String> {
        self.observed
            .iter()
            .filter_map(|(name, observation)| match observation {
                Observation::Failed { cause } => Some((name.clone(), cause.clone())),
                Observation::Answered(_) => None,
            })
            .collect()
    }

    /// Whether hosts that did not answer make the run fail.
    pub fn counts_as_failure(&self) -> bool {
        !self.unreachable().is_empty()
            && (self.cluster.options.unreachable == Unreachable::Fail
                || self.cluster.controllers().all(|host| self.unreachable().contains_key(&host.name)))
    }
}

/// A plan for people.
pub fn print_plan(plan: &Plan, unreachable: &BTreeMap<String, String>) -> String {
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
    for step in &plan.steps {
        line(format!("+ {}: {} ({})", step.host, step.title, step.reason));
        match (step.before.is_empty(), step.after.is_empty()) {
            (true, true) => {}
            (true, false) => line(format!("      {}", step.after)),
            _ => line(format!("      {} -> {}", step.before, step.after)),
        }
    }
    line(match plan.steps.len() {
        0 => "Nothing to do.".to_owned(),
        1 => "1 step.".to_owned(),
        count => format!("{count} steps."),
    });
    text
}
