//! What a budget's status should say, of the pods it covers and of what their controllers ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stdx::clock::later;

use crate::common::intstr::scaled;
use crate::common::pods;

/// How long an eviction may take from its permission to the pod's deletion; after that the pod counts again, as in
/// Kubernetes.
pub const DELETION_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// How long a pod may be marked for a disruption and not be deleted; after that the mark is taken off.
pub const STALE_AFTER: SignedDuration = SignedDuration::from_mins(2);

const ALLOWED: &str = "DisruptionAllowed";
const ZERO: IntOrString = IntOrString::Int(0);

/// What is to be written and when to look again.
#[derive(Debug, PartialEq)]
pub struct Plan {
    pub status: PodDisruptionBudgetStatus,
    /// When the next eviction that was allowed should have ended in a deletion.
    pub again_at: Option<Timestamp>,
    /// Pods whose eviction was allowed too long ago.
    pub overdue: Vec<Arc<Pod>>,
}

/// Whether the budget counts against what the pods' controllers ask for, and not against the pods that are there.
pub fn needs_scale(spec: &PodDisruptionBudgetSpec) -> bool {
    spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
}

/// How many pods there should be and how many of them must stay; `scale` is what their controllers ask for, where
/// [`needs_scale`].
fn expected_and_desired(spec: &PodDisruptionBudgetSpec, scale: i32, pods: usize) -> (i32, i32) {
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => (scale, (scale - scaled(Some(most), &ZERO, scale, true)).max(0)),
        (None, Some(IntOrString::Int(least))) => (i32::try_from(pods).unwrap_or(i32::MAX), *least),
        (None, Some(least)) => (scale, scaled(Some(least), &ZERO, scale, true)),
        (None, None) => (0, 0),
    }
}

/// The status of a budget that covers `covered`.
pub fn plan(budget: &PodDisruptionBudget, covered: &[Arc<Pod>], scale: i32, now: Timestamp) -> Plan {
    let nothing = PodDisruptionBudgetSpec::default();
    let spec = budget.spec.as_ref().unwrap_or(&nothing);
    let old = budget.status.clone().unwrap_or_default();
    let (expected, desired) = expected_and_desired(spec, scale, covered.len());
    let known = old.disrupted_pods.unwrap_or_default();
    let mut disrupted = BTreeMap::new();
    let (mut overdue, mut again_at) = (Vec::new(), None::<Timestamp>);
    for pod in covered.iter().filter(|pod| !pods::is_terminating(pod)) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let Some(since) = known.get(&name) else { continue };
        let due = later(since.0, DELETION_WITHIN);
        if due < now {
            overdue.push(pod.clone());
            continue;
        }
        again_at = Some(again_at.map_or(due, |earliest| earliest.min(due)));
        disrupted.insert(name, since.clone());
    }
    let counts = |pod: &&Arc<Pod>| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        !pods::is_terminating(pod) && !disrupted.contains_key(name) && pods::is_ready(pod)
    };
    let healthy = i32::try_from(covered.iter().filter(counts).count()).unwrap_or(i32::MAX);
    let allowed = if expected <= 0 { 0 } else { healthy.saturating_sub(desired).max(0) };
    let generation = budget.metadata.generation;
    let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
    let told = Told { is: allowed > 0, reason, message: "", generation };
    let status = PodDisruptionBudgetStatus {
        conditions: Some(with_condition(old.conditions.as_deref().unwrap_or_default(), told, now)),
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        disrupted_pods: Some(disrupted),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(expected),
        observed_generation: generation,
    };
    Plan { status, again_at, overdue }
}

/// The status of a budget that cannot be counted: nothing may be evicted, and it says why.
pub fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let old = budget.status.clone().unwrap_or_default();
    let told = Told { is: false, reason: "SyncFailed", message: why, generation: old.observed_generation };
    let conditions = with_condition(old.conditions.as_deref().unwrap_or_default(), told, now);
    PodDisruptionBudgetStatus { disruptions_allowed: Some(0), conditions: Some(conditions), ..old }
}

/// What the condition `DisruptionAllowed` says.
struct Told<'a> {
    is: bool,
    reason: &'a str,
    message: &'a str,
    generation: Option<i64>,
}

fn with_condition(old: &[Condition], told: Told<'_>, now: Timestamp) -> Vec<Condition> {
    let status = if told.is { "True" } else { "False" };
    let before = old.iter().find(|condition| condition.type_ == ALLOWED);
    let since = before.filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
    let condition = Condition {
        type_: ALLOWED.to_string(),
        status: status.to_string(),
        reason: told.reason.to_string(),
        message: told.message.to_string(),
        observed_generation: told.generation,
        // Statuses carry whole seconds.
        last_transition_time: since.unwrap_or_else(|| Time(whole_seconds(now))),
    };
    let others = old.iter().filter(|condition| condition.type_ != ALLOWED).cloned();
    others.chain([condition]).collect()
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// When a pod's mark of a disruption that did not come is to be taken off; `None` where it has none, or one that
/// holds: of a pod that has ended or is ending, or set by its node, which may take its time.
pub fn stale_at(pod: &Pod) -> Option<Timestamp> {
    if pods::is_terminating(pod) || pods::is_terminal(pod) {
        return None;
    }
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let stale = |condition: &&PodCondition| {
        condition.type_ == "DisruptionTarget"
            && condition.status == "True"
            && condition.reason.as_deref() != Some("TerminationByKubelet")
    };
    let marked = conditions.iter().find(stale)?;
    let since = marked.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    Some(later(since, STALE_AFTER))
}
