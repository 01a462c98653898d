//! PodDisruptionBudgets: their status says how many of the pods they cover may be evicted now.
//!
//! The eviction subresource takes from `disruptionsAllowed` and notes the pod in `disruptedPods`; this controller
//! counts again whenever a pod or a budget changes. What it writes carries the version it has counted from, so that
//! an eviction that comes between is not forgotten.

use std::sync::Arc;
use std::time::Duration;

use client::events::Recorder;
use client::informer::{Change, Informer};
use client::queue::{Outcome, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::core::{Selector, SelectorExt};
use serde_json::{Value, json};

use crate::Shared;
use crate::common::error::{Error, doing};
use crate::common::key::Key;
use crate::common::ready;

mod plan;
mod scale;
#[cfg(test)]
mod tests;

use plan::{Plan, needs_scale, plan, stale_at};
use scale::{Expected, Scales};

const COMPONENT: &str = "controllermanager";
/// Budgets and pods that are worked on at once.
const WORKERS: usize = 2;

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Task {
    /// A budget.
    Budget(Key),
    /// A pod that is marked for a disruption.
    Marked(Key),
}

struct Controller {
    client: kube::Client,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    scales: Scales,
    recorder: Recorder,
}

/// Keeps every budget's status up until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::new("disruption");
    let (budgets, pods) = (context.informers.all::<PodDisruptionBudget>(), context.informers.all::<Pod>());
    let controller = Arc::new(Controller {
        client: context.client.clone(),
        budgets: budgets.clone(),
        pods: pods.clone(),
        scales: Scales::new(context.client.clone(), &context.informers),
        recorder: Recorder::new(context.client.clone(), COMPONENT, ""),
    });
    let enqueue = queue.clone();
    budgets.on_change(move |change| enqueue.add(Task::Budget(Key::of(&change.object().metadata))));
    let (enqueue, known) = (queue.clone(), budgets.clone());
    pods.on_change(move |change| pod_changed(change, &known, &enqueue));
    if !ready(context, async { tokio::join!(budgets.synced(), pods.synced(), controller.scales.synced()) }).await {
        return Ok(());
    }
    let work = move |task| {
        let controller = controller.clone();
        async move {
            match task {
                Task::Budget(key) => controller.reconcile(&key).await,
                Task::Marked(key) => controller.unmark(&key).await,
            }
        }
    };
    queue.run_until(&context.shutdown, WORKERS, work).await;
    Ok(())
}

/// Whether a budget covers a pod; one without a selector covers none.
fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
    let selector = selector.and_then(|selector| Selector::try_from(selector).ok());
    selector.is_some_and(|selector| selector.matches(pod.labels()))
}

fn pod_changed(change: &Change<Pod>, budgets: &Informer<PodDisruptionBudget>, queue: &WorkQueue<Task>) {
    let pod = change.object();
    for budget in budgets.list(pod.metadata.namespace.as_deref()) {
        let before = matches!(change, Change::Updated(old, _) if covers(&budget, old));
        if before || covers(&budget, pod) {
            queue.add(Task::Budget(Key::of(&budget.metadata)));
        }
    }
    if !matches!(change, Change::Deleted(_))
        && let Some(at) = stale_at(pod)
    {
        queue.add_after(Task::Marked(Key::of(&pod.metadata)), until(at, Timestamp::now()));
    }
}

/// How long to wait for `at`; not at all where it has passed.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(budget) = self.budgets.get(&key.namespace, &key.name) else { return Ok(Outcome::Done) };
        if budget.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        let now = Timestamp::now();
        let mut covered = self.pods.list(Some(&key.namespace));
        covered.retain(|pod| covers(&budget, pod));
        let expected = match self.expected(&budget, &covered).await {
            Ok(expected) => expected,
            Err(error) => {
                let why = stdx::error::chain(&error);
                let message = format!("Failed to calculate the number of expected pods: {why}");
                self.recorder.warning(budget.as_ref(), "CalculateExpectedPodCountFailed", &message);
                self.write(&budget, key, plan::failed(&budget, &why, now)).await?;
                return Err(error);
            }
        };
        self.tell(&budget, &covered, &expected);
        let Plan { status, again_at, overdue } = plan(&budget, &covered, expected.scale, now);
        for pod in overdue {
            let message = format!("Pod was expected by PDB {key} to be deleted but it wasn't");
            self.recorder.warning(pod.as_ref(), "NotDeleted", &message);
        }
        self.write(&budget, key, status).await?;
        Ok(again_at.map_or(Outcome::Done, |at| Outcome::After(until(at, now) + Duration::from_secs(1))))
    }

    async fn expected(&self, budget: &PodDisruptionBudget, covered: &[Arc<Pod>]) -> Result<Expected, Error> {
        match budget.spec.as_ref().is_some_and(needs_scale) {
            true => self.scales.expected(covered).await,
            false => Ok(Expected::default()),
        }
    }

    fn tell(&self, budget: &PodDisruptionBudget, covered: &[Arc<Pod>], expected: &Expected) {
        if covered.is_empty() {
            self.recorder.normal(budget, "NoPods", "No matching pods found");
        }
        if !expected.unmanaged.is_empty() {
            let message = "Pods selected by this PodDisruptionBudget were found to be unmanaged. As a result, the status \
                           of the PDB cannot be calculated correctly, which may result in undefined behavior. To \
                           account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.";
            self.recorder.warning(budget, "UnmanagedPods", message);
        }
    }

    async fn write(
        &self,
        budget: &PodDisruptionBudget,
        key: &Key,
        status: PodDisruptionBudgetStatus,
    ) -> Result<(), Error> {
        let old = budget.status.clone().unwrap_or_default();
        let mut disrupted = json!(status.disrupted_pods.clone().unwrap_or_default());
        for name in old.disrupted_pods.iter().flatten().map(|(name, _)| name) {
            if disrupted.get(name).is_none() {
                disrupted[name] = Value::Null;
            }
        }
        // An empty map and none are the same.
        let same_pods =
            old.disrupted_pods.clone().unwrap_or_default() == status.disrupted_pods.clone().unwrap_or_default();
        if same_pods
            && old == (PodDisruptionBudgetStatus { disrupted_pods: old.disrupted_pods.clone(), ..status.clone() })
        {
            return Ok(());
        }
        let patch = json!({
            "metadata": {"uid": budget.metadata.uid, "resourceVersion": budget.metadata.resource_version},
            "status": {
                "conditions": status.conditions, "currentHealthy": status.current_healthy,
                "desiredHealthy": status.desired_healthy, "disruptedPods": disrupted,
                "disruptionsAllowed": status.disruptions_allowed, "expectedPods": status.expected_pods,
                "observedGeneration": status.observed_generation,
            },
        });
        let api: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if !client::is_not_found(&error) => {
                Err(doing(format!("write the status of PodDisruptionBudget {key}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Takes the mark off a pod whose disruption did not come.
    async fn unmark(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(pod) = self.pods.get(&key.namespace, &key.name) else { return Ok(Outcome::Done) };
        let Some(at) = stale_at(&pod) else { return Ok(Outcome::Done) };
        let now = Timestamp::now();
        if at > now {
            return Ok(Outcome::After(until(at, now)));
        }
        let condition = json!({"type": "DisruptionTarget", "status": "False", "reason": null, "message": null,
            "lastTransitionTime": machinery::meta::format_time(now)});
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Err(error) if !client::is_not_found(&error) => Err(doing(format!("take the mark off pod {key}"))(error)),
            _ => Ok(Outcome::Done),
        }
    }
}
