//! What is to be done for a job, of the job as it is and of its pods. Pure.
//!
//! A pod is counted once: when it has ended, its uid is written into the status as uncounted; then its finalizer is
//! taken off; and when it is seen without one, or is gone, the uid makes way for a count. Whatever is interrupted goes
//! on from the status. Indexes need no uids: an index that has succeeded is written once however often it is seen.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::count::{count, is_counted, note};
use super::indexes::Indexes;
use super::manage;
use super::pod::{New, is_indexed, is_tracked};
use super::policy;
use crate::common::pods;

/// Failures in a row, for the pause before the next pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures {
    /// Since the last success.
    pub count: u32,
    /// When the last pod failed.
    pub last: Option<Timestamp>,
    /// Pods (uids) that are in the count though the job ignores their failure, while they have their finalizer: the
    /// status does not tell of them.
    pub ignored: BTreeSet<String>,
}

impl Failures {
    /// One more, that ended then.
    pub fn add(&mut self, ended: Timestamp) {
        self.count = self.count.saturating_add(1);
        self.last = self.last.max(Some(ended));
    }
}

/// What is seen of a job.
pub struct Observed<'a> {
    pub job: &'a Job,
    /// Its pods, those that leave and those that have ended too.
    pub pods: &'a [Arc<Pod>],
    pub failures: Failures,
    pub now: Timestamp,
}

/// What is to be done, in this order.
#[derive(Debug, Default)]
pub struct Plan {
    pub status: JobStatus,
    /// Once the status is written.
    pub failures: Failures,
    /// Pods of a job that ends: they keep their finalizer until they have gone, and count.
    pub delete: Vec<Arc<Pod>>,
    /// Pods that are asked for no more: their finalizer comes off before they are deleted, since they are no failures.
    pub remove: Vec<Arc<Pod>>,
    pub create: Vec<New>,
    /// Pods that are counted, or need no counting: their finalizer comes off.
    pub release: Vec<Arc<Pod>>,
    pub again_at: Option<Timestamp>,
}

