//! CronJobs: a job whenever the schedule says so.

use std::sync::Arc;
use std::time::Duration;

use client::events::{EventType, Recorder};
use client::informer::{Change, Informer};
use client::queue::{Outcome, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;

use crate::Shared;
use crate::common::error::{Error, cause, doing};
use crate::common::key::Key;
use crate::common::owners::{self, ByController, by_controller, controller_of};
use crate::common::{namespaces, ready};

mod plan;
pub mod schedule;

use plan::{plan, reference};

const COMPONENT: &str = "cronjob-controller";
/// CronJobs that are worked on at once.
const WORKERS: usize = 5;

struct Controller {
    client: kube::Client,
    crons: Informer<CronJob>,
    jobs: ByController<Job>,
    recorder: Recorder,
}

/// Makes jobs until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::new("cronjob");
    let (crons, jobs) = (context.informers.all::<CronJob>(), context.informers.all::<Job>());
    let controller = Arc::new(Controller {
        client: context.client.clone(),
        crons: crons.clone(),
        jobs: by_controller(&jobs),
        recorder: Recorder::new(context.client.clone(), COMPONENT, ""),
    });
    let enqueue = queue.clone();
    crons.on_change(move |change| enqueue.add(Key::of(&change.object().metadata)));
    let enqueue = queue.clone();
    jobs.on_change(move |change: &Change<Job>| {
        let metadata = &change.object().metadata;
        if let Some(owner) = controller_of(metadata).filter(|owner| owner.kind == "CronJob") {
            enqueue.add(Key::new(metadata.namespace.as_deref().unwrap_or_default(), &owner.name));
        }
    });
    if !ready(context, async { tokio::join!(crons.synced(), jobs.synced()) }).await {
        return Ok(());
    }
    let work = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(&key).await }
    };
    queue.run_until(&context.shutdown, WORKERS, work).await;
    Ok(())
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(cron) = self.crons.get(&key.namespace, &key.name) else { return Ok(Outcome::Done) };
        let jobs = self.jobs.controlled(owners::uid(&cron.metadata));
        let now = Timestamp::now();
        let mut plan = plan(&cron, &jobs, now);
        for (reason, message) in &plan.told {
            let type_ = if *reason == "JobAlreadyActive" { EventType::Normal } else { EventType::Warning };
            self.recorder.event(cron.as_ref(), type_, reason, message);
        }
        let api: Api<Job> = Api::namespaced(self.client.clone(), &key.namespace);
        for job in &plan.delete {
            self.delete(&api, &cron, job).await?;
        }
        if let Some((job, due)) = plan.create.take() {
            match self.create(&api, &cron, key, &job).await? {
                Some(job) => {
                    plan.status.active.get_or_insert_default().push(reference(&job));
                    plan.status.last_schedule_time = Some(Time(due));
                }
                None => return Ok(Outcome::Done),
            }
        }
        self.write_status(&cron, key, &plan.status).await?;
        Ok(plan.again_at.map_or(Outcome::Done, |at| {
            Outcome::After(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::from_secs(1)))
        }))
    }

    /// `None` where the namespace goes away and takes everything with it.
    async fn create(&self, api: &Api<Job>, cron: &CronJob, key: &Key, job: &Job) -> Result<Option<Job>, Error> {
        match api.create(&PostParams::default(), job).await {
            Ok(made) => {
                self.recorder.normal(cron, "SuccessfulCreate", &format!("Created job {}", made.name_any()));
                Ok(Some(made))
            }
            Err(error) if namespaces::goes_away(&error) => Ok(None),
            Err(error) if client::is_already_exists(&error) => {
                let name = job.name_any();
                let found = api.get(&name).await.map_err(doing(format!("read Job {}/{name}", key.namespace)))?;
                let ours = controller_of(&found.metadata).is_some_and(|owner| owner.uid == owners::uid(&cron.metadata));
                if ours {
                    return Ok(Some(found));
                }
                let problem = "is there already, and not of this CronJob: delete it".to_string();
                Err(Error::Object { object: format!("Job {}/{name}", key.namespace), problem })
            }
            Err(error) => {
                let error = doing(format!("create a job of CronJob {key}"))(error);
                self.recorder.warning(cron, "FailedCreate", &format!("Error creating job: {}", cause(&error)));
                Err(error)
            }
        }
    }

    async fn delete(&self, api: &Api<Job>, cron: &CronJob, job: &Job) -> Result<(), Error> {
        let name = job.name_any();
        let params = DeleteParams::background().preconditions(Preconditions { uid: job.uid(), resource_version: None });
        match api.delete(&name, &params).await {
            Ok(_) => {
                self.recorder.normal(cron, "SuccessfulDelete", &format!("Deleted job {name}"));
                Ok(())
            }
            Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => Ok(()),
            Err(error) => Err(doing(format!("delete Job {name}"))(error)),
        }
    }

    async fn write_status(&self, cron: &CronJob, key: &Key, status: &CronJobStatus) -> Result<(), Error> {
        let old = cron.status.clone().unwrap_or_default();
        let jobs = |status: &CronJobStatus| -> Vec<Option<String>> {
            status.active.iter().flatten().map(|job| job.uid.clone()).collect()
        };
        // A job's version in a reference says nothing about the CronJob.
        let same = jobs(&old) == jobs(status)
            && old.last_schedule_time == status.last_schedule_time
            && old.last_successful_time == status.last_successful_time;
        if same {
            return Ok(());
        }
        let active = status.active.clone().filter(|active| !active.is_empty());
        let patch = json!({"metadata": {"uid": cron.metadata.uid}, "status": {"active": active,
            "lastScheduleTime": status.last_schedule_time, "lastSuccessfulTime": status.last_successful_time}});
        let api: Api<CronJob> = Api::namespaced(self.client.clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if !client::is_not_found(&error) => {
                Err(doing(format!("write the status of CronJob {key}"))(error))
            }
            _ => Ok(()),
        }
    }
}
