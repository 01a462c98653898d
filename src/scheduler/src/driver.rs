//! Carries decisions out: informers in, bindings, conditions and events out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::Context;
use client::events::Recorder;
use client::informer::Change;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::pod::PodInfo;
use crate::preempt::{self, Preemption};
use crate::queue::{Popped, Queue};
use crate::schedule::{FitError, schedule};
use crate::state::State;
use crate::{Config, Error};

/// How often pods that have waited long are looked for.
const REFRESH: Duration = Duration::from_secs(30);

struct Scheduler {
    config: Config,
    context: Context,
    recorder: Recorder,
    state: Mutex<State>,
    wake: Notify,
}

/// Schedules pods until the context is shut down.
///
/// # Errors
/// [`Error`] where it cannot go on.
pub async fn run(config: Config, context: Context) -> Result<(), Error> {
    let queue = Queue::new(config.backoff, config.retry_unschedulable_after);
    let scheduler = Arc::new(Scheduler {
        recorder: Recorder::new(context.client.clone(), &config.scheduler_name, ""),
        state: Mutex::new(State::new(queue)),
        wake: Notify::new(),
        config,
        context: context.clone(),
    });
    let namespaces = context.informers.all::<Namespace>();
    let nodes = context.informers.all::<Node>();
    let pods = context.informers.all::<Pod>();
    let budgets = context.informers.all::<PodDisruptionBudget>();
    // Handlers outlive this function in the informers: they must not keep the scheduler.
    let weak = Arc::downgrade(&scheduler);
    namespaces.on_change(with(&weak, Scheduler::namespace_changed));
    budgets.on_change(with(&weak, Scheduler::budget_changed));
    nodes.on_change(with(&weak, Scheduler::node_changed));
    pods.on_change(with(&weak, Scheduler::pod_changed));
    tokio::select! {
        () = context.shutdown.cancelled() => return Ok(()),
        () = async { tokio::join!(namespaces.synced(), nodes.synced(), pods.synced(), budgets.synced()); } => {}
    }
    let permits = Arc::new(Semaphore::new(scheduler.config.parallel_bindings.max(1)));
    tokio::select! {
        () = context.shutdown.cancelled() => Ok(()),
        () = scheduler.clone().schedule_all(permits) => Err(Error::TaskEnded("loop")),
    }
}

fn with<K>(
    scheduler: &std::sync::Weak<Scheduler>,
    then: fn(&Scheduler, &Change<K>),
) -> impl Fn(&Change<K>) + Send + Sync + 'static + use<K>
where
    K: 'static,
{
    let scheduler = scheduler.clone();
    move |change| {
        if let Some(scheduler) = scheduler.upgrade() {
            then(&scheduler, change);
        }
    }
}

impl Scheduler {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn namespace_changed(&self, change: &Change<Namespace>) {
        self.lock().namespace_changed(change);
    }

    fn budget_changed(&self, change: &Change<PodDisruptionBudget>) {
        self.lock().budget_changed(change);
    }

    fn node_changed(&self, change: &Change<Node>) {
        if self.lock().node_changed(change, Instant::now()) {
            self.wake.notify_one();
        }
    }

    fn pod_changed(&self, change: &Change<Pod>) {
        if self.lock().pod_changed(change, self.is_ours(change.object()), Instant::now()) {
            self.wake.notify_one();
        }
    }

    fn is_ours(&self, pod: &Pod) -> bool {
        let Some(spec) = &pod.spec else { return false };
        let scheduler = spec.scheduler_name.as_deref().unwrap_or(crate::SCHEDULER_NAME);
        scheduler == self.config.scheduler_name && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
    }

