//! Which daemon pods to create and delete, and what the status says: pure.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use stdx::clock::later;

use super::nodes::{Verdict, verdict};
use super::{HASH_LABEL, by_name, by_node};
use crate::common::intstr::scaled;
use crate::common::pods;

/// How old a pod that has ended must be before it is replaced.
const ENDED_PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// What the plan is made from.
pub struct Observed<'a> {
    pub daemon: &'a DaemonSet,
    pub nodes: &'a [Arc<Node>],
    /// The daemon's pods, those that leave among them.
    pub pods: &'a [Arc<Pod>],
    /// The hash of the present template.
    pub hash: &'a str,
    pub now: Timestamp,
}

/// What to do.
#[derive(Debug, Default)]
pub struct Plan {
    /// Names of nodes that need a pod.
    pub create: Vec<String>,
    pub delete: Vec<Arc<Pod>>,
    pub status: DaemonSetStatus,
    /// When to look again although nothing changes: a pod becomes available, or an ended one may be replaced.
    pub again_at: Option<Timestamp>,
}

struct Spot {
    node: String,
    verdict: Verdict,
    pods: Vec<Arc<Pod>>,
}

/// Compares a DaemonSet with its nodes and pods.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let mut plan = Plan::default();
    let spec = &observed.daemon.spec;
    let pod_spec = spec.template.spec.clone().unwrap_or_default();
    let mut on = by_node(observed.pods);
    let spots: Vec<Spot> = by_name(observed.nodes)
        .into_iter()
        .map(|(name, node)| Spot {
            verdict: verdict(&pod_spec, &node),
            pods: on.remove(&name).unwrap_or_default(),
            node: name,
        })
        .collect();
    // Pods whose node is gone are the pod collector's; those tied to a node that never had them are ours.
    let stranded = on.into_values().flatten().filter(|pod| pods::node_name(pod).is_empty() && pods::is_active(pod));
    plan.delete.extend(stranded);
    let roll = Roll::of(observed, &spots);
    for spot in &spots {
        place(observed, spot, &roll, &mut plan);
    }
    update(observed, &spots, &roll, &mut plan);
    plan.status = status(observed, &spots);
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let due = observed.pods.iter().filter(|pod| pods::is_active(pod));
    let due = due.filter_map(|pod| pods::available_at(pod, min_ready)).filter(|at| *at > observed.now);
    due.for_each(|at| again(&mut plan, at));
    plan
}

fn again(plan: &mut Plan, at: Timestamp) {
    plan.again_at = Some(plan.again_at.map_or(at, |earlier| earlier.min(at)));
}

/// The numbers of a rolling update.
struct Roll {
    rolling: bool,
    max_surge: usize,
    max_unavailable: usize,
    min_ready: i32,
}

impl Roll {
    fn of(observed: &Observed<'_>, spots: &[Spot]) -> Self {
        let spec = &observed.daemon.spec;
        let strategy = spec.update_strategy.clone().unwrap_or_default();
        let wanted = spots.iter().filter(|spot| spot.verdict.should_run).count();
        let wanted = i32::try_from(wanted).unwrap_or(i32::MAX);
        let numbers = strategy.rolling_update.unwrap_or_default();
        let surge = scaled(numbers.max_surge.as_ref(), &IntOrString::Int(0), wanted, true);
        let mut unavailable = scaled(numbers.max_unavailable.as_ref(), &IntOrString::Int(1), wanted, true);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        if surge > 0 && numbers.max_unavailable.is_none() {
            unavailable = 0;
        }
        Self {
            rolling: strategy.type_.as_deref() != Some("OnDelete"),
            max_surge: usize::try_from(surge).unwrap_or(0),
            max_unavailable: usize::try_from(unavailable).unwrap_or(0),
            min_ready: spec.min_ready_seconds.unwrap_or(0),
        }
    }
}

fn is_new(observed: &Observed<'_>, pod: &Pod) -> bool {
    pod.labels().get(HASH_LABEL).map(String::as_str) == Some(observed.hash)
}

/// One node: exactly one pod where one should be, none where none may be.
fn place(observed: &Observed<'_>, spot: &Spot, roll: &Roll, plan: &mut Plan) {
    let (failed, live): (Vec<_>, Vec<_>) =
        spot.pods.iter().filter(|pod| !pods::is_terminating(pod)).cloned().partition(|pod| pods::is_terminal(pod));
    if !spot.verdict.should_stay {
        plan.delete.extend(live);
        plan.delete.extend(failed);
        return;
    }
    // A pod that has ended makes room for one that runs, but not so soon that a node that refuses it is flooded.
    for pod in failed {
        match pod.metadata.creation_timestamp.as_ref().map(|created| later(created.0, ENDED_PAUSE)) {
            Some(at) if at > observed.now => again(plan, at),
            _ => plan.delete.push(pod),
        }
    }
    if spot.pods.is_empty() && spot.verdict.should_run {
        plan.create.push(spot.node.clone());
    }
    // Of several, the one that has been there longest stays; in a surge, one of each template.
    let mut kept: Vec<Arc<Pod>> = Vec::new();
    let mut sorted = live;
    sorted.sort_by_key(|pod| {
        (pods::node_name(pod).is_empty(), pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pod.name_any())
    });
    for pod in sorted {
        let new = is_new(observed, &pod);
        let twin = kept.iter().any(|kept| roll.max_surge == 0 || is_new(observed, kept) == new);
        if twin {
            plan.delete.push(pod);
        } else {
            kept.push(pod);
        }
    }
}

