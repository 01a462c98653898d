//! What to do next for a pod: a pure function of its definition, of what the runtime has, of what is remembered and
//! of the time.
//!
//! A plan holds the steps that can be taken at once. After they are taken the pod is observed and planned anew, until
//! a plan has no steps. How a pod is ended when it is deleted is not here: that is one long step with its own clock.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::ephemeral_as_container;
use super::identity;
use super::memory::{Memory, SANDBOX, VOLUMES, Verdict, Waiting};
use super::observed::{Instance, Observed, Phase};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make folders and volumes.
    Prepare,
    /// Make and start the sandbox.
    CreateSandbox {
        /// Counts from 0.
        attempt: u32,
    },
    /// Stop a sandbox.
    StopSandbox {
        /// The runtime's id.
        id: String,
    },
    /// Remove a sandbox that has no containers any more.
    RemoveSandbox {
        /// The runtime's id.
        id: String,
    },
    /// Pull the image, make the container and start it.
    Start {
        /// The container's name.
        name: String,
        /// How many runs there were before.
        restart_count: u32,
    },
    /// Stop a running container with its hook and grace.
    Stop {
        /// The runtime's id.
        id: String,
        /// The container's name.
        name: String,
        /// For the event.
        reason: String,
    },
    /// Remove an ended run that nobody needs.
    Remove {
        /// The runtime's id.
        id: String,
    },
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// Why containers are not started now, by name.
    pub waiting: Vec<(String, Waiting)>,
    /// When to plan again although nothing happens.
    pub recheck_after: Option<SignedDuration>,
    /// The pod must be ended.
    pub verdict: Option<Verdict>,
}

impl Plan {
    fn recheck(&mut self, after: SignedDuration) {
        self.recheck_after = Some(self.recheck_after.map_or(after, |earlier| earlier.min(after)));
    }
}

/// How many ended runs of a container are kept beside the newest; `kubectl logs --previous` reads one.
const ENDED_RUNS_KEPT: usize = 1;

/// What is said of a pod whose sandbox is replaced.
pub const SANDBOX_CHANGED: &str = "Pod sandbox changed, it will be killed and re-created.";

/// What a process exits with that is killed.
const KILLED: i32 = 137;

/// How often an image that is waited for is looked for on the node.
const IMAGE_LOOK: SignedDuration = SignedDuration::from_secs(1);

/// How long the reason of a failed attempt is told as it is.
const REASON_SHOWN: SignedDuration = SignedDuration::from_secs(1);

/// The next steps for a pod that shall run.
pub fn plan(pod: &Pod, observed: &Observed, memory: &Memory, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = pod.spec.as_ref() else { return plan };
    match deadline(pod, memory, now) {
        Some(left) if left > SignedDuration::ZERO => plan.recheck(left),
        Some(_) => {
            plan.verdict = Some(late());
            return plan;
        }
        None => {}
    }
    if finished(spec, observed) {
        wind_down(spec, observed, &mut plan);
        return plan;
    }
    if !memory.prepared {
        match memory.attempt_remaining(VOLUMES, now) {
            Some(left) => plan.recheck(left),
            None => plan.actions.push(Action::Prepare),
        }
        return plan;
    }
    let usable = observed.ready_sandbox().filter(|sandbox| sandbox.host_network || !sandbox.ips.is_empty());
    let Some(sandbox) = usable else {
        new_sandbox(spec, observed, memory, now, &mut plan);
        return plan;
    };
    for extra in observed.sandboxes.iter().skip(1).filter(|extra| extra.ready) {
        plan.actions.push(Action::StopSandbox { id: extra.id.clone() });
    }
    let view = View { pod, spec, observed, memory, now, sandbox_id: &sandbox.id };
    if view.init_containers(&mut plan) {
        for container in &spec.containers {
            view.app_container(container, &mut plan);
        }
    }
    view.ephemeral_containers(&mut plan);
    view.leftovers(&mut plan);
    plan
}

