//! A pod's status as kubelet reports it: a pure function of its definition, the runtime and what is remembered.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::fields::Facts;
use super::memory::{Memory, Waiting};
use super::observed::{Instance, Observed, Phase};
use super::plan::{init_failed, is_sidecar};
use super::resources::qos;

pub mod conditions;

/// What the status is made from.
pub struct Input<'a> {
    /// The pod as it is wanted; its own status is the last one the API has.
    pub pod: &'a Pod,
    /// What the runtime has.
    pub observed: &'a Observed,
    /// What is remembered.
    pub memory: &'a Memory,
    /// The node.
    pub facts: &'a Facts,
    /// The status that was made last; transition times are kept from it.
    pub last: Option<&'a PodStatus>,
    /// Nothing of the pod will run again: it was ended by deletion or verdict and all has stopped.
    pub ended: bool,
    /// The time.
    pub now: Timestamp,
}

/// The pod's status.
pub fn generate(input: &Input<'_>) -> PodStatus {
    let Some(spec) = input.pod.spec.as_ref() else { return PodStatus::default() };
    let init_done = spec.init_containers.iter().flatten().all(|container| initialised(container, input));
    let of = |container: &Container, init: bool| container_status(container, init, input);
    let containers: Vec<ContainerStatus> = spec.containers.iter().map(|container| of(container, false)).collect();
    let init: Vec<ContainerStatus> = spec.init_containers.iter().flatten().map(|c| of(c, true)).collect();
    let ephemeral: Vec<ContainerStatus> = spec
        .ephemeral_containers
        .iter()
        .flatten()
        .map(|container| of(&super::ephemeral_as_container(container), false))
        .collect();
    let phase = phase(spec, input, init_done, &containers, &init);
    // Of a pod that was not taken there is nothing to tell but why.
    let taken = !input.memory.verdict.as_ref().is_some_and(|verdict| verdict.refused);
    let ips = ips(spec, input);
    let mut status = PodStatus {
        phase: Some(phase.to_string()),
        qos_class: Some(qos(input.pod).name().into()),
        start_time: Some(start_time(input)),
        observed_generation: input.pod.metadata.generation,
        host_ip: input.facts.host_ips.first().map(ToString::to_string),
        host_ips: Some(input.facts.host_ips.iter().map(|ip| HostIP { ip: ip.to_string() }).collect()),
        pod_ip: ips.first().cloned(),
        pod_ips: (!ips.is_empty()).then(|| ips.into_iter().map(|ip| PodIP { ip }).collect()),
        container_statuses: taken.then_some(containers),
        init_container_statuses: (taken && !init.is_empty()).then_some(init),
        ephemeral_container_statuses: (taken && !ephemeral.is_empty()).then_some(ephemeral),
        reason: input.memory.verdict.as_ref().map(|verdict| verdict.reason.clone()),
        message: input.memory.verdict.as_ref().map(|verdict| verdict.message.clone()),
        ..Default::default()
    };
    status.conditions = Some(conditions::conditions(spec, input, &status, init_done));
    status
}

fn start_time(input: &Input<'_>) -> Time {
    let known = input.last.or(input.pod.status.as_ref()).and_then(|status| status.start_time.clone());
    known.unwrap_or_else(|| Time(whole_second(input.memory.accepted)))
}

/// The API keeps times in whole seconds; a finer one would look like a change after each round trip.
pub fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn ips(spec: &PodSpec, input: &Input<'_>) -> Vec<String> {
    if spec.host_network == Some(true) {
        let up = !input.observed.sandboxes.is_empty();
        return if up { input.facts.host_ips.iter().map(ToString::to_string).collect() } else { Vec::new() };
    }
    let newest = input.observed.sandboxes.first().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
    if !newest.is_empty() {
        return newest;
    }
    // A stopped sandbox has lost its address; the status keeps telling which it was until there is another.
    if input.observed.ready_sandbox().is_none() {
        let last = input.last.and_then(|status| status.pod_ips.as_ref());
        return last.into_iter().flatten().map(|ip| ip.ip.clone()).collect();
    }
    Vec::new()
}

