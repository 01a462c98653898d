//! A pod's conditions.

use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Input, whole_second};
use crate::pod::plan::is_sidecar;

/// The agent's own conditions; others on the object belong to somebody else and are kept.
pub const OWN: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// What tells a pod that was ended for others' sake from one that failed by itself (KEP-3329); the agent's own only of
/// pods that it evicts because the node runs short.
pub const DISRUPTED: &str = "DisruptionTarget";
/// Its reason, of those.
pub const BY_KUBELET: &str = "TerminationByKubelet";

/// All conditions, with transition times.
pub fn conditions(spec: &PodSpec, input: &Input<'_>, status: &PodStatus, init_done: bool) -> Vec<PodCondition> {
    let phase = status.phase.as_deref().unwrap_or_default();
    let sandbox = input.observed.ready_sandbox().is_some_and(|sandbox| sandbox.host_network || !sandbox.ips.is_empty());
    let containers = containers_ready(spec, status, phase);
    let ready = pod_ready(spec, input, &containers);
    let mut list = vec![
        plain("PodReadyToStartContainers", sandbox),
        initialized(spec, status, init_done, phase),
        PodCondition { type_: "Ready".into(), ..ready },
        PodCondition { type_: "ContainersReady".into(), ..containers },
    ];
    let disrupted = input.memory.verdict.as_ref().filter(|verdict| verdict.disrupts);
    list.extend(disrupted.map(|verdict| because(DISRUPTED, true, BY_KUBELET, Some(verdict.message.clone()))));
    let before = input.last.or(input.pod.status.as_ref());
    let before = before.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    for condition in &mut list {
        let same = before.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
        let kept = same.and_then(|old| old.last_transition_time.clone());
        condition.last_transition_time = Some(kept.unwrap_or_else(|| Time(whole_second(input.now))));
        condition.observed_generation = input.pod.metadata.generation;
    }
    let foreign = input.pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let told: Vec<String> = list.iter().map(|condition| condition.type_.clone()).collect();
    list.extend(foreign.iter().filter(|condition| !told.contains(&condition.type_)).cloned());
    // Who names a node needs no scheduler, and who waits for the condition must not wait for ever.
    if !list.iter().any(|condition| condition.type_ == "PodScheduled") {
        let time = Some(Time(whole_second(input.memory.accepted)));
        list.push(PodCondition { last_transition_time: time, ..plain("PodScheduled", true) });
    }
    list
}

/// Whether the API's status says otherwise than `told` where the agent alone has the say. A pod that has ended by the
/// API's word stays ended.
pub fn is_overwritten(told: &PodStatus, found: Option<&PodStatus>) -> bool {
    let Some(found) = found else { return false };
    if matches!(found.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return false;
    }
    let value = |status: &PodStatus, type_: &str| {
        let condition = status.conditions.iter().flatten().find(|condition| condition.type_ == type_);
        condition.map(|condition| condition.status.clone())
    };
    told.phase != found.phase || OWN.iter().any(|type_| value(told, type_) != value(found, type_))
}

fn plain(type_: &str, value: bool) -> PodCondition {
    let status = if value { "True" } else { "False" };
    PodCondition { type_: type_.into(), status: status.into(), ..Default::default() }
}

fn because(type_: &str, value: bool, reason: &str, message: Option<String>) -> PodCondition {
    PodCondition { reason: Some(reason.into()), message, ..plain(type_, value) }
}

fn initialized(spec: &PodSpec, status: &PodStatus, done: bool, phase: &str) -> PodCondition {
    if phase == "Succeeded" {
        return because("Initialized", true, "PodCompleted", None);
    }
    if done || spec.init_containers.as_ref().is_none_or(Vec::is_empty) {
        return plain("Initialized", true);
    }
    // One that goes beside the others has had its turn when it is started, any other when it has ended well.
    let sidecars: Vec<&str> =
        spec.init_containers.iter().flatten().filter(|c| is_sidecar(c)).map(|c| &*c.name).collect();
    let unfinished = |status: &&ContainerStatus| match sidecars.contains(&&*status.name) {
        true => status.started != Some(true),
        false => !status.ready,
    };
    let names = names(status.init_container_statuses.iter().flatten().filter(unfinished));
    because(
        "Initialized",
        false,
        "ContainersNotInitialized",
        Some(format!("containers with incomplete status: [{names}]")),
    )
}

fn names<'a>(statuses: impl Iterator<Item = &'a ContainerStatus>) -> String {
    statuses.map(|status| status.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn containers_ready(spec: &PodSpec, status: &PodStatus, phase: &str) -> PodCondition {
    let type_ = "ContainersReady";
    match phase {
        "Succeeded" => return because(type_, false, "PodCompleted", None),
        "Failed" => return because(type_, false, "PodFailed", None),
        _ => {}
    }
    let sidecars: Vec<&str> =
        spec.init_containers.iter().flatten().filter(|c| is_sidecar(c)).map(|c| c.name.as_str()).collect();
    let init = status.init_container_statuses.iter().flatten().filter(|s| sidecars.contains(&s.name.as_str()));
    let unready = names(init.chain(status.container_statuses.iter().flatten()).filter(|status| !status.ready));
    if unready.is_empty() {
        return plain(type_, true);
    }
    because(type_, false, "ContainersNotReady", Some(format!("containers with unready status: [{unready}]")))
}

/// Ready containers make a ready pod when every readiness gate is open too.
fn pod_ready(spec: &PodSpec, input: &Input<'_>, containers: &PodCondition) -> PodCondition {
    if containers.status != "True" {
        return containers.clone();
    }
    let present = input.pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut closed = Vec::new();
    for gate in spec.readiness_gates.iter().flatten() {
        match present.iter().find(|condition| condition.type_ == gate.condition_type) {
            Some(condition) if condition.status == "True" => {}
            Some(_) => closed
                .push(format!("the status of pod readiness gate {:?} is not \"True\", but False", gate.condition_type)),
            None => closed.push(format!(
                "corresponding condition of pod readiness gate {:?} does not exist.",
                gate.condition_type
            )),
        }
    }
    if closed.is_empty() {
        return plain("Ready", true);
    }
    because("Ready", false, "ReadinessGatesNotReady", Some(closed.join(", ")))
}