/// How long the pod may go on being active; zero or less where its time is over, `None` where it may for ever.
pub fn deadline(pod: &Pod, memory: &Memory, now: Timestamp) -> Option<SignedDuration> {
    let limit = SignedDuration::from_secs(pod.spec.as_ref()?.active_deadline_seconds?);
    let started =
        pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map_or(memory.accepted, |time| time.0);
    Some(limit.saturating_sub(now.duration_since(started)).max(SignedDuration::ZERO))
}

fn late() -> Verdict {
    Verdict {
        reason: "DeadlineExceeded".into(),
        message: "Pod was active on the node longer than the specified deadline".into(),
        refused: false,
        disrupts: false,
        grace: None,
    }
}

/// True for an init container that keeps running beside the others.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn policy<'a>(spec: &'a PodSpec, container: &'a Container) -> &'a str {
    container.restart_policy.as_deref().or(spec.restart_policy.as_deref()).unwrap_or("Always")
}

/// Whether a container whose last run stands like this gets another one.
pub fn wants_run(spec: &PodSpec, container: &Container, latest: Option<&Instance>) -> bool {
    let Some(latest) = latest else { return true };
    match latest.phase {
        Phase::Running => false,
        Phase::Created | Phase::Unknown => true,
        Phase::Exited => restart_rule(container, latest.exit_code).unwrap_or(match policy(spec, container) {
            "Never" => false,
            "OnFailure" => latest.exit_code != 0,
            _ => true,
        }),
    }
}

/// What the container's own rules say of an exit code (KEP-5307); `None` where no rule matches.
fn restart_rule(container: &Container, exit_code: i32) -> Option<bool> {
    let rules = container.restart_policy_rules.as_deref()?;
    rules.iter().find_map(|rule| {
        let codes = rule.exit_codes.as_ref()?;
        let listed = codes.values.as_deref().unwrap_or_default().contains(&exit_code);
        let matches = if codes.operator == "NotIn" { !listed } else { listed };
        (matches && rule.action == "Restart").then_some(true)
    })
}

/// True where no app container will run again.
pub fn finished(spec: &PodSpec, observed: &Observed) -> bool {
    if init_failed(spec, observed) {
        return true;
    }
    spec.containers.iter().all(|container| {
        let latest = observed.latest(&container.name);
        latest.is_some_and(|latest| latest.phase == Phase::Exited) && !wants_run(spec, container, latest)
    })
}

/// True where an init container failed for good.
pub fn init_failed(spec: &PodSpec, observed: &Observed) -> bool {
    spec.init_containers.iter().flatten().filter(|container| !is_sidecar(container)).any(|container| {
        observed.latest(&container.name).is_some_and(|latest| {
            latest.phase == Phase::Exited && latest.exit_code != 0 && !wants_run(spec, container, Some(latest))
        })
    })
}

fn wind_down(spec: &PodSpec, observed: &Observed, plan: &mut Plan) {
    let order = |name: &str| spec.init_containers.iter().flatten().position(|container| container.name == name);
    let mut running: Vec<&Instance> =
        observed.containers.iter().filter(|instance| instance.phase == Phase::Running).collect();
    // Sidecars end after everything else, the last started first.
    running.sort_by_key(|instance| order(&instance.name).map_or(0, |position| usize::MAX - position));
    for instance in running {
        let (id, name) = (instance.id.clone(), instance.name.clone());
        plan.actions.push(Action::Stop { id, name, reason: "the pod's containers have completed".into() });
    }
    for sandbox in observed.sandboxes.iter().filter(|sandbox| sandbox.ready) {
        plan.actions.push(Action::StopSandbox { id: sandbox.id.clone() });
    }
}

/// Whether the pod is over with its sandbox: every app container has run, and none runs again when it is killed.
fn ends_with_sandbox(spec: &PodSpec, observed: &Observed) -> bool {
    spec.containers
        .iter()
        .all(|container| observed.latest(&container.name).is_some_and(|latest| !survives(spec, container, latest)))
}

