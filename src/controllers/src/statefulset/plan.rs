//! Which pods of a StatefulSet go and come now: one after the other, or all at once where the set is parallel. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::common::intstr::scaled;
use crate::common::pods;
use crate::common::revisions::HASH_LABEL;

/// What is seen of a set.
pub struct Observed<'a> {
    pub set: &'a StatefulSet,
    /// Its pods.
    pub pods: &'a [Arc<Pod>],
    /// The name of the revision that the set has reached, and of that which it goes to.
    pub current: &'a str,
    pub update: &'a str,
    pub now: Timestamp,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    pub status: StatefulSetStatus,
    /// Ordinals, each with the revision that its pod is made from.
    pub create: Vec<(i32, String)>,
    pub delete: Vec<Arc<Pod>>,
    /// Among those, pods that the set has no place for any more.
    pub scaled_down: Vec<Arc<Pod>>,
    pub again_at: Option<Timestamp>,
}

/// The ordinal of a pod of the set; `None` for a name that is none of its pods'.
pub fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let name = pod.name_any();
    let text = name.strip_prefix(&set.name_any())?.strip_prefix('-')?;
    let number: i32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn revision(pod: &Pod) -> &str {
    pod.labels().get(HASH_LABEL).map(String::as_str).unwrap_or_default()
}

/// The set's rules, read once.
struct Rules {
    first: i32,
    replicas: i32,
    one_by_one: bool,
    /// Pods from here on are updated, counted from the first ordinal; `None` where the owner deletes pods himself.
    partition: Option<i32>,
    unavailable_max: i32,
    min_ready_seconds: i32,
}

impl Rules {
    fn of(set: &StatefulSet) -> Self {
        let spec = &set.spec;
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let by_owner = strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete");
        let most = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        Self {
            first: spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0),
            replicas,
            one_by_one: spec.pod_management_policy.as_deref() != Some("Parallel"),
            partition: (!by_owner).then(|| rolling.and_then(|rolling| rolling.partition).unwrap_or(0)),
            unavailable_max: scaled(most, &IntOrString::Int(1), replicas, true).max(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        }
    }
}

/// Decides.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let rules = Rules::of(observed.set);
    let range = rules.first..rules.first.saturating_add(rules.replicas);
    let (mut wanted, mut surplus) = (BTreeMap::new(), BTreeMap::new());
    for pod in observed.pods {
        if let Some(ordinal) = ordinal(observed.set, pod) {
            let place = if range.contains(&ordinal) { &mut wanted } else { &mut surplus };
            place.insert(ordinal, pod.clone());
        }
    }
    let mut plan = Plan { status: status(observed, &rules, &wanted, &surplus), ..Plan::default() };
    if observed.set.metadata.deletion_timestamp.is_none() {
        steps(observed, &rules, &wanted, &surplus, &mut plan);
        plan.again_at = observed
            .pods
            .iter()
            .filter(|pod| pods::is_active(pod))
            .filter_map(|pod| pods::available_at(pod, rules.min_ready_seconds))
            .filter(|at| *at > observed.now)
            .min();
    }
    plan
}

type Places = BTreeMap<i32, Arc<Pod>>;

fn steps(observed: &Observed<'_>, rules: &Rules, wanted: &Places, surplus: &Places, plan: &mut Plan) {
    let available =
        |pod: &Pod| !pods::is_terminating(pod) && pods::is_available(pod, rules.min_ready_seconds, observed.now);
    for ordinal in rules.first..rules.first.saturating_add(rules.replicas) {
        let settled = match wanted.get(&ordinal) {
            None => {
                plan.create.push((ordinal, revision_for(observed, rules, ordinal)));
                false
            }
            Some(pod) if pods::is_terminal(pod) && !pods::is_terminating(pod) => {
                plan.delete.push(pod.clone());
                false
            }
            Some(pod) => available(pod),
        };
        if !settled && rules.one_by_one {
            return;
        }
    }
    for pod in surplus.values().rev() {
        if !pods::is_terminating(pod) {
            plan.delete.push(pod.clone());
            plan.scaled_down.push(pod.clone());
        }
        if rules.one_by_one {
            return;
        }
    }
    if plan.create.is_empty() && plan.delete.is_empty() {
        update(observed, rules, wanted, available, plan);
    }
}

/// From the last ordinal to the partition, as many at once as may be away.
fn update(observed: &Observed<'_>, rules: &Rules, wanted: &Places, available: impl Fn(&Pod) -> bool, plan: &mut Plan) {
    let Some(partition) = rules.partition else { return };
    let away = wanted.values().filter(|pod| !available(pod)).count();
    let mut room = rules.unavailable_max - i32::try_from(away).unwrap_or(i32::MAX);
    for (_, pod) in wanted.range(rules.first.saturating_add(partition)..).rev() {
        if revision(pod) == observed.update {
            continue;
        }
        // One that is away already is away no more for it.
        let gone = !available(pod);
        if room <= 0 && !gone {
            return;
        }
        if !pods::is_terminating(pod) {
            plan.delete.push(pod.clone());
        }
        room -= i32::from(!gone);
    }
}

/// What a new pod is made from: below the partition, what the set had reached; while a set without a partition is
/// being updated, what those before it still have.
fn revision_for(observed: &Observed<'_>, rules: &Rules, ordinal: i32) -> String {
    let reached = observed.set.status.as_ref().and_then(|status| status.current_replicas).unwrap_or(0);
    let old = match rules.partition {
        None => false,
        Some(0) => ordinal < rules.first.saturating_add(reached),
        Some(partition) => ordinal < rules.first.saturating_add(partition),
    };
    if old { observed.current.to_string() } else { observed.update.to_string() }
}

fn status(observed: &Observed<'_>, rules: &Rules, wanted: &Places, surplus: &Places) -> StatefulSetStatus {
    let all: Vec<&Arc<Pod>> = wanted.values().chain(surplus.values()).collect();
    let number =
        |counts: &dyn Fn(&Pod) -> bool| i32::try_from(all.iter().filter(|pod| counts(pod)).count()).unwrap_or(i32::MAX);
    let of = |name: &str| number(&|pod: &Pod| !pods::is_terminating(pod) && revision(pod) == name);
    let old = observed.set.status.clone().unwrap_or_default();
    let replicas = number(&|_: &Pod| true);
    let ready = number(&|pod: &Pod| pods::phase(pod) == "Running" && pods::is_ready(pod));
    let updated = of(observed.update);
    let mut status = StatefulSetStatus {
        replicas,
        ready_replicas: Some(ready),
        available_replicas: Some(number(&|pod: &Pod| pods::is_available(pod, rules.min_ready_seconds, observed.now))),
        current_replicas: Some(of(observed.current)),
        updated_replicas: Some(updated),
        current_revision: Some(observed.current.to_string()),
        update_revision: Some(observed.update.to_string()),
        observed_generation: observed.set.metadata.generation,
        collision_count: old.collision_count.or(Some(0)),
        conditions: old.conditions,
    };
    // Pods that are missed, or too many, may yet be made or kept from the old revision.
    if rules.partition.is_some() && [updated, ready, replicas].iter().all(|count| *count == rules.replicas) {
        status.current_replicas = Some(updated);
        status.current_revision = Some(observed.update.to_string());
    }
    status
}
