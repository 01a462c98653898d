//! Which pods of a job have ended and how, each counted once on its way through the status. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;

use super::indexes::Indexes;
use super::manage;
use super::plan::{Counts, Failures, Observed, Plan, number, replaces_failed_only};
use super::pod::{self, is_indexed, is_leaving, is_tracked};
use super::policy::{self, Action};
use crate::common::owners::uid;
use crate::common::pods;

/// Pods whose end one look writes down; statuses have a size.
const COUNTED_AT_ONCE: usize = 500;

/// Whether a pod will not become more than it is.
fn has_ended(pod: &Pod, spec: &JobSpec) -> bool {
    pods::is_terminal(pod) || (pods::is_terminating(pod) && !replaces_failed_only(spec))
}

/// How pods have ended: those that were written down before, and those that are new.
#[derive(Default)]
struct Ended {
    /// Pods (uids) that the status is to tell of until they are let go.
    succeeded: Vec<String>,
    failed: Vec<String>,
    completed: Indexes,
    failed_indexes: Indexes,
    fail_job: Option<String>,
    ignored: HashSet<String>,
    unnoted: Vec<Arc<Pod>>,
}

impl Ended {
    /// Whether the status has no room for more.
    fn is_full(&self) -> bool {
        self.succeeded.len() + self.failed.len() >= COUNTED_AT_ONCE
    }

    /// Takes in a pod that has ended and is not let go yet. `failures` are those in a row.
    fn take(&mut self, pod: &Arc<Pod>, spec: &JobSpec, now: Timestamp, failures: &mut Failures) {
        let indexed = spec.completion_mode.as_deref() == Some("Indexed");
        let index = pod::index(pod).filter(|index| *index < number(spec.completions));
        let id = uid(&pod.metadata).to_string();
        if self.succeeded.contains(&id) || self.failed.contains(&id) || (indexed && index.is_none()) {
            return;
        }
        if pods::phase(pod) == "Succeeded" {
            (failures.count, failures.last) = (0, None);
            match index.filter(|_| indexed) {
                Some(index) => self.completed.insert(index),
                None => self.succeeded.push(id),
            }
            return;
        }
        let action = policy::action(spec.pod_failure_policy.as_ref(), pod);
        let limit = spec.backoff_limit_per_index;
        if let Some(index) = index.filter(|_| limit.is_some()) {
            let counted = pod::failures(pod).0.saturating_add(i32::from(action != Action::Ignore));
            if action == Action::FailIndex || counted > number(limit) {
                self.failed_indexes.insert(index);
            }
        }
        let ended = pod::ended_at(pod, now);
        match action {
            Action::Ignore => {
                self.ignored.insert(id.clone());
                if failures.ignored.insert(id) {
                    failures.add(ended);
                }
            }
            // By index the pods themselves tell how long to pause.
            _ if limit.is_some() => self.unnoted.push(pod.clone()),
            _ => {
                failures.add(ended);
                self.failed.push(id);
            }
        }
        if let Action::FailJob(why) = action {
            self.fail_job.get_or_insert(why);
        }
    }
}