/// Whether a container gets another run after its sandbox went.
fn survives(spec: &PodSpec, container: &Container, latest: &Instance) -> bool {
    let exit_code = if latest.phase == Phase::Exited { latest.exit_code } else { KILLED };
    wants_run(spec, container, Some(&Instance { phase: Phase::Exited, exit_code, ..latest.clone() }))
}

fn sandbox_changed(again: bool) -> String {
    if again { SANDBOX_CHANGED.into() } else { "Pod sandbox changed, it will be killed.".into() }
}

fn new_sandbox(spec: &PodSpec, observed: &Observed, memory: &Memory, now: Timestamp, plan: &mut Plan) {
    let over = ends_with_sandbox(spec, observed);
    for instance in observed.containers.iter().filter(|instance| instance.phase == Phase::Running) {
        let (id, name) = (instance.id.clone(), instance.name.clone());
        plan.actions.push(Action::Stop { id, name, reason: sandbox_changed(!over) });
    }
    for sandbox in &observed.sandboxes {
        plan.actions.push(Action::StopSandbox { id: sandbox.id.clone() });
    }
    if over {
        return;
    }
    match memory.attempt_remaining(SANDBOX, now) {
        Some(left) => {
            plan.actions.clear();
            plan.recheck(left);
        }
        None => {
            let attempt = observed.sandboxes.iter().map(|sandbox| sandbox.attempt + 1).max().unwrap_or(0);
            plan.actions.push(Action::CreateSandbox { attempt });
        }
    }
}

struct View<'a> {
    pod: &'a Pod,
    spec: &'a PodSpec,
    observed: &'a Observed,
    memory: &'a Memory,
    now: Timestamp,
    sandbox_id: &'a str,
}