impl Plan {
    /// Asks to be called again, at the earliest time that anyone asks for.
    pub fn again(&mut self, at: Timestamp) {
        self.again_at = Some(self.again_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Whether a condition of that type holds.
pub fn holds(status: &JobStatus, type_: &str) -> bool {
    condition(status, type_).is_some_and(|condition| condition.status == "True")
}

fn condition<'a>(status: &'a JobStatus, type_: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// Whether the job has ended.
pub fn is_finished(status: &JobStatus) -> bool {
    holds(status, "Complete") || holds(status, "Failed")
}

/// Only pods that have failed are replaced, and not those that are about to end.
pub fn replaces_failed_only(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed")
}

/// A job while it is looked at.
pub struct Counts<'a> {
    pub observed: &'a Observed<'a>,
    pub spec: &'a JobSpec,
    pub status: JobStatus,
    pub active: Vec<Arc<Pod>>,
    /// Pods that are about to end.
    pub leaving: usize,
    pub succeeded: i32,
    pub failed: i32,
    /// Indexes that have succeeded, and those that have failed for good.
    pub completed: Indexes,
    pub failed_indexes: Indexes,
    /// Why a pod's failure is the job's.
    pub fail_job: Option<String>,
    /// Failed pods whose failure does not count.
    pub ignored: HashSet<String>,
    /// Failed pods of a job that limits failures by index, which count but are not written down yet: one that
    /// remembers its index's failures keeps its finalizer for long, and must take nobody's room in the status.
    pub unnoted: Vec<Arc<Pod>>,
    /// More pods have ended than one look counts: what is missing is not known yet.
    pub is_partial: bool,
}

/// What is to be done.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let job = observed.job;
    let old = job.status.clone().unwrap_or_default();
    let mut plan = Plan { failures: observed.failures.clone(), ..Plan::default() };
    let Some(spec) = job.spec.as_ref() else { return plan };
    let tracked = || observed.pods.iter().filter(|pod| is_tracked(pod)).cloned();
    if is_finished(&old) || job.metadata.deletion_timestamp.is_some() {
        return Plan { status: old, release: tracked().collect(), ..plan };
    }
    let mut counts = count(observed, spec, old, &mut plan);
    begin(&mut counts);
    let target = target(&mut counts, &mut plan);
    match &target {
        Some(target) => {
            plan.delete = counts.active.clone();
            finish(&mut counts, target);
        }
        None if spec.suspend == Some(true) => plan.remove = counts.active.clone(),
        None => manage::manage(&counts, &mut plan),
    }
    note(&mut counts, target.is_some(), &mut plan);
    plan.release = tracked().filter(|pod| is_counted(pod, &counts, target.is_some())).collect();
    tell_numbers(&mut counts);
    plan.status = counts.status;
    plan
}

/// Zero where there is none.
pub fn number(value: Option<i32>) -> i32 {
    value.unwrap_or(0)
}

/// Start, suspension and resumption.
fn begin(counts: &mut Counts<'_>) {
    let suspended = counts.spec.suspend == Some(true);
    let now = counts.observed.now;
    let was = holds(&counts.status, "Suspended");
    if suspended && !was {
        set(&mut counts.status, "Suspended", true, "JobSuspended", "Job suspended", now);
    } else if !suspended && was {
        set(&mut counts.status, "Suspended", false, "JobResumed", "Job resumed", now);
        counts.status.start_time = Some(Time(whole_second(now)));
    }
    if !suspended && counts.status.start_time.is_none() {
        counts.status.start_time = Some(Time(whole_second(now)));
    }
}

/// How the job is about to end.
struct Target {
    complete: bool,
    reason: String,
    message: String,
}

/// Why the job ends; noted in its conditions before its last pods have gone.
fn target(counts: &mut Counts<'_>, plan: &mut Plan) -> Option<Target> {
    let known = |type_: &str, complete: bool| {
        let condition = condition(&counts.status, type_).filter(|condition| condition.status == "True")?;
        let (reason, message) = (condition.reason.clone(), condition.message.clone());
        Some(Target { complete, reason: reason.unwrap_or_default(), message: message.unwrap_or_default() })
    };
    let known = known("FailureTarget", false).or_else(|| known("SuccessCriteriaMet", true));
    if known.is_some() {
        return known;
    }
    let fails =
        |reason: &str, message: &str| Some(Target { complete: false, reason: reason.into(), message: message.into() });
    let target = if let Some(why) = &counts.fail_job {
        fails("PodFailurePolicy", why)
    } else if counts.failed > counts.spec.backoff_limit.unwrap_or(6) || restarts_too_often(counts) {
        fails("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    } else if is_late(counts, plan) {
        fails("DeadlineExceeded", "Job was active longer than specified deadline")
    } else {
        failed_indexes(counts).or_else(|| success(counts))
    }?;
    let type_ = if target.complete { "SuccessCriteriaMet" } else { "FailureTarget" };
    set(&mut counts.status, type_, true, &target.reason, &target.message, counts.observed.now);
    Some(target)
}

/// Containers that restart in their pods count as failures too.
fn restarts_too_often(counts: &Counts<'_>) -> bool {
    let template = counts.spec.template.spec.as_ref();
    if template.and_then(|spec| spec.restart_policy.as_deref()) != Some("OnFailure") {
        return false;
    }
    let restarts = |pod: &Arc<Pod>| -> i64 {
        let status = pod.status.as_ref();
        let all = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
        let init = status.and_then(|status| status.init_container_statuses.as_ref()).into_iter().flatten();
        all.chain(init).map(|container| i64::from(container.restart_count)).sum()
    };
    let total: i64 = counts.active.iter().map(restarts).sum();
    match counts.spec.backoff_limit.unwrap_or(6) {
        0 => total > 0,
        limit => total >= i64::from(limit),
    }
}

fn is_late(counts: &Counts<'_>, plan: &mut Plan) -> bool {
    let Some(seconds) = counts.spec.active_deadline_seconds.filter(|_| counts.spec.suspend != Some(true)) else {
        return false;
    };
    let Some(start) = counts.status.start_time.as_ref() else { return false };
    let Ok(end) = start.0.checked_add(SignedDuration::from_secs(seconds)) else { return false };
    if end <= counts.observed.now {
        return true;
    }
    plan.again(end);
    false
}

fn failed_indexes(counts: &Counts<'_>) -> Option<Target> {
    let (spec, failed) = (counts.spec, counts.failed_indexes.len());
    let fails =
        |reason: &str, message: &str| Some(Target { complete: false, reason: reason.into(), message: message.into() });
    if failed == 0 || spec.backoff_limit_per_index.is_none() {
        return None;
    }
    if spec.max_failed_indexes.is_some_and(|most| failed > most) {
        return fails("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
    }
    let all = failed + counts.completed.len() >= number(spec.completions);
    if all { fails("FailedIndexes", "Job has failed indexes") } else { None }
}

fn success(counts: &Counts<'_>) -> Option<Target> {
    let spec = counts.spec;
    let indexed = is_indexed(counts.observed.job);
    let met = policy::enough(spec.success_policy.as_ref(), &counts.completed, number(spec.completions));
    if let Some(rule) = met.filter(|_| indexed) {
        return Some(Target {
            complete: true,
            reason: "SuccessPolicy".into(),
            message: format!("Matched rules at index {rule}"),
        });
    }
    let reached = match spec.completions {
        Some(completions) => counts.succeeded >= completions,
        // Of a queue one success says that there is no more work.
        None => counts.succeeded > 0,
    };
    let message = "Reached expected number of succeeded pods".to_string();
    (reached && counts.active.is_empty()).then(|| Target {
        complete: true,
        reason: "CompletionsReached".into(),
        message,
    })
}

/// The job has ended when nothing of it runs and everything is counted.
fn finish(counts: &mut Counts<'_>, target: &Target) {
    let uncounted = counts.status.uncounted_terminated_pods.as_ref();
    let left = uncounted.is_some_and(|all| {
        !all.succeeded.as_deref().unwrap_or_default().is_empty()
            || !all.failed.as_deref().unwrap_or_default().is_empty()
    });
    let tracked = counts.observed.pods.iter().any(|pod| is_tracked(pod));
    if !counts.active.is_empty() || counts.leaving > 0 || left || tracked {
        return;
    }
    let now = counts.observed.now;
    let type_ = if target.complete { "Complete" } else { "Failed" };
    set(&mut counts.status, type_, true, &target.reason, &target.message, now);
    if target.complete {
        counts.status.completion_time = Some(Time(whole_second(now)));
    }
}

/// What the status says of the present.
fn tell_numbers(counts: &mut Counts<'_>) {
    let few = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let ready = counts.active.iter().filter(|pod| pods::is_ready(pod)).count();
    let indexed = is_indexed(counts.observed.job);
    let status = &mut counts.status;
    status.active = Some(few(counts.active.len())).filter(|active| *active > 0);
    status.ready = Some(few(ready));
    status.terminating = Some(few(counts.leaving));
    if indexed {
        status.succeeded = Some(counts.completed.len());
        status.completed_indexes = Some(counts.completed.to_string()).filter(|text| !text.is_empty());
        let per_index = counts.spec.backoff_limit_per_index.is_some();
        status.failed_indexes = per_index.then(|| counts.failed_indexes.to_string());
    }
    status.succeeded = status.succeeded.filter(|succeeded| *succeeded > 0);
    status.failed = status.failed.filter(|failed| *failed > 0);
    let UncountedTerminatedPods { succeeded, failed } = status.uncounted_terminated_pods.take().unwrap_or_default();
    let some = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
    status.uncounted_terminated_pods =
        Some(UncountedTerminatedPods { succeeded: some(succeeded), failed: some(failed) });
}

fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn set(status: &mut JobStatus, type_: &str, value: bool, reason: &str, message: &str, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let at = Some(Time(whole_second(now)));
    let fresh = JobCondition {
        type_: type_.to_string(),
        status: if value { "True" } else { "False" }.to_string(),
        reason: Some(reason.to_string()),
        message: Some(message.to_string()),
        last_probe_time: at.clone(),
        last_transition_time: at,
    };
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(condition) => *condition = fresh,
        None => conditions.push(fresh),
    }
}
