//! The loop of the leader: a turn every interval or when asked for, and what is told of it.

use std::time::Duration;

use client::events::{EventType, Recorder};
use git::Commit;
use k8s_openapi::api::core::v1::ObjectReference;
use stdx::backoff::Backoff;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::apply::{self, Known, Outcome};
use crate::render::Rendered;
use crate::status::{self, STATUS_NAME, Status};
use crate::steer::{self, Steering};
use crate::{Config, Error, MANAGER, NAMESPACE, cluster, source};

/// First pause after a failure; then twice that, up to the interval.
const RETRY: Duration = Duration::from_secs(2);
/// Objects named in an event; more are counted.
const NAMED_OBJECTS: usize = 5;

/// Follows the repository while it leads.
pub struct Reconciler {
    config: Config,
    context: client::Context,
    recorder: Recorder,
    backoff: Backoff,
    /// The objects of the commit that was last rendered.
    rendered: Option<(Commit, Vec<Rendered>)>,
    known: Known,
}

impl Reconciler {
    pub fn new(config: Config, context: client::Context) -> Self {
        let recorder = Recorder::new(context.client.clone(), MANAGER, "");
        let backoff = Backoff::new(RETRY.min(config.interval), config.interval);
        Self { config, context, recorder, backoff, rendered: None, known: Known::new() }
    }

    /// Turn after turn until `token` is cancelled. A turn that is cut short leaves nothing that the next one, here or
    /// elsewhere, does not put right.
    pub async fn run(mut self, token: CancellationToken) {
        let work = async {
            let mut steering = steer::follow(&self.context).await;
            loop {
                let asked = steering.borrow_and_update().clone();
                let next = self.turn(&asked).await;
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    changed = steering.changed() => if changed.is_err() {
                        tokio::time::sleep_until(next).await;
                    }
                }
            }
        };
        tokio::select! {
            () = token.cancelled() => {}
            () = work => {}
        }
    }

    /// One turn; answers when the next one is due.
    async fn turn(&mut self, asked: &Steering) -> Instant {
        let begun = Instant::now();
        let client = self.context.client.clone();
        let stored = match cluster::read_books(&client, STATUS_NAME).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(error = stdx::error::chain(&error), "cannot read the status; will retry");
                return begun + self.backoff.next_delay();
            }
        };
        // A status that cannot be read is written anew: nothing is decided by it.
        let before = stored.as_ref().and_then(|map| status::read(map).ok());
        let mut status = before.clone().unwrap_or_default();
        status.url.clone_from(&self.config.url);
        status.reference.clone_from(&self.config.reference);
        status.path.clone_from(&self.config.path);
        status.suspended = asked.suspended;
        let mut next = begun + self.config.interval;
        let mut told = None;
        if !asked.suspended {
            match self.sync(&mut status).await {
                Ok(outcome) => {
                    self.backoff.reset();
                    told = succeeded(&mut status, before.as_ref(), &outcome);
                }
                Err(error) => {
                    next = Instant::now() + self.backoff.next_delay();
                    let text = stdx::error::chain(&error);
                    tracing::warn!(error = text, "the cluster is not equal to the repository");
                    told = Some((EventType::Warning, "Failed", text.clone()));
                    status.ready = false;
                    status.error = Some(text);
                }
            }
            status.last_handled_reconcile_at.clone_from(&asked.reconcile_at);
        }
        if before.as_ref() != Some(&status)
            && let Err(error) = cluster::write_books(&client, &status::write(&status)).await
        {
            tracing::warn!(error = stdx::error::chain(&error), "cannot write the status; will retry");
            next = Instant::now() + self.backoff.next_delay();
        }
        if let Some((type_, reason, message)) = told {
            self.recorder.about(about(stored.and_then(|map| map.metadata.uid)), type_, reason, &message);
        }
        next
    }

    /// Fetches, renders where the commit is another one, and brings about.
    async fn sync(&mut self, status: &mut Status) -> Result<Outcome, Error> {
        let commit = source::fetch(&self.config).await?;
        status.last_attempted_commit = Some(commit.id.clone());
        let rendered = match self.rendered.take() {
            Some((last, rendered)) if last.id == commit.id => rendered,
            _ => {
                self.known.clear();
                source::objects(&self.config, &commit.id).await?
            }
        };
        let (_, objects) = self.rendered.insert((commit.clone(), rendered));
        let outcome = apply::bring_about(&self.context.client, objects.clone(), &mut self.known).await?;
        status.last_applied_commit = Some(commit.id);
        status.last_applied_subject = Some(commit.subject);
        Ok(outcome)
    }
}

/// Notes a success; answers what is to be told of it.
fn succeeded(
    status: &mut Status,
    before: Option<&Status>,
    outcome: &Outcome,
) -> Option<(EventType, &'static str, String)> {
    status.ready = true;
    status.error = None;
    status.objects = outcome.objects;
    let is_new = before.is_none_or(|before| before.last_applied_commit != status.last_applied_commit);
    let is_changed = !outcome.applied.is_empty() || !outcome.pruned.is_empty();
    if !is_new && !is_changed {
        return None;
    }
    let id: String = status.last_applied_commit.iter().flat_map(|id| id.chars()).take(12).collect();
    let counts = format!("{} applied, {} pruned", outcome.applied.len(), outcome.pruned.len());
    let (reason, message) = if is_new {
        let subject = status.last_applied_subject.as_deref().unwrap_or_default();
        ("Applied", format!("commit {id} ({subject}): {} objects, {counts}", outcome.objects))
    } else {
        ("DriftCorrected", format!("commit {id} restored: {counts}: {}", named(outcome)))
    };
    tracing::info!("{message}");
    status.applied_at = Some(jiff::Timestamp::now().to_string());
    status.message.clone_from(&message);
    Some((EventType::Normal, reason, message))
}

fn named(outcome: &Outcome) -> String {
    let all: Vec<&str> = outcome.applied.iter().chain(&outcome.pruned).map(String::as_str).collect();
    let mut text = all[..all.len().min(NAMED_OBJECTS)].join(", ");
    if all.len() > NAMED_OBJECTS {
        text.push_str(&format!(" and {} more", all.len() - NAMED_OBJECTS));
    }
    text
}

fn about(uid: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("ConfigMap".to_owned()),
        namespace: Some(NAMESPACE.to_owned()),
        name: Some(STATUS_NAME.to_owned()),
        uid,
        ..ObjectReference::default()
    }
}
