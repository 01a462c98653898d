//! Keeps the cluster equal to a folder of a Git repository: fetch, render, check, plan, apply, prune.
//!
//! [`run`] is one of several candidates; the leader works. What is there is asked of the cluster every time: the
//! inventory and the status are ConfigMaps ([`INVENTORY_NAME`], [`STATUS_NAME`]), and nothing else is remembered. Git
//! is only spoken to through `git`'s worker process. Nothing here knows how the API stores things.

mod apply;
mod cluster;
mod inventory;
mod object;
mod order;
mod plan;
mod reconcile;
mod render;
mod source;
mod status;
mod steer;
mod wanted;

use std::time::Duration;

use client::leader::{self, Election, Ended};
use stdx::backoff::Backoff;

pub use inventory::INVENTORY_NAME;
pub use status::{STATUS_KEY, STATUS_NAME, Status, read as read_status};

/// The namespace of what GitOps keeps in the cluster.
pub const NAMESPACE: &str = "kube-system";
/// Whom the follower acts as. The binding `rkctl:gitops` lets it do everything: it applies whatever is in the
/// repository.
pub const USER: &str = "system:rkctl-gitops";
/// The field manager of what is applied.
pub const MANAGER: &str = "rkctl-gitops";
/// On the status: bring the cluster up to date now. The value is free; the status repeats it when that is done.
pub const RECONCILE_AT: &str = "rkctl.dev/reconcileAt";
/// On the status: `true` lets everything be as it is.
pub const SUSPEND: &str = "rkctl.dev/suspend";
/// On an object: `disabled` keeps it when its file is removed.
pub const PRUNE: &str = "rkctl.dev/prune";

/// What is followed, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// `https://`, `ssh://`, `user@host:path` or `file://`; without a password.
    pub url: String,
    /// A branch, a tag or a commit.
    pub reference: String,
    /// The folder in the repository; empty for its root.
    pub path: String,
    /// How often the repository is asked and drift is looked for.
    pub interval: Duration,
    /// How the Git server and we know each other.
    pub auth: git::Auth,
    /// How the worker process is started, and where copies of repositories are kept.
    pub worker: git::Worker,
    /// The candidate's name in the election; different for each host.
    pub identity: String,
}

/// Why the cluster was not made equal to the repository. Messages name the file and the object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository could not be fetched or read.
    #[error("repository")]
    Git(#[from] git::Error),
    /// The files of the commit make no objects.
    #[error("{0}")]
    Render(String),
    /// The cluster refuses objects of the commit; nothing was changed.
    #[error("nothing was changed: {}", list(.0))]
    Invalid(Vec<Problem>),
    /// Some objects could not be applied or pruned.
    #[error("{}", list(.0))]
    Incomplete(Vec<Problem>),
    /// The API did not do what keeping the books needs.
    #[error("API")]
    Api(#[from] client::Error),
    /// The inventory or the status is not what was written.
    #[error("ConfigMap {NAMESPACE}/{name} cannot be read: correct or delete it")]
    Books {
        /// Which one.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// What is wrong with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file or kustomization it comes from; empty where it comes from the inventory.
    pub file: String,
    /// `Deployment.apps web/front`.
    pub object: String,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [&self.file, &self.object, &self.message];
        let parts: Vec<&str> = parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        f.write_str(&parts.join(": "))
    }
}

/// Problems beyond these are counted and not told.
const TOLD_PROBLEMS: usize = 10;

fn list(problems: &[Problem]) -> String {
    let mut told: Vec<String> = problems.iter().take(TOLD_PROBLEMS).map(ToString::to_string).collect();
    if problems.len() > TOLD_PROBLEMS {
        told.push(format!("and {} more", problems.len() - TOLD_PROBLEMS));
    }
    told.join("; ")
}

/// First pause before the status is tried again to be removed, and the longest.
const FORGET_RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Removes the status of a repository that is followed no longer, so that nobody takes it for what is. Its objects
/// stay, and so does the inventory: a repository that is followed later finds by it what it does not have.
pub async fn forget(context: client::Context) {
    let mut backoff = Backoff::new(FORGET_RETRY[0], FORGET_RETRY[1]);
    while let Err(error) = cluster::remove_books(&context.client, STATUS_NAME).await {
        tracing::warn!(error = stdx::error::chain(&error), "cannot remove the status; will retry");
        tokio::select! {
            () = tokio::time::sleep(backoff.next_delay()) => {}
            () = context.shutdown.cancelled() => return,
        }
    }
}

/// Follows the repository until the context's shutdown.
///
/// # Errors
/// Only for a configuration that can never work; everything else is told in the status and tried again.
pub async fn run(config: Config, context: client::Context) -> Result<(), Error> {
    git::url::parse(&config.url)?;
    let election = Election::new(NAMESPACE, MANAGER, &config.identity);
    loop {
        let ended = leader::lead(&context.client, &election, &context.shutdown, |token| {
            reconcile::Reconciler::new(config.clone(), context.clone()).run(token)
        });
        if ended.await == Ended::ShutDown {
            return Ok(());
        }
    }
}