fn initialised(container: &Container, input: &Input<'_>) -> bool {
    let Some(latest) = input.observed.latest(&container.name) else {
        // After the runtime lost an init container's record, running app containers prove that it had its turn.
        return input
            .pod
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .any(|app| input.observed.latest(&app.name).is_some());
    };
    if is_sidecar(container) {
        return input.memory.started.contains(&latest.id) || latest.phase == Phase::Exited;
    }
    latest.phase == Phase::Exited && latest.exit_code == 0
}

fn container_status(container: &Container, init: bool, input: &Input<'_>) -> ContainerStatus {
    let latest = input.observed.latest(&container.name);
    let held = input.memory.waiting.get(&container.name);
    let failed = input.memory.failures.get(&container.name).map(|failure| &failure.waiting);
    let waiting = held.or(failed).filter(|_| !input.ended);
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        started: Some(false),
        ..Default::default()
    };
    let Some(latest) = latest else { return never_ran(container, status, waiting, input) };
    status.restart_count = i32::try_from(latest.restart_count).unwrap_or(i32::MAX);
    status.container_id = Some(container_id(&latest.id));
    status.image_id = latest.image_id.clone();
    if !latest.image.is_empty() && !latest.image.starts_with("sha256:") {
        status.image = latest.image.clone();
    }
    let previous = input.observed.previous(&container.name).filter(|previous| previous.phase == Phase::Exited);
    status.last_state = previous.map(|previous| terminated(previous, container));
    match latest.phase {
        Phase::Running => {
            let started_at = latest.started_at().map(|at| Time(whole_second(at)));
            status.state =
                Some(ContainerState { running: Some(ContainerStateRunning { started_at }), ..Default::default() });
            status.started = Some(input.memory.started.contains(&latest.id));
            status.ready = input.memory.ready.contains(&latest.id);
        }
        Phase::Created => {
            let waiting = waiting.cloned().unwrap_or_else(|| not_yet(input));
            status.state = Some(waiting_state(&waiting));
        }
        Phase::Exited | Phase::Unknown => match waiting {
            Some(waiting) => {
                status.state = Some(waiting_state(waiting));
                status.last_state = Some(terminated(latest, container));
            }
            None => {
                status.state = Some(terminated(latest, container));
                status.ready = init && !is_sidecar(container) && latest.phase == Phase::Exited && latest.exit_code == 0;
            }
        },
    }
    status
}

fn never_ran(
    container: &Container,
    mut status: ContainerStatus,
    waiting: Option<&Waiting>,
    input: &Input<'_>,
) -> ContainerStatus {
    // What the API knows of a run that the runtime has forgotten stays true.
    let list = input.last.or(input.pod.status.as_ref()).map(|status| {
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
    });
    let known = list.into_iter().flatten().find(|known| known.name == container.name);
    if let Some(known) = known.filter(|known| known.state.as_ref().is_some_and(|state| state.terminated.is_some())) {
        return known.clone();
    }
    status.state = Some(waiting_state(waiting.unwrap_or(&not_yet(input))));
    status
}

/// What a container waits for that is neither started nor kept from it. Kubernetes says it of the pod: one with init
/// containers is initializing from its first moment on, and with it each of its containers.
fn not_yet(input: &Input<'_>) -> Waiting {
    let spec = input.pod.spec.as_ref();
    let initializes = spec.and_then(|spec| spec.init_containers.as_ref()).is_some_and(|list| !list.is_empty());
    Waiting::new(if initializes { "PodInitializing" } else { "ContainerCreating" }, "")
}

fn waiting_state(waiting: &Waiting) -> ContainerState {
    let message = (!waiting.message.is_empty()).then(|| waiting.message.clone());
    let waiting = ContainerStateWaiting { reason: Some(waiting.reason.clone()), message };
    ContainerState { waiting: Some(waiting), ..Default::default() }
}

