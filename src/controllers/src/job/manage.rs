//! How many pods a job has now, and which go or come.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use stdx::clock::later;

use super::plan::{Counts, Failures, Plan, replaces_failed_only};
use super::pod::{self, New, is_indexed, is_leaving, is_tracked};
use super::policy::{self, Action};
use crate::common::pods;

/// Pods that one look creates or deletes.
const BURST: usize = 500;
/// The pause after the first failure, doubled with each further one.
const PAUSE_FIRST: SignedDuration = SignedDuration::from_secs(10);
const PAUSE_LONGEST: SignedDuration = SignedDuration::from_mins(10);

/// When the next pod may come after so many failures.
pub fn next_at(failures: &Failures) -> Option<Timestamp> {
    let doublings = failures.count.checked_sub(1)?;
    let factor = 1_i32.checked_shl(doublings).filter(|factor| *factor > 0 && *factor <= 64).unwrap_or(64);
    Some(later(failures.last?, (PAUSE_FIRST * factor).min(PAUSE_LONGEST)))
}

/// Plans removals of pods that are too many, or creations; neither while pods that have ended are not all counted,
/// or their work would be done again.
pub fn manage(counts: &Counts<'_>, plan: &mut Plan) {
    if counts.is_partial {
        return;
    }
    let spec = counts.spec;
    let parallelism = spec.parallelism.unwrap_or(1).max(0);
    let wanted = match spec.completions {
        Some(completions) => parallelism.min(completions - counts.succeeded - counts.failed_indexes.len()),
        // While a queue is worked off nobody new comes.
        None if counts.succeeded > 0 => parallelism.min(few(counts.active.len())),
        None => parallelism,
    };
    let wanted = usize::try_from(wanted).unwrap_or(0);
    plan.remove = surplus(counts, wanted);
    if !plan.remove.is_empty() {
        return;
    }
    let waited_for = if replaces_failed_only(spec) { counts.leaving } else { 0 };
    let room = wanted.saturating_sub(counts.active.len() + waited_for).min(BURST);
    if room == 0 {
        return;
    }
    if spec.backoff_limit_per_index.is_none()
        && let Some(at) = next_at(&plan.failures).filter(|at| *at > counts.observed.now)
    {
        return plan.again(at);
    }
    if is_indexed(counts.observed.job) {
        create_indexes(counts, room, plan);
    } else {
        plan.create = vec![New::default(); room];
    }
}

fn few(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Pods that are too many: of indexes that are done, double or none, then whatever is missed least.
fn surplus(counts: &Counts<'_>, wanted: usize) -> Vec<Arc<Pod>> {
    let mut gone = Vec::new();
    let mut kept = counts.active.clone();
    if is_indexed(counts.observed.job) {
        let completions = counts.spec.completions.unwrap_or(0);
        let mut seen = HashSet::new();
        kept.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
        let needed = |pod: &Arc<Pod>| {
            let index = pod::index(pod).filter(|index| *index < completions && !counts.failed_indexes.has(*index));
            index.is_some_and(|index| !counts.completed.has(index) && seen.insert(index))
        };
        (kept, gone) = kept.into_iter().partition(needed);
    }
    let siblings = kept.clone();
    pods::order_for_deletion(&mut kept, &siblings);
    let too_many = kept.len().saturating_sub(wanted);
    gone.extend(kept.into_iter().take(too_many));
    gone.truncate(BURST);
    gone
}

fn create_indexes(counts: &Counts<'_>, room: usize, plan: &mut Plan) {
    let waits = replaces_failed_only(counts.spec);
    let there = counts.observed.pods.iter().filter(|pod| pods::is_active(pod) || (waits && is_leaving(pod)));
    let taken: HashSet<i32> = there.filter_map(|pod| pod::index(pod)).collect();
    let limited = counts.spec.backoff_limit_per_index.is_some();
    for index in 0..counts.spec.completions.unwrap_or(0) {
        if plan.create.len() >= room {
            return;
        }
        if taken.contains(&index) || counts.completed.has(index) || counts.failed_indexes.has(index) {
            continue;
        }
        let last = last_failed(counts, index).filter(|_| limited);
        if let Some((_, failures)) = &last {
            let ended = last.as_ref().map(|(pod, _)| pod::ended_at(pod, counts.observed.now));
            // Those that are ignored count for no limit, but the pod that comes next waits for them too.
            let count = u32::try_from(failures.0.saturating_add(failures.1)).unwrap_or(0);
            let failed = Failures { count, last: ended, ..Failures::default() };
            if let Some(at) = next_at(&failed).filter(|at| *at > counts.observed.now) {
                plan.again(at);
                continue;
            }
        }
        let failures = limited.then(|| last.map_or((0, 0), |(_, failures)| failures));
        plan.create.push(New { index: Some(index), failures });
    }
}

/// The pod of an index that failed last, and the failures of the index with it.
fn last_failed<'a>(counts: &Counts<'a>, index: i32) -> Option<(&'a Arc<Pod>, (i32, i32))> {
    // One without its finalizer is counted, or was asked for no more: its successor, or nobody, remembers.
    let ended = counts.observed.pods.iter().filter(|pod| is_tracked(pod) && !pods::is_active(pod));
    let of_index = ended.filter(|pod| pod::index(pod) == Some(index));
    let failed = of_index.filter(|pod| pods::phase(pod) != "Succeeded").map(|pod| {
        let (counted, ignored) = pod::failures(pod);
        match policy::action(counts.spec.pod_failure_policy.as_ref(), pod) {
            Action::Ignore => (pod, (counted, ignored.saturating_add(1))),
            _ => (pod, (counted.saturating_add(1), ignored)),
        }
    });
    failed.max_by_key(|(_, (counted, ignored))| counted.saturating_add(*ignored))
}

/// The pod that failed last keeps its finalizer until its index has another pod: it alone remembers the failures.
pub fn remembers_failures(pod: &Arc<Pod>, counts: &Counts<'_>) -> bool {
    if counts.spec.backoff_limit_per_index.is_none() || !is_tracked(pod) || pods::phase(pod) == "Succeeded" {
        return false;
    }
    let Some(index) = pod::index(pod) else { return false };
    if counts.completed.has(index) || counts.failed_indexes.has(index) {
        return false;
    }
    let replaced = counts.active.iter().any(|other| pod::index(other) == Some(index));
    let last = last_failed(counts, index).is_some_and(|(last, _)| last.metadata.uid == pod.metadata.uid);
    last && !replaced
}
