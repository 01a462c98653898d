//! What a deployment's status says: counts, Available, Progressing, ReplicaFailure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use stdx::clock::later;

use super::model::{Goal, Member};

const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
/// This many seconds mean no deadline, as Kubernetes has it.
const NO_DEADLINE: i32 = i32::MAX;

/// A status, and when it must be looked at again because a deadline passes.
pub struct Next {
    pub status: DeploymentStatus,
    pub deadline: Option<Timestamp>,
}

/// What is already said, and what the plan has found out beside the numbers.
pub struct Facts<'a> {
    pub deployment: &'a Deployment,
    pub goal: Goal,
    pub new: Option<&'a Member>,
    /// Every set, the new one among them.
    pub members: Vec<Member>,
    /// A reason for Progressing that this pass has set: created, found, paused, resumed.
    pub progress: Option<DeploymentCondition>,
    /// Whether the roll-out is judged (not when only scaled, and not when paused).
    pub judge: bool,
    pub now: Timestamp,
}

/// A condition that begins now.
pub fn condition(type_: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: Some(type_.to_string()),
        status: Some(status.to_string()),
        reason: Some(reason.to_string()),
        message: Some(message.to_string()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// Finds a condition by type.
pub fn find<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_.as_deref() == Some(type_))
}

/// Puts a condition in; its transition time stays while the status does. One that says the same is left alone.
fn set(status: &mut DeploymentStatus, mut new: DeploymentCondition, refresh: bool) {
    let conditions = status.conditions.get_or_insert_default();
    if let Some(old) = conditions.iter_mut().find(|old| old.type_ == new.type_) {
        if old.status == new.status && old.reason == new.reason && !refresh {
            return;
        }
        if old.status == new.status {
            new.last_transition_time = old.last_transition_time.clone();
        }
        *old = new;
    } else {
        conditions.push(new);
    }
}

pub fn next(facts: &Facts<'_>) -> Next {
    let old = facts.deployment.status.clone().unwrap_or_default();
    let mut status = counts(facts, &old);
    let available = status.available_replicas.unwrap_or(0);
    let (word, reason, message) = if available >= facts.goal.replicas - facts.goal.max_unavailable {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut status, condition("Available", word, reason, message, facts.now), false);
    if let Some(progress) = facts.progress.clone() {
        set(&mut status, progress, true);
    }
    let mut deadline = None;
    if facts.judge && has_deadline(facts.deployment) {
        deadline = judge(facts, &old, &mut status);
    }
    replica_failure(facts.new.map(|new| new.set.as_ref()), &mut status, facts.now);
    Next { status, deadline }
}

fn counts(facts: &Facts<'_>, old: &DeploymentStatus) -> DeploymentStatus {
    let sum = |of: fn(&ReplicaSet) -> i32| super::model::sum(facts.members.iter().map(|member| of(&member.set)));
    let replicas = sum(|set| set.status.as_ref().map_or(0, |status| status.replicas));
    let available = sum(|set| set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0));
    let wanted = sum(super::model::set_replicas);
    let some = |count: i32| (count != 0).then_some(count);
    DeploymentStatus {
        observed_generation: facts.deployment.metadata.generation,
        replicas: some(replicas),
        updated_replicas: some(facts.new.map_or(0, |new| new.existing)),
        ready_replicas: some(sum(|set| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0))),
        available_replicas: some(available),
        unavailable_replicas: some(wanted.saturating_sub(available).max(0)),
        collision_count: old.collision_count,
        conditions: old.conditions.clone(),
        terminating_replicas: None,
    }
}

fn has_deadline(deployment: &Deployment) -> bool {
    deadline_seconds(deployment).is_some_and(|seconds| seconds != NO_DEADLINE)
}

fn deadline_seconds(deployment: &Deployment) -> Option<i32> {
    deployment.spec.progress_deadline_seconds
}

/// Whether the roll-out is over: all pods are new and available, and no old ones are left.
pub fn complete(deployment: &Deployment, goal: Goal, status: &DeploymentStatus) -> bool {
    let is = |count: Option<i32>| count.unwrap_or(0) == goal.replicas;
    is(status.updated_replicas)
        && is(status.replicas)
        && is(status.available_replicas)
        && status.observed_generation >= deployment.metadata.generation
}

/// Says how the roll-out goes; when its deadline passes.
fn judge(facts: &Facts<'_>, old: &DeploymentStatus, status: &mut DeploymentStatus) -> Option<Timestamp> {
    let seconds = i64::from(deadline_seconds(facts.deployment)?);
    let current = find(status, "Progressing").cloned();
    let reason = current.as_ref().and_then(|condition| condition.reason.clone()).unwrap_or_default();
    // A deployment that was complete stays so while pods come and go, until its template changes.
    if status.replicas == status.updated_replicas && reason == COMPLETE {
        return None;
    }
    let what = match facts.new {
        Some(new) => format!("ReplicaSet \"{}\"", new.name()),
        None => format!("Deployment \"{}\"", facts.deployment.name_any()),
    };
    if complete(facts.deployment, facts.goal, status) {
        let message = format!("{what} has successfully progressed.");
        set(status, condition("Progressing", "True", COMPLETE, &message, facts.now), false);
        return None;
    }
    if progressing(old, status) {
        let message = format!("{what} is progressing.");
        set(status, condition("Progressing", "True", "ReplicaSetUpdated", &message, facts.now), true);
    } else if timed_out(current.as_ref(), seconds, facts.now) {
        let message = format!("{what} has timed out progressing.");
        set(status, condition("Progressing", "False", TIMED_OUT, &message, facts.now), false);
        return None;
    }
    let since = find(status, "Progressing")?.last_update_time.as_ref()?.0;
    Some(later(since, SignedDuration::from_secs(seconds + 1)))
}

fn progressing(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let left = |status: &DeploymentStatus| count(status.replicas).saturating_sub(count(status.updated_replicas));
    count(new.updated_replicas) > count(old.updated_replicas)
        || left(new) < left(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

fn timed_out(current: Option<&DeploymentCondition>, seconds: i64, now: Timestamp) -> bool {
    let Some(current) = current else { return false };
    match current.reason.as_deref() {
        Some(COMPLETE) => false,
        Some(TIMED_OUT) => true,
        _ => {
            let since = current.last_update_time.as_ref().map_or(now, |time| time.0);
            later(since, SignedDuration::from_secs(seconds)) < now
        }
    }
}

fn replica_failure(new: Option<&ReplicaSet>, status: &mut DeploymentStatus, now: Timestamp) {
    let conditions = new.and_then(|set| set.status.as_ref()).and_then(|status| status.conditions.as_ref());
    let failure = conditions.into_iter().flatten().find(|condition| {
        condition.type_.as_deref() == Some("ReplicaFailure") && condition.status.as_deref() == Some("True")
    });
    match failure {
        Some(failure) => {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let (reason, message) = (text(&failure.reason), text(&failure.message));
            set(status, condition("ReplicaFailure", "True", &reason, &message, now), false);
        }
        None => {
            if let Some(conditions) = &mut status.conditions {
                conditions.retain(|condition| condition.type_.as_deref() != Some("ReplicaFailure"));
            }
        }
    }
}