/// Counts. What is new is in the status that the counts have, and in the plan's failures.
pub fn count<'a>(observed: &'a Observed<'a>, spec: &'a JobSpec, old: JobStatus, plan: &mut Plan) -> Counts<'a> {
    let indexed = is_indexed(observed.job);
    let text = |text: &Option<String>| Indexes::parse(text.as_deref().unwrap_or_default(), number(spec.completions));
    let mut ended = Ended::default();
    if indexed {
        (ended.completed, ended.failed_indexes) = (text(&old.completed_indexes), text(&old.failed_indexes));
    }
    let mut status = old;
    let uncounted = status.uncounted_terminated_pods.take().unwrap_or_default();
    let tracked: HashSet<&str> =
        observed.pods.iter().filter(|pod| is_tracked(pod)).map(|pod| uid(&pod.metadata)).collect();
    plan.failures.ignored.retain(|id| tracked.contains(id.as_str()));
    ended.succeeded = settle(uncounted.succeeded, &tracked, &mut status.succeeded);
    ended.failed = settle(uncounted.failed, &tracked, &mut status.failed);
    let mut is_partial = false;
    for pod in observed.pods.iter().filter(|pod| is_tracked(pod) && has_ended(pod, spec)) {
        if ended.is_full() {
            plan.again(observed.now);
            is_partial = true;
            break;
        }
        ended.take(pod, spec, observed.now, &mut plan.failures);
    }
    let total =
        |counted: Option<i32>, more: usize| number(counted).saturating_add(i32::try_from(more).unwrap_or(i32::MAX));
    let of_uids = total(status.succeeded, ended.succeeded.len());
    let failed = total(status.failed, ended.failed.len() + ended.unnoted.len());
    let Ended { succeeded, failed: noted, completed, failed_indexes, fail_job, ignored, unnoted } = ended;
    let uncounted = UncountedTerminatedPods { succeeded: Some(succeeded), failed: Some(noted) };
    status.uncounted_terminated_pods = Some(uncounted);
    Counts {
        observed,
        spec,
        active: observed.pods.iter().filter(|pod| pods::is_active(pod)).cloned().collect(),
        leaving: observed.pods.iter().filter(|pod| is_leaving(pod)).count(),
        succeeded: if indexed { completed.len() } else { of_uids },
        failed,
        completed,
        failed_indexes,
        fail_job,
        ignored,
        unnoted,
        is_partial,
        status,
    }
}

/// Pods that are seen without their finalizer are counted, and their uids forgotten; the others.
fn settle(uncounted: Option<Vec<String>>, tracked: &HashSet<&str>, counter: &mut Option<i32>) -> Vec<String> {
    let mut all = uncounted.unwrap_or_default();
    let before = all.len();
    all.retain(|id| tracked.contains(id.as_str()));
    let settled = i32::try_from(before - all.len()).unwrap_or(i32::MAX);
    *counter = Some(number(*counter).saturating_add(settled));
    all
}

/// Writes down the failed pods that need not remember anything any more.
pub fn note(counts: &mut Counts<'_>, ends: bool, plan: &mut Plan) {
    let unnoted = std::mem::take(&mut counts.unnoted);
    let uncounted = counts.status.uncounted_terminated_pods.take().unwrap_or_default();
    let UncountedTerminatedPods { succeeded, failed } = uncounted;
    let mut failed = failed.unwrap_or_default();
    let mut room = COUNTED_AT_ONCE.saturating_sub(failed.len() + succeeded.iter().flatten().count());
    for pod in unnoted.iter().filter(|pod| ends || !manage::remembers_failures(pod, counts)) {
        if room == 0 {
            plan.again(counts.observed.now);
            break;
        }
        failed.push(uid(&pod.metadata).to_string());
        room -= 1;
    }
    counts.status.uncounted_terminated_pods = Some(UncountedTerminatedPods { succeeded, failed: Some(failed) });
}

/// Whether the pod's finalizer may come off once the status is written.
pub fn is_counted(pod: &Arc<Pod>, counts: &Counts<'_>, ends: bool) -> bool {
    if !has_ended(pod, counts.spec) {
        return false;
    }
    let uncounted = counts.status.uncounted_terminated_pods.clone().unwrap_or_default();
    let id = uid(&pod.metadata).to_string();
    let noted = |list: &Option<Vec<String>>| list.iter().flatten().any(|known| *known == id);
    let indexed = is_indexed(counts.observed.job);
    let index = pod::index(pod).filter(|index| *index < number(counts.spec.completions));
    let succeeded = pods::phase(pod) == "Succeeded";
    let safe = noted(&uncounted.succeeded)
        || noted(&uncounted.failed)
        || (indexed && index.is_none())
        || (indexed && succeeded && index.is_some_and(|index| counts.completed.has(index)))
        || counts.ignored.contains(&id);
    safe && (ends || !manage::remembers_failures(pod, counts))
}
