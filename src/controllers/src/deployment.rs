//! Deployments: rolling updates, recreation, rollback, scaling over ReplicaSets.
//!
//! `plan` decides, `model` is what it decides from, `status` says how the roll-out stands; this file carries out.

use std::sync::Arc;
use std::time::Duration;

use client::events::Recorder;
use client::informer::{Change, Informer};
use client::queue::{Outcome, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Selector;
use serde_json::json;

use crate::Shared;
use crate::common::error::{Error, cause, doing};
use crate::common::key::Key;
use crate::common::owners::{self, ByController, by_controller, controller_of};
use crate::common::{namespaces, pods, ready};

mod model;
mod plan;
mod proportion;
mod status;
#[cfg(test)]
mod tests;

use model::same_template;
use plan::{Observed, Step, plan};

/// Deployments that are worked on at once.
const WORKERS: usize = 5;
const COMPONENT: &str = "deployment-controller";

struct Controller {
    client: kube::Client,
    deployments: Informer<Deployment>,
    sets: ByController<ReplicaSet>,
    pods: ByController<Pod>,
    recorder: Recorder,
}

/// Rolls deployments out until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::new(COMPONENT);
    let deployments = context.informers.all::<Deployment>();
    let (sets, all_pods) = (context.informers.all::<ReplicaSet>(), context.informers.all::<Pod>());
    let controller = Arc::new(Controller {
        client: context.client.clone(),
        deployments: deployments.clone(),
        sets: by_controller(&sets),
        pods: by_controller(&all_pods),
        recorder: Recorder::new(context.client.clone(), COMPONENT, ""),
    });
    let enqueue = queue.clone();
    deployments.on_change(move |change| enqueue.add(Key::of(&change.object().metadata)));
    let (enqueue, known) = (queue.clone(), deployments.clone());
    sets.on_change(move |change| set_changed(change, &known, &enqueue));
    let (enqueue, known) = (queue.clone(), sets.clone());
    all_pods.on_change(move |change| pod_changed(change, &known, &enqueue));
    if !ready(context, async { tokio::join!(deployments.synced(), sets.synced(), all_pods.synced()) }).await {
        return Ok(());
    }
    queue
        .run_until(&context.shutdown, WORKERS, move |key| {
            let controller = controller.clone();
            async move { controller.reconcile(&key).await }
        })
        .await;
    Ok(())
}

fn set_changed(change: &Change<ReplicaSet>, deployments: &Informer<Deployment>, queue: &WorkQueue<Key>) {
    let namespace = change.object().namespace().unwrap_or_default();
    let owner = |set: &ReplicaSet| {
        controller_of(&set.metadata).filter(|owner| owner.kind == "Deployment").map(|owner| owner.name.clone())
    };
    let mut found = owner(change.object()).map(|name| queue.add(Key::new(&namespace, &name))).is_some();
    if let Change::Updated(old, _) = change
        && let Some(name) = owner(old)
    {
        queue.add(Key::new(&namespace, &name));
        found = true;
    }
    if !found && controller_of(&change.object().metadata).is_none() {
        for deployment in deployments.list(Some(&namespace)) {
            queue.add(Key::of(&deployment.metadata));
        }
    }
}

