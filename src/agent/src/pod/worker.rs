//! One task a pod: observe, plan, carry out, report, until the pod is gone.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use client::events::EventType;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::Notify;

use super::identity::{POD_UID, PodRef};
use super::memory::{Memory, SANDBOX, VOLUMES, Waiting};
use super::observed::{self, Instance, Observed, Phase};
use super::plan::{self, Action, Plan};
use super::{execute, find_container, lastwords, status, terminate};
use crate::Error;
use crate::host::Host;
use crate::probes::Probes;

/// Volumes are compared with their sources this often.
const REFRESH: Duration = Duration::from_secs(30);
/// The end of an init container is what the rest of its pod waits for.
const INIT: Duration = Duration::from_millis(200);
/// A runtime that does not answer is asked again after this.
const RETRY: Duration = Duration::from_secs(2);

/// Receives what workers report.
pub trait Reports: Send + Sync + 'static {
    /// A new status of a pod.
    fn status(&self, pod: &Arc<Pod>, status: PodStatus);
    /// Nothing of a deleted pod is left on the node.
    fn gone(&self, pod: &Arc<Pod>);
}

/// A pod's worker, as the rest of the agent sees it.
pub struct Worker {
    host: Arc<Host>,
    reports: Arc<dyn Reports>,
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    pod: Arc<Pod>,
    deleted: bool,
    ended: bool,
    memory: Memory,
    observed: Observed,
    status: Option<PodStatus>,
}

impl Worker {
    /// A worker for a pod; [`Worker::run`] is its task.
    pub fn new(host: Arc<Host>, reports: Arc<dyn Reports>, pod: Arc<Pod>) -> Arc<Self> {
        let mut memory = Memory::new(Timestamp::now());
        recall(&pod, &mut memory);
        let deleted = pod.metadata.deletion_timestamp.is_some();
        let state = State { pod, deleted, ended: false, memory, observed: Observed::default(), status: None };
        Arc::new(Self { host, reports, state: Mutex::new(state), wake: Notify::new() })
    }

    /// The pod as it is wanted now.
    pub fn pod(&self) -> Arc<Pod> {
        self.lock().pod.clone()
    }

    /// What the runtime had when it was last looked at.
    pub fn observed(&self) -> Observed {
        self.lock().observed.clone()
    }

    /// The status that was made last.
    pub fn status(&self) -> Option<PodStatus> {
        self.lock().status.clone()
    }

    /// Gives the worker a new version of its pod.
    pub fn update(&self, pod: Arc<Pod>) {
        let mut state = self.lock();
        state.deleted |= pod.metadata.deletion_timestamp.is_some();
        state.pod = pod;
        drop(state);
        self.wake.notify_one();
    }

    /// The pod is wanted no more.
    pub fn delete(&self) {
        self.lock().deleted = true;
        self.wake.notify_one();
    }

    /// Something happened in the runtime.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Tells the status again although nothing changed.
    pub fn report_again(&self) {
        let state = self.lock();
        let (pod, status) = (state.pod.clone(), state.status.clone());
        drop(state);
        if let Some(status) = status {
            self.reports.status(&pod, status);
        }
    }

    /// Changes what is remembered, and looks at the pod again.
    pub fn remember(&self, change: impl FnOnce(&mut Memory)) {
        change(&mut self.lock().memory);
        self.wake.notify_one();
    }

    /// Changes what is remembered, and looks at the pod again where the change was one.
    pub fn remember_if(&self, change: impl FnOnce(&mut Memory) -> bool) {
        if change(&mut self.lock().memory) {
            self.wake.notify_one();
        }
    }

