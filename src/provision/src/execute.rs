//! Carries a plan out: each host's steps in order, hosts side by side, waves one after the other.
//!
//! A host whose step fails is left where it is and the others are finished. Running again continues, since the next
//! plan is made from what is found then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use inventory::Cluster;
use serde::Serialize;
use tokio::sync::OnceCell;

use crate::connect::Fleet;
use crate::plan::{Plan, Step, Wave};
use crate::secrets::GitFiles;

mod actions;

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Outcome {
    /// It is done.
    Done,
    /// It failed.
    Failed {
        /// Why, with every cause.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// It was not begun.
    Skipped {
        /// Why; the step's own reason is why it is needed.
        cause: String,
    },
}

/// A step and what came of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepResult {
    /// The step.
    #[serde(flatten)]
    pub step: Step,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it took.
    pub elapsed_ms: u64,
    /// What a person should know of it, though it is done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What came of a plan.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Every step of the plan once, in the order they ended.
    pub steps: Vec<StepResult>,
}

impl Report {
    /// Whether every step is done.
    pub fn is_success(&self) -> bool {
        self.steps.iter().all(|result| result.outcome == Outcome::Done)
    }

    /// The steps that failed.
    pub fn failures(&self) -> impl Iterator<Item = &StepResult> {
        self.steps.iter().filter(|result| matches!(result.outcome, Outcome::Failed { .. }))
    }
}

/// Is told how a run goes on, from several tasks at once.
pub trait Progress: Send + Sync {
    /// A step begins.
    fn begin(&self, step: &Step);
    /// A step ended.
    fn end(&self, result: &StepResult);
}

/// All that steps are carried out with.
pub struct Job<'a> {
    /// The cluster that is wanted.
    pub cluster: &'a Cluster,
    /// Connections.
    pub fleet: &'a Fleet,
    /// This program's own file.
    pub binary: PathBuf,
    /// Credentials for the repository.
    pub git_files: GitFiles,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

/// What is fetched from the control plane once for all hosts.
#[derive(Default)]
struct Shared {
    authority: OnceCell<String>,
    token: OnceCell<String>,
}

/// Carries the plan out. Hosts in `broken` are not touched, with the reason given.
pub async fn execute(job: &Job<'_>, plan: &Plan, broken: BTreeMap<String, String>) -> Report {
    let shared = Shared::default();
    let run = Run { job, shared: &shared, broken: Mutex::new(broken), results: Mutex::new(Vec::new()) };
    for wave in [Wave::Host, Wave::Join, Wave::Cluster, Wave::Leave] {
        let mut by_host: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
        for step in plan.steps.iter().filter(|step| step.wave == wave) {
            by_host.entry(&step.host).or_default().push(step);
        }
        if wave != Wave::Host {
            run.check_control_plane();
        }
        let run = &run;
        futures::stream::iter(by_host)
            .map(|(host, steps)| async move { run.host(host, &steps).await })
            .buffer_unordered(job.cluster.options.parallel.max(1))
            .collect::<()>()
            .await;
    }
    Report { steps: into_inner(run.results) }
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

struct Run<'a> {
    job: &'a Job<'a>,
    shared: &'a Shared,
    /// Hosts on which nothing more is done, with the reason.
    broken: Mutex<BTreeMap<String, String>>,
    results: Mutex<Vec<StepResult>>,
}

impl Run<'_> {
    fn broken(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.broken.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Without a control plane nothing joins.
    fn check_control_plane(&self) {
        let mut broken = self.broken();
        let controllers: BTreeSet<&str> = self.job.cluster.controllers().map(|host| host.name.as_str()).collect();
        if controllers.iter().any(|name| !broken.contains_key(*name)) {
            return;
        }
        for host in &self.job.cluster.hosts {
            broken.entry(host.name.clone()).or_insert_with(|| "the control plane is not ready".to_owned());
        }
    }

    async fn host(&self, host: &str, steps: &[&Step]) {
        for step in steps {
            if let Some(cause) = self.skipped(host, step) {
                self.record(step, Outcome::Skipped { cause }, Duration::ZERO, Vec::new());
                continue;
            }
            self.job.progress.begin(step);
            let began = Instant::now();
            let (outcome, notes) = match actions::carry_out(self.job, self.shared, step).await {
                Ok(notes) => (Outcome::Done, notes),
                Err(error) => {
                    self.broken().insert(host.to_owned(), format!("`{}` failed on {host}", step.title));
                    let (remedy, cause) = (actions::remedy(step, &error), stdx::error::chain(&error));
                    (Outcome::Failed { cause, remedy }, Vec::new())
                }
            };
            self.record(step, outcome, began.elapsed(), notes);
        }
    }

    /// Why a step is not begun: its host is broken, or the host whose node it sets is and has not joined.
    fn skipped(&self, host: &str, step: &Step) -> Option<String> {
        let broken = self.broken();
        let node = match &step.action {
            crate::plan::Action::SetNode { settings, joined: false } => broken.get(&settings.name),
            _ => None,
        };
        broken.get(host).or(node).cloned()
    }

    fn record(&self, step: &Step, outcome: Outcome, elapsed: Duration, notes: Vec<String>) {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let result = StepResult { step: step.clone(), outcome, elapsed_ms, notes };
        self.job.progress.end(&result);
        self.results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(result);
    }
}

#[cfg(test)]
mod tests;
