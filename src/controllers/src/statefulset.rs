//! StatefulSets: pods with names and claims of their own, made and updated in order.

use std::sync::Arc;
use std::time::Duration;

use client::events::Recorder;
use client::informer::{Change, Informer};
use client::queue::{Outcome, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Selector;
use serde_json::{Value, json};

use crate::Shared;
use crate::common::error::{Error, cause, doing};
use crate::common::key::Key;
use crate::common::owners::{self, ByController, by_controller, controller_of};
use crate::common::revisions::{self, HASH_LABEL};
use crate::common::{namespaces, pods, ready};

mod plan;
mod pod;
#[cfg(test)]
mod tests;

use plan::{Observed, Plan, ordinal, plan};

const COMPONENT: &str = "statefulset-controller";
/// Sets that are worked on at once.
const WORKERS: usize = 5;
/// A set whose history was just changed is looked at again after this.
const AGAIN: Duration = Duration::from_millis(100);

struct Controller {
    client: kube::Client,
    sets: Informer<StatefulSet>,
    pods: ByController<Pod>,
    revisions: ByController<ControllerRevision>,
    recorder: Recorder,
}

/// Keeps sets until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::new("statefulset");
    let (sets, all_pods) = (context.informers.all::<StatefulSet>(), context.informers.all::<Pod>());
    let all_revisions = context.informers.all::<ControllerRevision>();
    let controller = Arc::new(Controller {
        client: context.client.clone(),
        sets: sets.clone(),
        pods: by_controller(&all_pods),
        revisions: by_controller(&all_revisions),
        recorder: Recorder::new(context.client.clone(), COMPONENT, ""),
    });
    let enqueue = queue.clone();
    sets.on_change(move |change| enqueue.add(Key::of(&change.object().metadata)));
    let (enqueue, known) = (queue.clone(), sets.clone());
    all_pods.on_change(move |change: &Change<Pod>| {
        let metadata = &change.object().metadata;
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        match controller_of(metadata) {
            Some(owner) if owner.kind == "StatefulSet" => enqueue.add(Key::new(namespace, &owner.name)),
            Some(_) => {}
            // One that nobody has may be adopted.
            None => known.list(Some(namespace)).iter().for_each(|set| enqueue.add(Key::of(&set.metadata))),
        }
    });
    if !ready(context, async { tokio::join!(sets.synced(), all_pods.synced(), all_revisions.synced()) }).await {
        return Ok(());
    }
    let work = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(&key).await }
    };
    queue.run_until(&context.shutdown, WORKERS, work).await;
    Ok(())
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(set) = self.sets.get(&key.namespace, &key.name) else { return Ok(Outcome::Done) };
        let Ok(selector) = Selector::try_from(set.spec.selector.clone()) else { return Ok(Outcome::Done) };
        if selector.selects_all() || set.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        let candidates = self.pods.candidates(&key.namespace, owners::uid(&set.metadata));
        let mut claims = owners::claim(&set.metadata, &selector, candidates);
        // A pod by another name is none of its members.
        claims.adopt.retain(|pod| ordinal(&set, pod).is_some() && pods::is_active(pod));
        owners::settle(&self.client, set.as_ref(), &claims).await?;
        claims.owned.append(&mut claims.adopt);
        let revisions = self.revisions.candidates(&key.namespace, owners::uid(&set.metadata));
        let mut revisions = revisions::claim(&self.client, set.as_ref(), &selector, revisions).await?;
        let reached = set.status.as_ref().and_then(|status| status.current_revision.clone());
        let history = revisions::plan(set.as_ref(), &mut revisions, &in_use(&set, &claims.owned, reached.as_deref()));
        let Some(hash) = revisions::record(&self.client, set.as_ref(), key, history).await? else {
            return Ok(Outcome::After(AGAIN));
        };
        let update = format!("{}-{hash}", set.name_any());
        let current = reached.filter(|name| revisions.iter().any(|one| one.name_any() == *name));
        let current = current.unwrap_or_else(|| update.clone());
        let now = Timestamp::now();
        let plan = plan(&Observed { set: &set, pods: &claims.owned, current: &current, update: &update, now });
        let done = self.carry_out(&set, key, &plan, &revisions, &update).await;
        self.write_status(&set, key, &plan.status).await?;
        done?;
        Ok(plan
            .again_at
            .map_or(Outcome::Done, |at| Outcome::After(Duration::try_from(at.duration_since(now)).unwrap_or_default())))
    }

    async fn carry_out(
        &self,
        set: &StatefulSet,
        key: &Key,
        plan: &Plan,
        revisions: &[Arc<ControllerRevision>],
        update: &str,
    ) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        for (ordinal, revision) in &plan.create {
            let of_revision = revisions.iter().find(|one| one.name_any() == *revision && *revision != update);
            let template =
                of_revision.and_then(|one| template(&one.data.0)).unwrap_or_else(|| set.spec.template.clone());
            self.create(&api, set, key, &pod::make(set, &template, *ordinal, revision), *ordinal).await?;
        }
        for pod in &plan.scaled_down {
            self.give_claims(set, key, pod, &pod::claims_that_go(set, pod)).await?;
        }
        for pod in &plan.delete {
            self.delete(&api, set, key, pod).await?;
        }
        Ok(())
    }

    /// The pod's name is its own, so that it is made once however often it is tried.
    async fn create(&self, api: &Api<Pod>, set: &StatefulSet, key: &Key, pod: &Pod, ordinal: i32) -> Result<(), Error> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PostParams::default();
        for (claim, _) in pod::claims(set, ordinal) {
            match claims.create(&params, &claim).await {
                Err(error) if client::is_already_exists(&error) || namespaces::goes_away(&error) => {}
                done => drop(done.map_err(doing(format!("create PersistentVolumeClaim {}", claim.name_any())))?),
            }
        }
        let name = pod.name_any();
        match api.create(&params, pod).await {
            Ok(_) => {
                let message = format!("create Pod {name} in StatefulSet {} successful", key.name);
                self.recorder.normal(set, "SuccessfulCreate", &message);
                Ok(())
            }
            Err(error) if client::is_already_exists(&error) || namespaces::goes_away(&error) => Ok(()),
            Err(error) => {
                let error = doing(format!("create pod {}/{name}", key.namespace))(error);
                let message = format!("create Pod {name} in StatefulSet {} failed error: {}", key.name, cause(&error));
                self.recorder.warning(set, "FailedCreate", &message);
                Err(error)
            }
        }
    }

    async fn delete(&self, api: &Api<Pod>, set: &StatefulSet, key: &Key, pod: &Pod) -> Result<(), Error> {
        let name = pod.name_any();
        let params = DeleteParams::default().preconditions(Preconditions { uid: pod.uid(), resource_version: None });
        match api.delete(&name, &params).await {
            Ok(_) => {
                let message = format!("delete Pod {name} in StatefulSet {} successful", key.name);
                self.recorder.normal(set, "SuccessfulDelete", &message);
                Ok(())
            }
            Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => Ok(()),
            Err(error) => Err(doing(format!("delete pod {}/{name}", key.namespace))(error)),
        }
    }

    /// Makes claims the pod's, so that they go with it.
    async fn give_claims(&self, set: &StatefulSet, key: &Key, pod: &Pod, names: &[String]) -> Result<(), Error> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &key.namespace);
        for name in names {
            let reading = doing(format!("read PersistentVolumeClaim {}/{name}", key.namespace));
            let Some(claim) = api.get_opt(name).await.map_err(reading)? else { continue };
            let present = claim.metadata.owner_references.as_deref().unwrap_or_default();
            let owners = pod::owners_with(set, pod, present);
            if owners == present {
                continue;
            }
            let patch = Patch::Merge(json!({"metadata": {"uid": claim.metadata.uid,
                "resourceVersion": claim.metadata.resource_version, "ownerReferences": owners}}));
            match api.patch(name, &PatchParams::default(), &patch).await {
                Err(error) if client::is_not_found(&error) => {}
                done => drop(done.map_err(doing(format!("give PersistentVolumeClaim {name} to its pod")))?),
            }
        }
        Ok(())
    }

    async fn write_status(&self, set: &StatefulSet, key: &Key, status: &StatefulSetStatus) -> Result<(), Error> {
        if set.status.as_ref() == Some(status) {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": set.metadata.uid}, "status": {
            "replicas": status.replicas, "readyReplicas": status.ready_replicas,
            "availableReplicas": status.available_replicas, "currentReplicas": status.current_replicas,
            "updatedReplicas": status.updated_replicas, "currentRevision": status.current_revision,
            "updateRevision": status.update_revision, "observedGeneration": status.observed_generation,
            "collisionCount": status.collision_count}});
        let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if !client::is_not_found(&error) => {
                Err(doing(format!("write the status of StatefulSet {key}"))(error))
            }
            _ => Ok(()),
        }
    }
}

/// The hashes of revisions that pods have, and of that which the set has reached.
fn in_use(set: &StatefulSet, pods: &[Arc<Pod>], reached: Option<&str>) -> Vec<String> {
    let prefix = format!("{}-", set.name_any());
    let names = pods.iter().filter_map(|pod| pod.labels().get(HASH_LABEL).map(String::as_str)).chain(reached);
    names.filter_map(|name| name.strip_prefix(&prefix).map(str::to_string)).collect()
}

/// The template that a revision keeps.
fn template(data: &Value) -> Option<PodTemplateSpec> {
    let mut template = data.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}
