//! One task a pod: observe, plan, carry out, report, until the pod is gone.
//!
//! Here are the loop and what the rest of the agent sees of it; how it looks at the runtime is in `observe`, how it
//! carries out a plan in `act`, how a pod ends in `end`.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use client::events::EventType;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::Notify;

use super::identity::PodRef;
use super::memory::{Memory, VOLUMES, Waiting};
use super::observed::{Observed, Phase};
use super::plan::{self, Plan};
use super::{find_container, status};
use crate::host::Host;
use crate::objects::Changed;
use crate::probes::Probes;

mod act;
mod end;
mod observe;

/// Volumes are compared with their sources this often, for tokens that end; changes of objects are told.
const REFRESH: Duration = Duration::from_secs(60);
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
    /// What former agents' runs tell has been read.
    recalled: bool,
    /// What volumes are made from has changed.
    stale: bool,
    /// The volumes of the pod, which is over, are gone.
    torn_down: bool,
    memory: Memory,
    observed: Observed,
    status: Option<PodStatus>,
    /// Somebody else wrote over what was told: the node controller, while this node was silent.
    overwritten: bool,
}

impl Worker {
    /// A worker for a pod; [`Worker::run`] is its task.
    pub fn new(host: Arc<Host>, reports: Arc<dyn Reports>, pod: Arc<Pod>) -> Arc<Self> {
        let mut memory = Memory::new(Timestamp::now());
        observe::recall(&pod, &mut memory);
        let deleted = pod.metadata.deletion_timestamp.is_some();
        let observed = Observed::default();
        let state = State {
            pod,
            deleted,
            ended: false,
            recalled: false,
            stale: false,
            torn_down: false,
            memory,
            observed,
            status: None,
            overwritten: false,
        };
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
        let (old, new) = (&state.pod.metadata, &pod.metadata);
        // What downwardAPI volumes show.
        state.stale |= old.labels != new.labels || old.annotations != new.annotations;
        state.overwritten |=
            state.status.as_ref().is_some_and(|told| status::conditions::is_overwritten(told, pod.status.as_ref()));
        state.pod = pod;
        drop(state);
        self.wake.notify_one();
    }

    /// A ConfigMap or Secret that the pod refers to has changed, or has come.
    fn source_changed(&self) {
        let mut state = self.lock();
        state.stale = true;
        state.memory.forgive(|key, waiting| key == VOLUMES || waiting.reason == "CreateContainerConfigError");
        drop(state);
        self.wake.notify_one();
    }

    /// Follows what the pod refers to, where this version of the pod is not followed yet.
    fn follow_sources(self: &Arc<Self>, followed: &mut Option<Arc<Pod>>) {
        let pod = self.pod();
        if followed.as_ref().is_some_and(|before| Arc::ptr_eq(before, &pod)) {
            return;
        }
        let worker = Arc::downgrade(self);
        let changed: Changed = Arc::new(move || {
            if let Some(worker) = worker.upgrade() {
                worker.source_changed();
            }
        });
        self.host.objects.follow(&pod, &changed);
        *followed = Some(pod);
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
        let mut followed = None;
        loop {
            self.follow_sources(&mut followed);
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
                    return self.host.objects.forget(&PodRef::of(&self.pod()).uid);
                }
                self.pause(RETRY).await;
                continue;
            }
            self.look_for_images().await;
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
            if self.is_over() && self.lock().observed.is_stopped() {
                let torn_down = self.tear_down().await;
                self.pause(if torn_down { REFRESH } else { RETRY }).await;
                continue;
            }
            let stale = std::mem::take(&mut self.lock().stale);
            if stale || refreshed.elapsed() >= REFRESH {
                refreshed = tokio::time::Instant::now();
                self.refresh_volumes().await;
            }
            let longest = if self.is_initialising() { INIT } else { REFRESH };
            let recheck = plan.recheck_after.map_or(longest, |after| after.unsigned_abs().min(longest));
            self.pause(recheck.max(Duration::from_millis(50))).await;
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

    fn decide(&self) -> Plan {
        let mut state = self.lock();
        // By the API's word or by what was told last, which the API may not have heard of yet.
        let known = [state.pod.status.as_ref(), state.status.as_ref()];
        let phases = known.map(|status| status.and_then(|status| status.phase.as_deref()));
        let terminal = phases.iter().any(|phase| matches!(phase, Some("Succeeded" | "Failed")));
        if terminal && state.observed.is_stopped() {
            return Plan::default();
        }
        let plan = plan::plan(&state.pod, &state.observed, &state.memory, Timestamp::now());
        for (name, waiting) in &plan.waiting {
            if state.memory.waiting.get(name).map(|before| &before.reason) != Some(&waiting.reason) {
                self.tell_back_off(&state.pod, name, waiting);
            }
        }
        if let Some(verdict) = &plan.verdict {
            self.host.events.pod(&state.pod, None, EventType::Normal, &verdict.reason, &verdict.message);
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
        let overwritten = std::mem::take(&mut state.overwritten);
        if state.status.as_ref() == Some(&fresh) && !overwritten {
            return;
        }
        state.status = Some(fresh.clone());
        let pod = state.pod.clone();
        drop(state);
        self.reports.status(&pod, fresh);
    }

    /// The node all pods share.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }
}

#[cfg(test)]
mod tests;