/// The rolling update: replaces old pods within the bounds.
fn update(observed: &Observed<'_>, spots: &[Spot], roll: &Roll, plan: &mut Plan) {
    if !roll.rolling {
        return;
    }
    let wanted: Vec<&Spot> = spots.iter().filter(|spot| spot.verdict.should_run).collect();
    if roll.max_surge > 0 {
        return surge(observed, &wanted, roll, plan);
    }
    let available = |pod: &Pod| pods::is_active(pod) && pods::is_available(pod, roll.min_ready, observed.now);
    let mut unavailable = 0;
    let mut broken = Vec::new();
    let mut candidates = Vec::new();
    for spot in wanted {
        let live: Vec<&Arc<Pod>> = spot.pods.iter().filter(|pod| pods::is_active(pod)).collect();
        if !live.iter().any(|pod| available(pod)) {
            unavailable += 1;
        }
        for pod in live.into_iter().filter(|pod| !is_new(observed, pod)) {
            // A pod that is not available is no loss.
            if available(pod) { candidates.push(pod.clone()) } else { broken.push(pod.clone()) }
        }
    }
    let room = roll.max_unavailable.saturating_sub(unavailable);
    candidates.truncate(room);
    add(plan, broken.into_iter().chain(candidates));
}

/// The update with a second pod beside the old one, which goes once the new one is available.
fn surge(observed: &Observed<'_>, wanted: &[&Spot], roll: &Roll, plan: &mut Plan) {
    let available = |pod: &Pod| pods::is_available(pod, roll.min_ready, observed.now);
    let mut doubled = 0;
    let mut candidates = Vec::new();
    for spot in wanted {
        let live: Vec<&Arc<Pod>> = spot.pods.iter().filter(|pod| pods::is_active(pod)).collect();
        let new = live.iter().find(|pod| is_new(observed, pod));
        let old = live.iter().find(|pod| !is_new(observed, pod));
        match (old, new) {
            (Some(old), Some(new)) if available(new) => add(plan, [(*old).clone()].into_iter()),
            (Some(old), Some(_)) => {
                doubled += 1;
                if !available(old) {
                    // The node has no working pod to protect.
                    add(plan, [(*old).clone()].into_iter());
                }
            }
            (Some(old), None) if !available(old) => candidates.insert(0, spot.node.clone()),
            (Some(_), None) => candidates.push(spot.node.clone()),
            _ => {}
        }
    }
    let room = roll.max_surge.saturating_sub(doubled);
    plan.create.extend(candidates.into_iter().take(room));
}

fn add(plan: &mut Plan, pods: impl Iterator<Item = Arc<Pod>>) {
    for pod in pods {
        if !plan.delete.iter().any(|other| other.metadata.uid == pod.metadata.uid) {
            plan.delete.push(pod);
        }
    }
}

fn status(observed: &Observed<'_>, spots: &[Spot]) -> DaemonSetStatus {
    let min_ready = observed.daemon.spec.min_ready_seconds.unwrap_or(0);
    let (mut desired, mut current, mut misplaced, mut ready, mut available, mut updated) = (0, 0, 0, 0, 0, 0);
    for spot in spots {
        // The newest template's pod stands for the node.
        let mut live: Vec<&Arc<Pod>> = spot.pods.iter().filter(|pod| pods::is_active(pod)).collect();
        live.sort_by_key(|pod| !is_new(observed, pod));
        if !spot.verdict.should_run {
            misplaced += i32::from(!live.is_empty());
            continue;
        }
        desired += 1;
        let Some(pod) = live.first() else { continue };
        current += 1;
        ready += i32::from(live.iter().any(|pod| pods::is_ready(pod)));
        available += i32::from(live.iter().any(|pod| pods::is_available(pod, min_ready, observed.now)));
        updated += i32::from(is_new(observed, pod));
    }
    let some = |count: i32| (count != 0).then_some(count);
    DaemonSetStatus {
        current_number_scheduled: current,
        desired_number_scheduled: desired,
        number_available: some(available),
        number_misscheduled: misplaced,
        number_ready: ready,
        number_unavailable: some(desired - available),
        observed_generation: observed.daemon.metadata.generation,
        updated_number_scheduled: some(updated),
        collision_count: None,
        conditions: None,
    }
}
