//! Jobs: pods that run to an end.
//!
//! `plan` decides, `count` counts pods that have ended, `manage` how many there are, `policy` what failures and successes mean, `pod` what pods are
//! made like. The status is written first and only then anything else done, since it is what counting goes by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::events::Recorder;
use client::informer::{Change, Informer};
use client::queue::{Outcome, WorkQueue};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::{Selector, SelectorExt};
use serde_json::{Value, json};

use crate::Shared;
use crate::common::creation::Creation;
use crate::common::error::{Error, doing};
use crate::common::expectations::{EXPIRES_AFTER, Expectations};
use crate::common::key::Key;
use crate::common::owners::{self, ByController, by_controller, controller_of};
use crate::common::{pods, ready};

mod count;
pub mod indexes;
mod manage;
mod plan;
mod pod;
mod policy;
#[cfg(test)]
mod tests;

pub use plan::is_finished;

use plan::{Failures, Observed, Plan, holds};
use pod::{New, is_tracked};

const COMPONENT: &str = "job-controller";
/// Jobs that are worked on at once.
const WORKERS: usize = 5;
/// Who manages a job that names nobody.
const MANAGER: &str = "kubernetes.io/job-controller";

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Task {
    /// A job.
    Job(Key),
    /// A pod that no job has, and that nobody counts any more.
    Orphan(Key),
}

struct Controller {
    client: kube::Client,
    jobs: Informer<Job>,
    all_pods: Informer<Pod>,
    pods: ByController<Pod>,
    expectations: Expectations,
    recorder: Recorder,
    /// Of the job of that name and uid; lost with the process, which only shortens a pause.
    failures: Mutex<HashMap<Key, (String, Failures)>>,
}

/// Runs jobs until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::new("job");
    let (jobs, all_pods) = (context.informers.all::<Job>(), context.informers.all::<Pod>());
    let controller = Arc::new(Controller {
        client: context.client.clone(),
        jobs: jobs.clone(),
        pods: by_controller(&all_pods),
        all_pods: all_pods.clone(),
        expectations: Expectations::default(),
        recorder: Recorder::new(context.client.clone(), COMPONENT, ""),
        failures: Mutex::default(),
    });
    let (enqueue, of_job) = (queue.clone(), controller.pods.clone());
    jobs.on_change(move |change| {
        let job = change.object();
        if matches!(change, Change::Deleted(_)) {
            let left = of_job.controlled(owners::uid(&job.metadata));
            left.iter().for_each(|pod| enqueue.add(Task::Orphan(Key::of(&pod.metadata))));
        }
        enqueue.add(Task::Job(Key::of(&job.metadata)));
    });
    let (enqueue, expectations, known) = (queue.clone(), controller.expectations.clone(), jobs.clone());
    all_pods.on_change(move |change| pod_changed(change, &known, &expectations, &enqueue));
    if !ready(context, async { tokio::join!(jobs.synced(), all_pods.synced()) }).await {
        return Ok(());
    }
    // Pods that were told of before the jobs were.
    let left = all_pods.list(None).into_iter().filter(|pod| is_tracked(pod) && is_left(pod, &jobs));
    left.for_each(|pod| queue.add(Task::Orphan(Key::of(&pod.metadata))));
    let work = move |task| {
        let controller = controller.clone();
        async move {
            match task {
                Task::Job(key) => controller.reconcile(&key).await,
                Task::Orphan(key) => controller.let_go(&key).await,
            }
        }
    };
    queue.run_until(&context.shutdown, WORKERS, work).await;
    Ok(())
}

fn pod_changed(change: &Change<Pod>, jobs: &Informer<Job>, expectations: &Expectations, queue: &WorkQueue<Task>) {
    let pod = change.object();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if is_tracked(pod) && jobs.is_synced() && is_left(pod, jobs) {
        queue.add(Task::Orphan(Key::of(&pod.metadata)));
    }
    let Some(owner) = controller_of(&pod.metadata).filter(|owner| owner.kind == "Job") else {
        // One that nobody has may be adopted.
        if controller_of(&pod.metadata).is_none() && !matches!(change, Change::Deleted(_)) {
            let selects = |job: &Job| selector(job).is_some_and(|selector| selector.matches(pod.labels()));
            let takers = jobs.list(Some(namespace)).into_iter().filter(|job| selects(job));
            takers.for_each(|job| queue.add(Task::Job(Key::of(&job.metadata))));
        }
        return;
    };
    let key = Key::new(namespace, &owner.name);
    match change {
        Change::Added(_) if !pods::is_terminating(pod) => expectations.created(&key),
        Change::Deleted(_) => expectations.deleted(&key, owners::uid(&pod.metadata)),
        _ if pods::is_terminating(pod) => expectations.deleted(&key, owners::uid(&pod.metadata)),
        _ => {}
    }
    queue.add(Task::Job(key));
}

