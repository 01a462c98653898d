//! ReplicaSets and ReplicationControllers: as many pods as asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::events::Recorder;
use client::informer::{Change, Informer, Object};
use client::queue::{Outcome, WorkQueue};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec, ReplicationController};
use kube::Resource;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Selector;
use serde_json::{Value, json};

use crate::Shared;
use crate::common::error::{Error, cause, doing};
use crate::common::expectations::{EXPIRES_AFTER, Expectations};
use crate::common::key::Key;
use crate::common::owners::{self, ByController, by_controller, controller_of, controller_reference};
use crate::common::{namespaces, pods, ready};

mod plan;
#[cfg(test)]
mod tests;

pub use plan::{Plan, Set, Status, plan};

/// Sets that are worked on at once.
const WORKERS: usize = 5;
/// Pods that one look at a set may create or delete.
const BURST: usize = 500;

/// A kind that is a number of equal pods.
pub trait Replicated: Object + Resource<Scope = NamespaceResourceScope> {
    /// The component name in events.
    const COMPONENT: &'static str;
    /// The part that decisions are made from; `None` for one that selects nothing.
    fn set(&self) -> Option<Set>;
    /// What pods are made from.
    fn template(&self) -> PodTemplateSpec;
    /// The status as it is.
    fn status(&self) -> Status;
}

fn failure<'a>(mut conditions: impl Iterator<Item = (&'a str, &'a str, Option<&'a str>)>) -> Option<String> {
    conditions.find(|(type_, status, _)| *type_ == "ReplicaFailure" && *status == "True")?.2.map(str::to_string)
}

impl Replicated for ReplicaSet {
    const COMPONENT: &'static str = "replicaset-controller";

    fn set(&self) -> Option<Set> {
        let spec = &self.spec;
        let selector = Selector::try_from(spec.selector.clone()).ok()?;
        (!selector.selects_all()).then(|| Set {
            metadata: self.metadata.clone(),
            selector,
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            template_labels: labels(&self.template()),
        })
    }

    fn template(&self) -> PodTemplateSpec {
        self.spec.template.clone().unwrap_or_default()
    }

    fn status(&self) -> Status {
        let status = self.status.clone().unwrap_or_default();
        let conditions = status.conditions.iter().flatten();
        Status {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            observed_generation: status.observed_generation.unwrap_or(0),
            failure: failure(
                conditions.map(|c| {
                    (c.type_.as_deref().unwrap_or(""), c.status.as_deref().unwrap_or(""), c.message.as_deref())
                }),
            ),
        }
    }
}

impl Replicated for ReplicationController {
    const COMPONENT: &'static str = "replication-controller";

    fn set(&self) -> Option<Set> {
        let spec = self.spec.as_ref()?;
        let selector: Selector = spec.selector.clone()?.into_iter().collect();
        (!selector.selects_all()).then(|| Set {
            metadata: self.metadata.clone(),
            selector,
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            template_labels: labels(&self.template()),
        })
    }

    fn template(&self) -> PodTemplateSpec {
        self.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default()
    }

    fn status(&self) -> Status {
        let status = self.status.clone().unwrap_or_default();
        let conditions = status.conditions.iter().flatten();
        Status {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            observed_generation: status.observed_generation.unwrap_or(0),
            failure: failure(conditions.map(|c| (c.type_.as_str(), c.status.as_str(), c.message.as_deref()))),
        }
    }
}

fn labels(template: &PodTemplateSpec) -> BTreeMap<String, String> {
    template.metadata.as_ref().and_then(|metadata| metadata.labels.clone()).unwrap_or_default()
}

struct Controller<K> {
    client: kube::Client,
    sets: Informer<K>,
    pods: ByController<Pod>,
    expectations: Expectations,
    recorder: Recorder,
}