/// `containerd://ID`.
pub fn container_id(id: &str) -> String {
    format!("containerd://{id}")
}

fn terminated(instance: &Instance, _: &Container) -> ContainerState {
    let unknown = instance.phase != Phase::Exited;
    let exit_code = if unknown { 137 } else { instance.exit_code };
    let reason = match (unknown, instance.reason.as_str(), exit_code) {
        (true, _, _) => "ContainerStatusUnknown",
        (false, "", 0) => "Completed",
        (false, "", _) => "Error",
        (false, reason, _) => reason,
    };
    let time = |at: Option<Timestamp>| at.map(|at| Time(whole_second(at)));
    let terminated = ContainerStateTerminated {
        exit_code,
        reason: Some(reason.to_string()),
        message: (!instance.message.is_empty()).then(|| instance.message.clone()),
        started_at: time(instance.started_at()),
        finished_at: time(instance.finished_at()),
        container_id: Some(container_id(&instance.id)),
        signal: None,
    };
    ContainerState { terminated: Some(terminated), ..Default::default() }
}

fn phase(
    spec: &PodSpec,
    input: &Input<'_>,
    init_done: bool,
    containers: &[ContainerStatus],
    init: &[ContainerStatus],
) -> &'static str {
    if let Some(phase @ ("Succeeded" | "Failed")) = input.pod.status.as_ref().and_then(|status| status.phase.as_deref())
    {
        return if phase == "Succeeded" { "Succeeded" } else { "Failed" };
    }
    let stopped = input.observed.is_stopped();
    if input.memory.verdict.is_some() {
        return if stopped { "Failed" } else { before_its_end(input) };
    }
    if input.ended {
        return ended_phase(containers, init);
    }
    if init_failed(spec, input.observed) {
        return if stopped { "Failed" } else { "Pending" };
    }
    if !init_done {
        return "Pending";
    }
    let (mut running, mut waiting, mut ended, mut succeeded) = (0_usize, 0_usize, 0_usize, 0_usize);
    for status in containers {
        let state = status.state.clone().unwrap_or_default();
        let end = state.terminated.or_else(|| status.last_state.clone().and_then(|last| last.terminated));
        match (state.running.is_some(), end) {
            (true, _) => running += 1,
            (false, Some(end)) => {
                ended += 1;
                succeeded += usize::from(end.exit_code == 0);
            }
            (false, None) => waiting += 1,
        }
    }
    let over = containers.len() == ended && super::plan::finished(spec, input.observed);
    match (waiting, running, over) {
        (1.., _, _) => "Pending",
        (0, 1.., _) | (0, 0, false) => "Running",
        // A pod is over only when its sidecars are.
        (0, 0, true) if !stopped => "Running",
        (0, 0, true) => {
            if succeeded == ended {
                "Succeeded"
            } else {
                "Failed"
            }
        }
    }
}

/// What a pod that is being ended was before: it gets no further.
fn before_its_end(input: &Input<'_>) -> &'static str {
    let told = input.last.or(input.pod.status.as_ref()).and_then(|status| status.phase.as_deref());
    let runs = match told {
        Some("Pending") => false,
        Some("Running") => true,
        _ => input.observed.containers.iter().any(|instance| instance.phase == Phase::Running),
    };
    if runs { "Running" } else { "Pending" }
}

/// A pod that was ended from outside failed where any of its containers did or never got to run.
fn ended_phase(containers: &[ContainerStatus], init: &[ContainerStatus]) -> &'static str {
    let well = |status: &ContainerStatus| {
        let end = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        end.is_some_and(|end| end.exit_code == 0)
    };
    let init_well =
        init.iter().all(|status| status.state.as_ref().is_none_or(|state| state.terminated.is_none()) || well(status));
    if containers.iter().all(well) && init_well { "Succeeded" } else { "Failed" }
}

#[cfg(test)]
mod tests;