/// A deployment that recreates waits for the last old pod to be gone.
fn pod_changed(change: &Change<Pod>, sets: &Informer<ReplicaSet>, queue: &WorkQueue<Key>) {
    let Change::Deleted(pod) = change else { return };
    let Some(owner) = controller_of(&pod.metadata).filter(|owner| owner.kind == "ReplicaSet") else { return };
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(set) = sets.get(&namespace, &owner.name)
        && let Some(deployment) = controller_of(&set.metadata)
    {
        queue.add(Key::new(&namespace, &deployment.name));
    }
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(deployment) = self.deployments.get(&key.namespace, &key.name) else { return Ok(Outcome::Done) };
        let spec = &deployment.spec;
        let Ok(selector) = Selector::try_from(spec.selector.clone()) else { return Ok(Outcome::Done) };
        if selector.selects_all() {
            self.recorder.warning(
                deployment.as_ref(),
                "SelectingAll",
                "This deployment is selecting all pods. A non-empty selector is required.",
            );
            return Ok(Outcome::Done);
        }
        let candidates = self.sets.candidates(&key.namespace, owners::uid(&deployment.metadata));
        let mut claims = owners::claim(&deployment.metadata, &selector, candidates);
        owners::settle(&self.client, deployment.as_ref(), &claims).await?;
        claims.owned.append(&mut claims.adopt);
        let old_pods_run = self.old_pods_run(&deployment, &claims.owned);
        let observed = Observed { deployment: &deployment, sets: &claims.owned, old_pods_run, now: Timestamp::now() };
        let planned = plan(&observed);
        for step in planned.steps {
            self.carry_out(&deployment, key, step).await?;
        }
        Ok(planned.again_in.map_or(Outcome::Done, Outcome::After))
    }

    fn old_pods_run(&self, deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> bool {
        let old = sets.iter().filter(|set| !same_template(&deployment.spec.template, set));
        old.flat_map(|set| self.pods.controlled(owners::uid(&set.metadata))).any(|pod| !pods::is_terminal(&pod))
    }

    async fn carry_out(&self, deployment: &Arc<Deployment>, key: &Key, step: Step) -> Result<(), Error> {
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &key.namespace);
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PatchParams::default();
        match step {
            Step::Create(set) => self.create(deployment, key, &sets, &set).await,
            Step::PatchSet { name, resource_version, patch, event } => {
                let mut patch = patch;
                patch["metadata"]["resourceVersion"] = json!(resource_version);
                let done = sets.patch(&name, &params, &Patch::Merge(patch)).await;
                done.map_err(doing(format!("change ReplicaSet {}/{name}", key.namespace)))?;
                if let Some(event) = event {
                    self.recorder.normal(deployment.as_ref(), "ScalingReplicaSet", &event);
                }
                Ok(())
            }
            Step::DeleteSet { name, uid, resource_version } => {
                let preconditions = Preconditions { uid: Some(uid), resource_version };
                let params = DeleteParams::background().preconditions(preconditions);
                match sets.delete(&name, &params).await {
                    Err(error) if !client::is_not_found(&error) => {
                        Err(doing(format!("delete ReplicaSet {}/{name}", key.namespace))(error))
                    }
                    _ => Ok(()),
                }
            }
            Step::Annotate(annotations) => {
                let patch = json!({"metadata": {"uid": deployment.metadata.uid, "annotations": annotations}});
                let done = deployments.patch(&key.name, &params, &Patch::Merge(patch)).await;
                done.map_err(doing(format!("annotate Deployment {key}")))?;
                Ok(())
            }
            Step::Status(status) => {
                let mut fields = json!(status);
                for count in
                    ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"]
                {
                    if fields.get(count).is_none() {
                        // A merge patch clears only what it names.
                        fields[count] = serde_json::Value::Null;
                    }
                }
                let patch = json!({"metadata": {"uid": deployment.metadata.uid}, "status": fields});
                let done = deployments.patch_status(&key.name, &params, &Patch::Merge(patch)).await;
                done.map_err(doing(format!("write the status of Deployment {key}")))?;
                Ok(())
            }
        }
    }

    /// Creates the new ReplicaSet. A name that is taken by our own is no news; one that is taken by another template
    /// makes the deployment count a collision, so that the next name is another.
    async fn create(
        &self,
        deployment: &Arc<Deployment>,
        key: &Key,
        sets: &Api<ReplicaSet>,
        set: &ReplicaSet,
    ) -> Result<(), Error> {
        let name = set.name_any();
        let what = || format!("create ReplicaSet {}/{name}", key.namespace);
        let error = match sets.create(&PostParams::default(), set).await {
            Ok(_) => {
                let replicas = set.spec.replicas.unwrap_or(0);
                if replicas > 0 {
                    let message = format!("Scaled up replica set {name} from 0 to {replicas}");
                    self.recorder.normal(deployment.as_ref(), "ScalingReplicaSet", &message);
                }
                return Ok(());
            }
            Err(error) if client::is_already_exists(&error) => error,
            Err(error) if namespaces::goes_away(&error) => return Ok(()),
            Err(error) => {
                let error = doing(what())(error);
                let message = format!("Failed to create new replica set \"{name}\": {}", cause(&error));
                self.recorder.warning(deployment.as_ref(), "ReplicaSetCreateError", &message);
                return Err(error);
            }
        };
        let there = sets.get(&name).await.map_err(doing(format!("read ReplicaSet {}/{name}", key.namespace)))?;
        let ours =
            controller_of(&there.metadata).is_some_and(|owner| Some(&owner.uid) == deployment.metadata.uid.as_ref());
        if ours && same_template(&deployment.spec.template, &there) {
            // The cache is behind; the set will come into view.
            return Ok(());
        }
        let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &key.namespace);
        let patch = json!({"metadata": {"uid": deployment.metadata.uid},
            "status": {"collisionCount": collisions.saturating_add(1)}});
        let counted = api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        counted.map_err(doing(format!("count a collision of Deployment {key}")))?;
        Err(doing(what())(error))
    }
}

/// A pause until `at`; a moment at least.
fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default().max(Duration::from_millis(500))
}