/// Keeps every set of this kind at its number until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run<K: Replicated>(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::new(K::COMPONENT);
    let (sets, all_pods) = (context.informers.all::<K>(), context.informers.all::<Pod>());
    let controller = Arc::new(Controller {
        client: context.client.clone(),
        pods: by_controller(&all_pods),
        sets: sets.clone(),
        expectations: Expectations::default(),
        recorder: Recorder::new(context.client.clone(), K::COMPONENT, ""),
    });
    let enqueue = queue.clone();
    sets.on_change(move |change| enqueue.add(Key::of(change.object().meta())));
    let (enqueue, expectations, known) = (queue.clone(), controller.expectations.clone(), sets.clone());
    all_pods.on_change(move |change| pod_changed(change, &known, &expectations, &enqueue));
    if !ready(context, async { tokio::join!(sets.synced(), all_pods.synced()) }).await {
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

fn pod_changed<K: Replicated>(
    change: &Change<Pod>,
    sets: &Informer<K>,
    expectations: &Expectations,
    queue: &WorkQueue<Key>,
) {
    let pod = change.object();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let owner_key = |pod: &Pod| {
        let owner = controller_of(&pod.metadata).filter(|owner| owner.kind == K::kind(&()))?;
        Some(Key::new(namespace, &owner.name))
    };
    let key = owner_key(pod);
    if let Some(key) = &key {
        match change {
            Change::Added(_) if !pods::is_terminating(pod) => expectations.created(key),
            Change::Deleted(_) => expectations.deleted(key, owners::uid(&pod.metadata)),
            // A pod that is leaving is out of the count already.
            _ if pods::is_terminating(pod) => expectations.deleted(key, owners::uid(&pod.metadata)),
            _ => {}
        }
        queue.add(key.clone());
    }
    if let Change::Updated(old, _) = change
        && let Some(old) = owner_key(old)
        && Some(&old) != key.as_ref()
    {
        queue.add(old);
    }
    if key.is_none() && controller_of(&pod.metadata).is_none() && !matches!(change, Change::Deleted(_)) {
        let relabelled = !matches!(change, Change::Updated(old, new) if old.metadata.labels == new.metadata.labels
            && old.metadata.owner_references == new.metadata.owner_references);
        if relabelled {
            for set in sets.list(Some(namespace)) {
                queue.add(Key::of(set.meta()));
            }
        }
    }
}

impl<K: Replicated> Controller<K> {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(object) = self.sets.get(&key.namespace, &key.name) else {
            self.expectations.forget(key);
            return Ok(Outcome::Done);
        };
        let Some(set) = object.set() else { return Ok(Outcome::Done) };
        let may_act = self.expectations.met(key);
        let candidates = self.pods.candidates(&key.namespace, owners::uid(object.meta()));
        let mut claims = owners::claim(object.meta(), &set.selector, candidates);
        claims.owned.retain(|pod| !pods::is_terminal(pod));
        claims.adopt.retain(|pod| pods::is_active(pod));
        owners::settle(&self.client, object.as_ref(), &claims).await?;
        claims.owned.append(&mut claims.adopt);
        let now = Timestamp::now();
        let plan = plan(&set, &claims.owned, now);
        let mut status = plan.status.clone();
        let mut failed = None;
        if may_act && set.metadata.deletion_timestamp.is_none() {
            failed = self.carry_out(&object, key, &plan).await.err();
            status.failure = lasting(object.status().failure, failed.as_ref().map(cause));
        } else {
            status.failure = object.status().failure;
        }
        self.write_status(&object, key, &status, now).await?;
        match failed {
            Some(error) => Err(error),
            // Should what is expected never be seen, the set is looked at again all the same.
            None if !may_act => Ok(Outcome::After(EXPIRES_AFTER)),
            None => Ok(plan.again_at.map_or(Outcome::Done, |at| {
                Outcome::After(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::from_secs(1)))
            })),
        }
    }

    async fn carry_out(&self, object: &Arc<K>, key: &Key, plan: &Plan) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let create = plan.create.min(BURST);
        let delete = &plan.delete[..plan.delete.len().min(BURST)];
        if create > 0 {
            self.expectations.expect(key, create, []);
            self.create(&api, object, key, create).await?;
        } else if !delete.is_empty() {
            self.expectations.expect(key, 0, delete.iter().map(|pod| owners::uid(&pod.metadata).to_string()));
            let deletions = join_all(delete.iter().map(|pod| self.delete(&api, object, key, pod))).await;
            deletions.into_iter().collect::<Result<(), Error>>()?;
        }
        Ok(())
    }

    /// Creates pods in batches that double, so that a request that is refused is not made five hundred times.
    async fn create(&self, api: &Api<Pod>, object: &Arc<K>, key: &Key, count: usize) -> Result<(), Error> {
        let pod = pods::from_template(
            &object.template(),
            format!("{}-", key.name),
            &key.namespace,
            controller_reference(object.as_ref()),
        );
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            batch = left.min(batch);
            let params = PostParams::default();
            let created = join_all((0..batch).map(|_| api.create(&params, &pod))).await;
            left -= batch;
            let mut refused = None;
            for result in created {
                match result {
                    Ok(pod) => {
                        let message = format!("Created pod: {}", pod.metadata.name.unwrap_or_default());
                        self.recorder.normal(object.as_ref(), "SuccessfulCreate", &message);
                    }
                    Err(error) => {
                        self.expectations.created(key);
                        refused = Some(error);
                    }
                }
            }
            if let Some(error) = refused {
                self.expectations.creations_less(key, left);
                if namespaces::goes_away(&error) {
                    return Ok(());
                }
                let error = doing(format!("create a pod of {} {key}", K::kind(&())))(error);
                self.recorder.warning(object.as_ref(), "FailedCreate", &format!("Error creating: {}", cause(&error)));
                return Err(error);
            }
            batch *= 2;
        }
        Ok(())
    }

    async fn delete(&self, api: &Api<Pod>, object: &Arc<K>, key: &Key, pod: &Pod) -> Result<(), Error> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let uid = pod.metadata.uid.clone();
        let params = DeleteParams::default().preconditions(Preconditions { uid, resource_version: None });
        match api.delete(name, &params).await {
            Ok(_) => {
                self.recorder.normal(object.as_ref(), "SuccessfulDelete", &format!("Deleted pod: {name}"));
                Ok(())
            }
            Err(error) => {
                self.expectations.deleted(key, owners::uid(&pod.metadata));
                if client::is_not_found(&error) || client::is_conflict(&error) {
                    return Ok(());
                }
                let error = doing(format!("delete pod {}/{name}", key.namespace))(error);
                self.recorder.warning(object.as_ref(), "FailedDelete", &format!("Error deleting: {}", cause(&error)));
                Err(error)
            }
        }
    }

    async fn write_status(&self, object: &Arc<K>, key: &Key, status: &Status, now: Timestamp) -> Result<(), Error> {
        let old = object.status();
        if old == *status {
            return Ok(());
        }
        let mut patch = json!({"replicas": status.replicas, "fullyLabeledReplicas": status.fully_labeled,
            "readyReplicas": status.ready, "availableReplicas": status.available,
            "observedGeneration": status.observed_generation});
        if old.failure != status.failure {
            patch["conditions"] = match &status.failure {
                Some(message) => json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                    "message": message, "lastTransitionTime": machinery::meta::format_time(now)}]),
                None => Value::Null,
            };
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        let patch = Patch::Merge(json!({"metadata": {"uid": object.meta().uid}, "status": patch}));
        match api.patch_status(&key.name, &PatchParams::default(), &patch).await {
            Err(error) if !client::is_not_found(&error) => {
                Err(doing(format!("write the status of {} {key}", K::kind(&())))(error))
            }
            _ => Ok(()),
        }
    }
}

/// The message of ReplicaFailure. It stays as it was first for as long as pods fail: later refusals name other pods,
/// and each would be a write of its own that wakes the controller again.
fn lasting(old: Option<String>, failed: Option<String>) -> Option<String> {
    failed.map(|message| old.unwrap_or(message))
}