    async fn schedule_all(self: Arc<Self>, permits: Arc<Semaphore>) {
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let popped = {
                let mut state = self.lock();
                let now = Instant::now();
                state.queue.refresh(now);
                state.queue.pop(now)
            };
            let Some(popped) = popped else {
                drop(permit);
                let due = self.lock().queue.next_due();
                let latest = Instant::now() + REFRESH;
                let until = due.map_or(latest, |due| due.min(latest));
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep_until(until) => {}
                }
                continue;
            };
            let decision = self.decide(&popped);
            let scheduler = self.clone();
            tokio::spawn(async move {
                match decision {
                    Decision::Bind(node) => scheduler.bind(&popped.pod, &node).await,
                    Decision::Refuse(message, preemption) => {
                        scheduler.refuse(&popped.pod, &message, preemption).await;
                    }
                }
                drop(permit);
            });
            // A long queue must not starve the informers' task, whose changes the next decision needs.
            tokio::task::yield_now().await;
        }
    }

    /// Decides and records the decision in memory, in one step.
    fn decide(&self, popped: &Popped) -> Decision {
        let pod = &popped.pod;
        let (mut state, now) = (self.lock(), Instant::now());
        match schedule(pod, &state.cluster, rand::random()) {
            Ok(node) => {
                let kept = state.cluster.place(pod.clone(), &node);
                state.room_came(kept, now);
                Decision::Bind(node)
            }
            Err(fit) => {
                let kept = state.cluster.nominated.get(&pod.uid).map(|(kept, _)| kept.clone());
                let (message, preemption) = self.after_refusal(pod, &mut state.cluster, &fit);
                if preemption.as_ref().is_some_and(|preemption| kept.as_ref() != Some(&preemption.node)) {
                    state.room_came(kept, now);
                }
                let reasons = fit.nodes.into_values().flatten().fold(Vec::new(), |mut kept, reason| {
                    if !kept.contains(&reason) {
                        kept.push(reason);
                    }
                    kept
                });
                state.queue.did_not_fit(popped, reasons, now);
                Decision::Refuse(message, preemption)
            }
        }
    }

    fn after_refusal(&self, pod: &Arc<PodInfo>, cluster: &mut Cluster, fit: &FitError) -> (String, Option<Preemption>) {
        let message = fit.message();
        if fit.nodes.is_empty() {
            return (message, None);
        }
        match preempt::plan(pod, cluster, fit) {
            Ok(preemption) => {
                cluster.nominated.insert(pod.uid.clone(), (preemption.node.clone(), pod.clone()));
                (message, Some(preemption))
            }
            Err(reason) => (format!("{message} {reason}"), None),
        }
    }

    async fn bind(&self, pod: &Arc<PodInfo>, node: &str) {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &pod.namespace);
        let binding = json!({"apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
        let params = PostParams::default();
        match api.create_subresource::<Value, Value>("binding", &pod.name, &params, &binding).await {
            Ok(_) => {
                let message = format!("Successfully assigned {} to {node}", pod.full_name());
                self.recorder.normal(&reference(pod), "Scheduled", &message);
            }
            Err(error) => {
                let gone = client::is_not_found(&error) || client::is_conflict(&error);
                let text = client::ApiError(error).to_string();
                tracing::debug!(pod = pod.full_name(), node, error = text, "binding was refused");
                let mut state = self.lock();
                let left = state.cluster.remove_pod(&pod.uid);
                state.room_came(left, Instant::now());
                state.queue.put_off(&pod.uid, Instant::now());
                drop(state);
                self.wake.notify_one();
                if !gone {
                    let message = format!("binding rejected: {text}");
                    self.recorder.warning(&reference(pod), "FailedScheduling", &message);
                }
            }
        }
    }

    async fn refuse(&self, pod: &Arc<PodInfo>, message: &str, preemption: Option<Preemption>) {
        self.recorder.warning(&reference(pod), "FailedScheduling", message);
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &pod.namespace);
        let current = self.context.informers.all::<Pod>().get(&pod.namespace, &pod.name);
        let nominated = preemption.as_ref().map(|preemption| preemption.node.as_str());
        let patch = current.and_then(|current| condition_patch(&current, message, nominated, Timestamp::now()));
        if let Some(patch) = patch
            && let Err(error) = api.patch_status(&pod.name, &PatchParams::default(), &Patch::Strategic(patch)).await
        {
            let error = client::ApiError(error).to_string();
            tracing::debug!(pod = pod.full_name(), error, "cannot tell the pod that it does not fit");
        }
        for victim in preemption.iter().flat_map(|preemption| &preemption.victims) {
            self.evict(pod, victim).await;
        }
    }

    async fn evict(&self, pod: &PodInfo, victim: &PodInfo) {
        if victim.terminating {
            return;
        }
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &victim.namespace);
        let message = format!("{}: preempting to accommodate a higher priority pod", self.config.scheduler_name);
        let patch = Patch::Strategic(victim_patch(victim, &message, Timestamp::now()));
        // The condition explains the eviction; the eviction does not depend on it.
        let _ = api.patch_status(&victim.name, &PatchParams::default(), &patch).await;
        let preconditions = kube::api::Preconditions { uid: Some(victim.uid.clone()), resource_version: None };
        match api.delete(&victim.name, &DeleteParams::default().preconditions(preconditions)).await {
            Ok(_) => {
                let message = format!("Preempted by pod {} on node {}", pod.uid, victim.assigned_to);
                self.recorder.normal(&reference(victim), "Preempted", &message);
            }
            Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => {}
            Err(error) => {
                let error = client::ApiError(error).to_string();
                tracing::warn!(victim = victim.full_name(), error, "cannot evict");
            }
        }
    }
}