    /// Whether a container (id) has passed its startup probe.
    pub fn has_started(&self, id: &str) -> bool {
        self.lock().memory.started.contains(id)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Works until nothing of the deleted pod is left.
    pub async fn run(self: Arc<Self>) {
        let mut probes = Probes::default();
        let mut refreshed = tokio::time::Instant::now();
        loop {
            if let Err(error) = self.observe().await {
                tracing::warn!(pod = %PodRef::of(&self.pod()), error = %stdx::error::chain(&error), "observe a pod");
                self.pause(RETRY).await;
                continue;
            }
            let (doomed, deleted) = {
                let state = self.lock();
                (state.deleted || state.memory.verdict.is_some(), state.deleted)
            };
            if doomed && !self.lock().observed.is_stopped() {
                self.publish();
                self.terminate().await;
                continue;
            }
            if deleted {
                if self.finish().await {
                    return;
                }
                self.pause(RETRY).await;
                continue;
            }
            let plan = if doomed { Plan::default() } else { self.decide() };
            self.lock().ended = doomed;
            self.publish();
            probes.sync(&self);
            if plan.verdict.is_some() {
                self.lock().memory.verdict = plan.verdict;
                continue;
            }
            if !plan.actions.is_empty() {
                self.carry_out(plan.actions).await;
                continue;
            }
            let longest = if self.is_initialising() { INIT } else { REFRESH };
            let recheck = plan.recheck_after.map_or(longest, |after| after.unsigned_abs().min(longest));
            self.pause(recheck.max(Duration::from_millis(50))).await;
            if refreshed.elapsed() >= REFRESH {
                refreshed = tokio::time::Instant::now();
                self.refresh_volumes().await;
            }
        }
    }

    fn is_initialising(&self) -> bool {
        let state = self.lock();
        let init = state.pod.spec.as_ref().and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
        init.iter().filter(|container| !plan::is_sidecar(container)).any(|container| {
            state.observed.latest(&container.name).is_some_and(|latest| latest.phase == Phase::Running)
        })
    }

    async fn pause(&self, longest: Duration) {
        let _ = tokio::time::timeout(longest, self.wake.notified()).await;
    }

    /// Reads the pod's sandboxes and containers; details only of what changed.
    async fn observe(&self) -> Result<(), Error> {
        let (uid, before) = {
            let state = self.lock();
            (state.pod.metadata.uid.clone().unwrap_or_default(), state.observed.clone())
        };
        let runtime = self.host.runtime.as_ref();
        let labels = [(POD_UID, uid.as_str())];
        let mut now = Observed::default();
        for item in runtime.list_sandboxes(&labels).await? {
            let ready = item.state() == cri::v1::PodSandboxState::SandboxReady;
            let known = before.sandboxes.iter().find(|sandbox| sandbox.id == item.id && sandbox.ready == ready);
            match known {
                Some(known) => now.sandboxes.push(known.clone()),
                None => match runtime.sandbox_status(&item.id).await {
                    Ok(status) => now.sandboxes.push(observed::sandbox(&status)),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error.into()),
                },
            }
        }
        for item in runtime.list_containers(&labels).await? {
            let phase = observed::phase(item.state());
            let known = before.containers.iter().find(|instance| instance.id == item.id && instance.phase == phase);
            if let Some(known) = known {
                now.containers.push(known.clone());
                continue;
            }
            match runtime.container_status(&item.id).await {
                Ok(status) => now.containers.push(self.detail(&status, &item.pod_sandbox_id)),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        now.sort();
        let mut state = self.lock();
        state.memory.retain(|id| now.containers.iter().any(|instance| instance.id == id));
        state.observed = now;
        let State { pod, memory, observed, .. } = &mut *state;
        unprobed(pod, memory, observed);
        Ok(())
    }

    fn detail(&self, status: &cri::v1::ContainerStatus, sandbox_id: &str) -> Instance {
        let mut instance = observed::instance(status, sandbox_id);
        if !status.log_path.starts_with('/') {
            let folder = super::config::log_folder(&self.host, &self.pod());
            instance.log_path = folder.join(&status.log_path).display().to_string();
        }
        lastwords::read(&mut instance);
        instance
    }

    fn decide(&self) -> Plan {
        let mut state = self.lock();
        let terminal = state.pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(terminal, Some("Succeeded" | "Failed")) && state.observed.is_stopped() {
            return Plan::default();
        }
        let plan = plan::plan(&state.pod, &state.observed, &state.memory, Timestamp::now());
        for (name, waiting) in &plan.waiting {
            if state.memory.waiting.get(name).map(|before| &before.reason) != Some(&waiting.reason) {
                self.tell_back_off(&state.pod, name, waiting);
            }
        }
        state.memory.waiting = plan.waiting.iter().cloned().collect();
        plan
    }

    fn tell_back_off(&self, pod: &Pod, name: &str, waiting: &Waiting) {
        let reference = PodRef::of(pod);
        let (type_, message) = match waiting.reason.as_str() {
            "CrashLoopBackOff" => (
                EventType::Warning,
                format!(
                    "Back-off restarting failed container {name} in pod {}_{}({})",
                    reference.name, reference.namespace, reference.uid
                ),
            ),
            "ImagePullBackOff" => {
                let image = find_container(pod, name).and_then(|container| container.image).unwrap_or_default();
                (EventType::Normal, format!("Back-off pulling image {image:?}"))
            }
            _ => return,
        };
        self.host.events.pod(pod, Some(name), type_, "BackOff", &message);
    }

    fn publish(&self) {
        let mut state = self.lock();
        let ips = state.observed.ready_sandbox().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
        let facts = self.host.facts(ips);
        let fresh = status::generate(&status::Input {
            pod: &state.pod,
            observed: &state.observed,
            memory: &state.memory,
            facts: &facts,
            last: state.status.as_ref(),
            ended: state.ended,
            now: Timestamp::now(),
        });
        if state.status.as_ref() == Some(&fresh) {
            return;
        }
        state.status = Some(fresh.clone());
        let pod = state.pod.clone();
        drop(state);
        self.reports.status(&pod, fresh);
    }

    async fn carry_out(&self, actions: Vec<Action>) {
        for action in actions {
            if self.lock().deleted {
                return;
            }
            let failed = match action {
                Action::Start { name, restart_count } => {
                    self.start(&name, restart_count).await;
                    continue;
                }
                Action::Prepare => self.prepare().await,
                Action::CreateSandbox { attempt } => self.create_sandbox(attempt).await,
                action => self.tidy(action).await,
            };
            if let Err(error) = failed {
                let pod = self.pod();
                tracing::warn!(pod = %PodRef::of(&pod), error = %stdx::error::chain(&error), "carry out a pod's plan");
                // What follows in the plan rests on the step that failed.
                return self.pause(RETRY).await;
            }
        }
    }

    async fn tidy(&self, action: Action) -> Result<(), Error> {
        let (pod, observed) = (self.pod(), self.observed());
        match action {
            Action::StopSandbox { id } => self.host.runtime.stop_sandbox(&id).await?,
            Action::RemoveSandbox { id } => self.host.runtime.remove_sandbox(&id).await?,
            Action::Remove { id } => execute::remove(&self.host, &pod, &observed, &id).await?,
            Action::Stop { id, name, reason } => {
                let grace = self.lock().memory.grace.get(&id).copied().unwrap_or_else(|| terminate::grace(&pod));
                let stopping = execute::stop(&self.host, &pod, &observed, &id, &name, grace, &reason);
                self.unless_deleted(stopping).await;
            }
            Action::Prepare | Action::CreateSandbox { .. } | Action::Start { .. } => {}
        }
        Ok(())
    }

    async fn prepare(&self) -> Result<(), Error> {
        let pod = self.pod();
        match execute::prepare(&self.host, &pod).await {
            Ok(()) => {
                let mut state = self.lock();
                state.memory.prepared = true;
                state.memory.succeed(VOLUMES);
            }
            Err(error) => {
                let message = stdx::error::chain(&error);
                self.host.events.pod(&pod, None, EventType::Warning, "FailedMount", &message);
                let now = Timestamp::now();
                self.lock().memory.fail(VOLUMES, Waiting::new("ContainerCreating", message), now);
            }
        }
        Ok(())
    }

    async fn create_sandbox(&self, attempt: u32) -> Result<(), Error> {
        let pod = self.pod();
        let made = execute::create_sandbox(&self.host, &pod, attempt).await;
        let mut state = self.lock();
        match made {
            Ok(_) => state.memory.succeed(SANDBOX),
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {}", stdx::error::chain(&error));
                self.host.events.pod(&pod, None, EventType::Warning, "FailedCreatePodSandBox", &message);
                state.memory.fail(SANDBOX, Waiting::new("ContainerCreating", message), Timestamp::now());
            }
        }
        Ok(())
    }

    async fn start(&self, name: &str, restart_count: u32) {
        let (pod, observed) = (self.pod(), self.observed());
        let Some(sandbox) = observed.ready_sandbox() else { return };
        let container = find_container(&pod, name);
        if let (Some(container), Some(latest)) = (&container, observed.latest(name)) {
            let now = Timestamp::now();
            let ended = latest.finished_at().unwrap_or(now);
            if latest.sandbox_id == sandbox.id && latest.phase == Phase::Exited {
                self.lock().memory.crashes.next(&plan::crash_key(container), ended, now);
            }
        }
        let starting = execute::start(&self.host, &pod, sandbox, name, restart_count);
        let Some(result) = self.unless_deleted(starting).await else { return };
        let mut state = self.lock();
        match result {
            Ok(started) => {
                state.memory.succeed(name);
                if let Some(reason) = started.condemned {
                    state.memory.condemned.insert(started.id, reason);
                }
            }
            Err(waiting) => {
                tracing::info!(pod = %PodRef::of(&pod), container = name, reason = waiting.reason, message = waiting.message, "container not started");
                state.memory.fail(name, waiting, Timestamp::now());
                drop(state);
                // The reason itself is seen before the back-off takes its place.
                self.publish();
            }
        }
    }

    /// The outcome, or `None` where the pod was deleted before it came.
    async fn unless_deleted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => {
                    // The wake-up that was taken here belongs to the loop.
                    self.wake.notify_one();
                    return Some(outcome);
                }
                () = self.wake.notified() => {
                    if self.lock().deleted {
                        self.wake.notify_one();
                        return None;
                    }
                }
            }
        }
    }

    /// Ends the pod's containers, reporting on the way; begins anew when the grace is cut short.
    async fn terminate(&self) {
        let (pod, observed) = (self.pod(), self.observed());
        let grace = terminate::grace(&pod);
        let ending = terminate::run(&self.host, &pod, &observed, grace);
        tokio::pin!(ending);
        loop {
            tokio::select! {
                () = &mut ending => return,
                () = self.wake.notified() => {
                    if terminate::grace(&self.pod()) < grace {
                        return self.wake.notify_one();
                    }
                    if self.observe().await.is_ok() {
                        self.publish();
                    }
                }
            }
        }
    }

    /// Reports the end and takes everything away; true where it is done.
    async fn finish(&self) -> bool {
        self.lock().ended = true;
        self.publish();
        let (pod, observed) = (self.pod(), self.observed());
        if let Err(error) = execute::clean_up(&self.host, &PodRef::of(&pod), &observed).await {
            tracing::warn!(pod = %PodRef::of(&pod), error = %stdx::error::chain(&error), "clean up after a pod");
            return false;
        }
        self.reports.gone(&pod);
        true
    }

    async fn refresh_volumes(&self) {
        let (pod, observed) = (self.pod(), self.observed());
        let Some(sandbox) = observed.ready_sandbox() else { return };
        let facts = self.host.facts(sandbox.ips.clone());
        if !crate::volumes::Volumes::changing(&pod) {
            return;
        }
        if let Err(error) = self.host.volumes.prepare(&pod, &facts, self.host.objects.as_ref()).await {
            let message = stdx::error::chain(&error);
            self.host.events.pod(&pod, None, EventType::Warning, "FailedMount", &message);
        }
    }

    /// The node all pods share.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }
}

/// After the agent's restart: what the API knows to be ready stays so until a probe says otherwise.
fn recall(pod: &Pod, memory: &mut Memory) {
    let Some(status) = pod.status.as_ref() else { return };
    let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    for container in all {
        let Some(id) = container.container_id.as_deref().and_then(|id| id.strip_prefix("containerd://")) else {
            continue;
        };
        if container.ready {
            memory.ready.insert(id.to_string());
        }
        if container.started == Some(true) {
            memory.started.insert(id.to_string());
        }
    }
}

/// Containers without a startup probe have started once they run, those without a readiness probe are ready then.
fn unprobed(pod: &Pod, memory: &mut Memory, observed: &Observed) {
    for instance in observed.containers.iter().filter(|instance| instance.phase == Phase::Running) {
        let Some(container) = find_container(pod, &instance.name) else { continue };
        if container.startup_probe.is_none() && !memory.condemned.contains_key(&instance.id) {
            memory.started.insert(instance.id.clone());
        }
        if container.readiness_probe.is_none() && memory.started.contains(&instance.id) {
            memory.ready.insert(instance.id.clone());
        }
    }
}

#[cfg(test)]
mod tests;