impl View<'_> {
    /// Plans init containers; true where app containers may start.
    fn init_containers(&self, plan: &mut Plan) -> bool {
        for container in self.spec.init_containers.iter().flatten() {
            let latest = self.observed.latest_in(&container.name, self.sandbox_id);
            if is_sidecar(container) {
                self.app_container(container, plan);
                let up = latest
                    .is_some_and(|latest| latest.phase == Phase::Running && self.memory.started.contains(&latest.id));
                // Once an app container has run, a sidecar that restarts does not hold the others up.
                if !up && !self.apps_began() {
                    return false;
                }
                continue;
            }
            let Some(latest) = latest else {
                if self.apps_began() {
                    continue;
                }
                self.start(container, plan);
                return false;
            };
            match latest.phase {
                Phase::Exited if latest.exit_code == 0 => {}
                Phase::Running => return false,
                _ => {
                    self.restart(container, latest, plan);
                    return false;
                }
            }
        }
        true
    }

    fn apps_began(&self) -> bool {
        self.spec.containers.iter().any(|container| self.observed.latest_in(&container.name, self.sandbox_id).is_some())
    }

    fn app_container(&self, container: &Container, plan: &mut Plan) {
        let Some(latest) = self.observed.latest(&container.name) else {
            return self.start(container, plan);
        };
        if latest.phase == Phase::Running {
            if latest.sandbox_id != self.sandbox_id {
                return self.stop(latest, sandbox_changed(survives(self.spec, container, latest)), plan);
            }
            if let Some(reason) = self.memory.condemned.get(&latest.id) {
                return self.stop(latest, reason.clone(), plan);
            }
            if !latest.hash.is_empty() && latest.hash != identity::hash(container) {
                return self.stop(
                    latest,
                    format!("Container {} definition changed, will be restarted", container.name),
                    plan,
                );
            }
            return;
        }
        let changed = !latest.hash.is_empty() && latest.hash != identity::hash(container);
        if changed || wants_run(self.spec, container, Some(latest)) {
            self.restart(container, latest, plan);
        }
    }

    fn stop(&self, instance: &Instance, reason: String, plan: &mut Plan) {
        plan.actions.push(Action::Stop { id: instance.id.clone(), name: instance.name.clone(), reason });
    }

    fn start(&self, container: &Container, plan: &mut Plan) {
        let before = self.observed.latest(&container.name);
        self.attempt(container, before.map_or(0, |latest| latest.restart_count + 1), plan);
    }

    fn restart(&self, container: &Container, latest: &Instance, plan: &mut Plan) {
        let ended = latest.finished_at().unwrap_or(self.now);
        // A run in a former sandbox did not fail: the sandbox did.
        let key = crash_key(container);
        let waits = latest.phase == Phase::Exited && latest.sandbox_id == self.sandbox_id;
        if let Some(left) = self.memory.crashes.remaining(&key, ended, self.now).filter(|_| waits) {
            let delay = self.memory.crashes.delay(&key);
            let reference = identity::PodRef::of(self.pod);
            let message = format!(
                "back-off {} restarting failed container={} pod={}_{}({})",
                go_duration(delay),
                container.name,
                reference.name,
                reference.namespace,
                reference.uid
            );
            plan.waiting.push((container.name.clone(), Waiting::new("CrashLoopBackOff", message)));
            return plan.recheck(left);
        }
        self.attempt(container, latest.restart_count + 1, plan);
    }

    fn attempt(&self, container: &Container, restart_count: u32, plan: &mut Plan) {
        if let Some(left) = self.memory.attempt_remaining(&container.name, self.now) {
            // The reason of the failure itself is told for a while before the back-off takes its place.
            let since = self.memory.failures.get(&container.name).map(|failure| self.now.duration_since(failure.at));
            if let Some(rest) = since.map(|since| REASON_SHOWN - since).filter(|rest| *rest > SignedDuration::ZERO) {
                return plan.recheck(self.look_after(container, rest.min(left)));
            }
            let image = container.image.as_deref().unwrap_or_default();
            let waiting =
                self.memory.failures.get(&container.name).map(|failure| match failure.waiting.reason.as_str() {
                    "ErrImagePull" | "ImagePullBackOff" => Waiting::new(
                        "ImagePullBackOff",
                        format!(
                            "Back-off pulling image {image:?}: {}: {}",
                            failure.waiting.reason, failure.waiting.message
                        ),
                    ),
                    _ => failure.waiting.clone(),
                });
            plan.waiting.extend(waiting.map(|waiting| (container.name.clone(), waiting)));
            return plan.recheck(self.look_after(container, left));
        }
        plan.actions.push(Action::Start { name: container.name.clone(), restart_count });
    }

    /// A container that takes an image from the node does not wait out the back-off once the image is there.
    fn look_after(&self, container: &Container, left: SignedDuration) -> SignedDuration {
        if self.memory.lacks_image(container) { left.min(IMAGE_LOOK) } else { left }
    }

    fn ephemeral_containers(&self, plan: &mut Plan) {
        for container in self.spec.ephemeral_containers.iter().flatten() {
            if self.observed.latest(&container.name).is_some() {
                continue;
            }
            match self.memory.attempt_remaining(&container.name, self.now) {
                Some(left) => plan.recheck(self.look_after(&ephemeral_as_container(container), left)),
                None => plan.actions.push(Action::Start { name: container.name.clone(), restart_count: 0 }),
            }
        }
    }

    fn leftovers(&self, plan: &mut Plan) {
        let mut seen: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
        for instance in &self.observed.containers {
            let count = seen.entry(&instance.name).or_default();
            *count += 1;
            if *count > ENDED_RUNS_KEPT + 1 && instance.phase != Phase::Running {
                plan.actions.push(Action::Remove { id: instance.id.clone() });
            }
        }
        for sandbox in self.observed.sandboxes.iter().skip(1).filter(|sandbox| !sandbox.ready) {
            if !self.observed.containers.iter().any(|instance| instance.sandbox_id == sandbox.id) {
                plan.actions.push(Action::RemoveSandbox { id: sandbox.id.clone() });
            }
        }
    }
}

/// What a container's crashes are counted under: a changed definition starts anew.
pub fn crash_key(container: &Container) -> String {
    format!("{}/{}", container.name, identity::hash(container))
}

/// `10s`, `1m20s`, `5m0s`, as Go prints durations of whole seconds.
fn go_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

#[cfg(test)]
mod tests;