enum Decision {
    Bind(String),
    Refuse(String, Option<Preemption>),
}

/// The status patch that says why a pod has no node; `None` where the pod says so already.
fn condition_patch(pod: &Pod, message: &str, nominated: Option<&str>, now: Timestamp) -> Option<Value> {
    let status = pod.status.clone().unwrap_or_default();
    let old = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    let said = old.is_some_and(|old| {
        old.status == "False"
            && old.reason.as_deref() == Some("Unschedulable")
            && old.message.as_deref() == Some(message)
    });
    let named = nominated.is_none() || nominated == status.nominated_node_name.as_deref();
    if said && named {
        return None;
    }
    let since = old.filter(|old| old.status == "False").and_then(|old| old.last_transition_time.as_ref());
    let time = machinery::meta::format_time(since.map_or(now, |time| time.0));
    let mut patch = json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": message, "lastTransitionTime": time}]}});
    if let Some(node) = nominated {
        patch["status"]["nominatedNodeName"] = node.into();
    }
    Some(patch)
}

/// The status patch that tells a pod why it leaves; the uid keeps it from another pod that has come under the name.
fn victim_patch(victim: &PodInfo, message: &str, now: Timestamp) -> Value {
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        "message": message, "lastTransitionTime": machinery::meta::format_time(now)});
    json!({"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}})
}

fn reference(pod: &PodInfo) -> Pod {
    let mut object = Pod::default();
    object.metadata.name = Some(pod.name.clone());
    object.metadata.namespace = Some(pod.namespace.clone());
    object.metadata.uid = Some(pod.uid.clone());
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pod_that_was_chosen_is_told_that_it_leaves() {
        let victim = crate::fixtures::pod("low-1", json!({"containers": []}));
        assert_eq!(victim_patch(&victim, "room", Timestamp::UNIX_EPOCH)["metadata"]["uid"], "uid-low-1");
    }

    #[test]
    fn a_pod_is_told_once_why_it_has_no_node() {
        let now = Timestamp::from_second(1_000).unwrap();
        let mut pod = Pod::default();
        let patch = condition_patch(&pod, "no room", None, now).unwrap();
        assert_eq!(patch["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:16:40Z");
        pod.status = Some(serde_json::from_value(patch["status"].clone()).unwrap());
        let later = Timestamp::from_second(2_000).unwrap();
        assert_eq!(condition_patch(&pod, "no room", None, later), None);
        let other = condition_patch(&pod, "still no room", None, later).unwrap();
        assert_eq!(
            other["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:16:40Z",
            "it was false before"
        );
        let nominated = condition_patch(&pod, "no room", Some("n1"), later).unwrap();
        assert_eq!(nominated["status"]["nominatedNodeName"], "n1");
    }
}