/// Whether the pod is nobody's, or a job's that is gone.
fn is_left(pod: &Pod, jobs: &Informer<Job>) -> bool {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    controller_of(&pod.metadata).is_none_or(|owner| {
        let job = jobs.get(namespace, &owner.name);
        owner.kind == "Job" && job.is_none_or(|job| owners::uid(&job.metadata) != owner.uid)
    })
}

fn selector(job: &Job) -> Option<Selector> {
    Selector::try_from(job.spec.as_ref()?.selector.clone()?).ok().filter(|selector| !selector.selects_all())
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(job) = self.jobs.get(&key.namespace, &key.name) else {
            self.expectations.forget(key);
            self.lock().remove(key);
            return Ok(Outcome::Done);
        };
        let managed = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref()).is_none_or(|by| by == MANAGER);
        let Some(selector) = selector(&job).filter(|_| managed) else { return Ok(Outcome::Done) };
        let may_act = self.expectations.met(key);
        let id = owners::uid(&job.metadata).to_string();
        let mut claims = owners::claim(&job.metadata, &selector, self.pods.candidates(&key.namespace, &id));
        claims.adopt.retain(|pod| pods::is_active(pod));
        owners::settle_holding(&self.client, job.as_ref(), &claims, Some(pod::TRACKING)).await?;
        claims.owned.append(&mut claims.adopt);
        let now = Timestamp::now();
        let known = self.lock().get(key).filter(|(uid, _)| *uid == id).cloned();
        let failures = known.map(|(_, failures)| failures).unwrap_or_default();
        let plan = plan::plan(&Observed { job: &job, pods: &claims.owned, failures, now });
        self.write_status(&job, key, &plan.status).await?;
        self.remember(key, id, &plan);
        self.tell(&job, &plan.status);
        let mut done = Ok(());
        if may_act {
            done = self.carry_out(&job, key, &plan).await;
        }
        self.release(key, &plan.release).await?;
        done?;
        if !may_act {
            return Ok(Outcome::After(EXPIRES_AFTER));
        }
        Ok(plan.again_at.map_or(Outcome::Done, |at| {
            Outcome::After(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::from_secs(1)))
        }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (String, Failures)>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the job's name, so that what is remembered goes when it is looked at for the last time, without a job.
    fn remember(&self, key: &Key, id: String, plan: &Plan) {
        if is_finished(&plan.status) || plan.failures == Failures::default() {
            self.lock().remove(key);
        } else {
            self.lock().insert(key.clone(), (id, plan.failures.clone()));
        }
    }

    fn tell(&self, job: &Job, status: &JobStatus) {
        let old = job.status.clone().unwrap_or_default();
        let begins = |type_: &str| holds(status, type_) && !holds(&old, type_);
        if begins("Complete") {
            self.recorder.normal(job, "Completed", "Job completed");
        }
        if begins("Suspended") {
            self.recorder.normal(job, "Suspended", "Job suspended");
        } else if holds(&old, "Suspended") && !holds(status, "Suspended") {
            self.recorder.normal(job, "Resumed", "Job resumed");
        }
        let failed = status.conditions.iter().flatten().find(|condition| condition.type_ == "FailureTarget");
        if let Some(failed) = failed.filter(|_| begins("FailureTarget")) {
            let (reason, message) = (failed.reason.as_deref(), failed.message.as_deref());
            self.recorder.warning(job, reason.unwrap_or_default(), message.unwrap_or_default());
        }
    }

    async fn carry_out(&self, job: &Arc<Job>, key: &Key, plan: &Plan) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        if !plan.delete.is_empty() || !plan.remove.is_empty() {
            let uids = plan.delete.iter().chain(&plan.remove).map(|pod| owners::uid(&pod.metadata).to_string());
            self.expectations.expect(key, 0, uids);
            let deletions = join_all(plan.delete.iter().map(|pod| self.delete(&api, job, key, pod))).await;
            let removals = join_all(plan.remove.iter().map(|pod| self.remove(&api, job, key, pod))).await;
            return deletions.into_iter().chain(removals).collect();
        }
        if plan.create.is_empty() {
            return Ok(());
        }
        self.expectations.expect(key, plan.create.len(), []);
        self.create(&api, job, key, &plan.create).await
    }

    async fn create(&self, api: &Api<Pod>, job: &Arc<Job>, key: &Key, all: &[New]) -> Result<(), Error> {
        let (recorder, expectations) = (&self.recorder, &self.expectations);
        let creation = Creation { api, owner: job.as_ref(), key, recorder, expectations };
        creation.run(all, |new| pod::make(job, new)).await
    }

    async fn delete(&self, api: &Api<Pod>, job: &Arc<Job>, key: &Key, pod: &Pod) -> Result<(), Error> {
        let name = pod.name_any();
        let params = DeleteParams::default().preconditions(Preconditions { uid: pod.uid(), resource_version: None });
        match api.delete(&name, &params).await {
            Ok(_) => {
                self.recorder.normal(job.as_ref(), "SuccessfulDelete", &format!("Deleted pod: {name}"));
                Ok(())
            }
            Err(error) => {
                self.expectations.deleted(key, owners::uid(&pod.metadata));
                if client::is_not_found(&error) || client::is_conflict(&error) {
                    return Ok(());
                }
                Err(doing(format!("delete pod {}/{name}", key.namespace))(error))
            }
        }
    }

    /// Deletes a pod that nobody is to count.
    async fn remove(&self, api: &Api<Pod>, job: &Arc<Job>, key: &Key, pod: &Pod) -> Result<(), Error> {
        if is_tracked(pod) {
            let released = release(api, pod).await;
            if !matches!(released, Ok(true)) {
                self.expectations.deleted(key, owners::uid(&pod.metadata));
                return released.map(drop);
            }
        }
        self.delete(api, job, key, pod).await
    }

    /// Takes the finalizer off pods that are counted.
    async fn release(&self, key: &Key, pods: &[Arc<Pod>]) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let released = join_all(pods.iter().map(|pod| release(&api, pod))).await;
        released.into_iter().try_for_each(|released| released.map(drop))
    }

    /// Lets go of a pod that no job has.
    async fn let_go(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(pod) = self.all_pods.get(&key.namespace, &key.name).filter(|pod| is_tracked(pod)) else {
            return Ok(Outcome::Done);
        };
        if is_left(&pod, &self.jobs) {
            release(&Api::namespaced(self.client.clone(), &key.namespace), &pod).await?;
        }
        Ok(Outcome::Done)
    }

    async fn write_status(&self, job: &Job, key: &Key, status: &JobStatus) -> Result<(), Error> {
        let old = whole(&job.status.clone().unwrap_or_default());
        let new = whole(status);
        if old == new {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": job.metadata.uid, "resourceVersion": job.metadata.resource_version},
            "status": new});
        let api: Api<Job> = Api::namespaced(self.client.clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if !client::is_not_found(&error) => Err(doing(format!("write the status of Job {key}"))(error)),
            _ => Ok(()),
        }
    }
}

/// Takes the finalizer off a pod. `false` where the pod is gone or was changed since it was read.
async fn release(api: &Api<Pod>, pod: &Pod) -> Result<bool, Error> {
    let name = pod.name_any();
    let left: Vec<&String> =
        pod.metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != pod::TRACKING).collect();
    let left = if left.is_empty() { Value::Null } else { json!(left) };
    let patch = json!({"metadata": {"uid": pod.uid(), "resourceVersion": pod.resource_version(), "finalizers": left}});
    match api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
        // What changed meanwhile is seen and released then.
        Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => Ok(false),
        other => other.map(|_| true).map_err(doing(format!("let go of pod {name}"))),
    }
}

/// Every field of a status, `null` where it has none, as a merge patch needs it.
fn whole(status: &JobStatus) -> Value {
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let list = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
    json!({
        "active": status.active, "completedIndexes": status.completed_indexes,
        "completionTime": status.completion_time, "conditions": status.conditions, "failed": status.failed,
        "failedIndexes": status.failed_indexes, "ready": status.ready, "startTime": status.start_time,
        "succeeded": status.succeeded, "terminating": status.terminating,
        "uncountedTerminatedPods": {"failed": list(uncounted.failed), "succeeded": list(uncounted.succeeded)},
    })
}
