//! Deletes jobs that have ended when their `ttlSecondsAfterFinished` is over.

use std::time::Duration;

use client::queue::{Outcome, WorkQueue};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Preconditions};

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::key::Key;
use crate::common::ready;

const WORKERS: usize = 2;

/// Deletes until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::new("ttl-after-finished");
    let (jobs, client) = (context.informers.all::<Job>(), context.client.clone());
    let enqueue = queue.clone();
    jobs.on_change(move |change| {
        if expires_at(change.object()).is_some() {
            enqueue.add(Key::of(&change.object().metadata));
        }
    });
    if !ready(context, jobs.synced()).await {
        return Ok(());
    }
    let work = move |key: Key| {
        let (job, client) = (jobs.get(&key.namespace, &key.name), client.clone());
        async move {
            let Some((job, at)) = job.and_then(|job| expires_at(&job).map(|at| (job, at))) else {
                return Ok(Outcome::Done);
            };
            let now = Timestamp::now();
            if at > now {
                let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::from_secs(1));
                return Ok(Outcome::After(wait));
            }
            delete(&client, &job, &key).await.map(|()| Outcome::Done)
        }
    };
    queue.run_until(&context.shutdown, WORKERS, work).await;
    Ok(())
}

/// The version is asked for too: somebody may lengthen the time meanwhile.
async fn delete(client: &kube::Client, job: &Job, key: &Key) -> Result<(), Error> {
    let preconditions = Preconditions { uid: job.uid(), resource_version: job.resource_version() };
    let params = DeleteParams::foreground().preconditions(preconditions);
    match Api::<Job>::namespaced(client.clone(), &key.namespace).delete(&key.name, &params).await {
        Err(error) if !client::is_not_found(&error) => Err(doing(format!("delete Job {key}"))(error)),
        _ => Ok(()),
    }
}

/// When a job that has ended goes; `None` where it stays or goes already.
fn expires_at(job: &Job) -> Option<Timestamp> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let ended =
        conditions.iter().find(|one| matches!(one.type_.as_str(), "Complete" | "Failed") && one.status == "True")?;
    let at = ended.last_transition_time.as_ref()?.0;
    let leaving = job.metadata.deletion_timestamp.is_some();
    at.checked_add(SignedDuration::from_secs(i64::from(ttl))).ok().filter(|_| !leaving)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_job_goes_when_its_time_after_the_end_is_over() {
        let job = |ttl: Value, type_: &str| -> Job {
            serde_json::from_value(json!({"metadata": {"name": "j"}, "spec": {"ttlSecondsAfterFinished": ttl,
                "template": {}}, "status": {"conditions": [{"type": type_, "status": "True",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}))
            .unwrap()
        };
        let at = Some("2026-01-01T00:01:00Z".parse().unwrap());
        assert_eq!(expires_at(&job(json!(60), "Complete")), at);
        assert_eq!(expires_at(&job(json!(60), "Failed")), at);
        assert_eq!(expires_at(&job(json!(60), "FailureTarget")), None);
        assert_eq!(expires_at(&job(Value::Null, "Complete")), None);
    }
}
