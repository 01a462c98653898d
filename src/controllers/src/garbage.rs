//! Deletes what nobody owns any more, and carries out foreground and orphaning deletions.
//!
//! `graph` knows who owns what of every resource that can be watched; `plan` decides for one object from what is
//! read live, so that a graph that is behind never deletes anything; this file follows discovery and carries out.
//!
//! What an object's dependents are, the graph alone knows: an owner is let go only when every resource that is
//! followed has been listed, or its orphans would be taken for garbage and its last dependents for gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::discovery::{Discovered, ServerResource, discover};
use client::informer::{Change, Informer, Informers, Metadata};
use client::queue::{Outcome, WorkQueue};
use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::Request;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::Shared;
use crate::common::error::{Error, doing};

mod graph;
mod plan;
#[cfg(test)]
mod tests;

use graph::{Graph, Identity};
use plan::{FOREGROUND, ORPHAN, OwnerState, Verdict};

const WORKERS: usize = 8;
/// Resources that own nothing and are owned by nothing, or come and go too often to be followed.
const IGNORED: [(&str, &str); 2] = [("", "events"), ("events.k8s.io", "events")];

/// Work begins when everything has been listed, or after this: one resource that cannot be listed keeps only those
/// waiting whose dependents it may hold.
const FIRST_LISTS: Duration = Duration::from_secs(30);
/// How soon an owner is looked at again whose dependents are not all known.
const LIST_PERIOD: Duration = Duration::from_secs(5);

/// What is told to the workers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Task {
    /// Is this object still owned?
    Look(String),
    /// Cut the dependents of this object loose.
    Orphan(String),
}

/// Resources by apiVersion and kind.
type Kinds = HashMap<(String, String), Arc<ServerResource>>;

/// An object that is read live, when something is to be done about it.
#[derive(Deserialize)]
struct Live {
    metadata: ObjectMeta,
}

struct Collector {
    client: kube::Client,
    graph: Mutex<Graph>,
    kinds: Mutex<Kinds>,
    /// What the graph is made from.
    followed: Mutex<HashMap<ServerResource, Informer<Metadata>>>,
    /// Discovery has answered, and what it told of is followed.
    discovered: watch::Sender<bool>,
    queue: WorkQueue<Task>,
}

/// Collects until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let collector = Arc::new(Collector::new(context.client.clone()));
    let follow = follow_discovery(&shared, &collector);
    let worker = collector.clone();
    let work = async {
        collector.first_lists().await;
        let work = move |task| {
            let worker = worker.clone();
            async move { worker.work(task).await }
        };
        collector.queue.run_until(&context.shutdown, WORKERS, work).await;
    };
    tokio::select! {
        () = context.shutdown.cancelled() => Ok(()),
        () = follow => Ok(()),
        () = work => Ok(()),
    }
}

/// Watches every resource that discovery tells of, also those that come later.
async fn follow_discovery(shared: &Shared, collector: &Arc<Collector>) {
    let informers = &shared.context.informers;
    loop {
        match discover(&shared.context.client).await {
            Ok(discovered) => {
                let kinds = discovered.by_kind().into_iter();
                *collector.lock_kinds() = kinds.map(|(kind, resource)| (kind, Arc::new(resource))).collect();
                let wanted = followable(&discovered);
                collector.follow(informers, &wanted);
                // A group that did not answer is not gone.
                if discovered.failed.is_empty() {
                    collector.forget(informers, &wanted);
                }
                collector.discovered.send_replace(true);
            }
            Err(error) => tracing::warn!(error = stdx::error::chain(&error), "cannot discover resources; will retry"),
        }
        tokio::time::sleep(shared.config.discovery_period).await;
    }
}

fn followable(discovered: &Discovered) -> Vec<ServerResource> {
    let mut resources = discovered.preferred();
    resources.retain(|resource| {
        resource.can(&["list", "watch", "delete"])
            && !IGNORED.contains(&(resource.group.as_str(), resource.plural.as_str()))
    });
    resources
}

impl Collector {
    fn new(client: kube::Client) -> Self {
        Self {
            client,
            graph: Mutex::default(),
            kinds: Mutex::default(),
            followed: Mutex::default(),
            discovered: watch::Sender::new(false),
            queue: WorkQueue::new("garbage-collector"),
        }
    }

    /// Takes what the informers of these resources tell into the graph.
    fn follow(self: &Arc<Self>, informers: &Informers, wanted: &[ServerResource]) {
        for resource in wanted {
            if self.lock_followed().contains_key(resource) {
                continue;
            }
            let informer = informers.metadata(resource);
            let (sink, of) = (Arc::downgrade(self), Arc::new(resource.clone()));
            informer.on_change(move |change| {
                if let Some(collector) = sink.upgrade() {
                    collector.changed(&of, change);
                }
            });
            self.lock_followed().insert(resource.clone(), informer);
        }
    }

    /// Follows no longer what is not among these resources.
    fn forget(&self, informers: &Informers, wanted: &[ServerResource]) {
        self.lock_followed().retain(|resource, _| {
            let stays = wanted.contains(resource);
            if !stays {
                informers.forget_metadata(resource);
            }
            stays
        });
    }

    /// Waits until everything has been listed once, or long enough.
    async fn first_lists(&self) {
        let mut discovered = self.discovered.subscribe();
        // The sender lives in `self`.
        let _ = discovered.wait_for(|discovered| *discovered).await;
        let followed: Vec<Informer<Metadata>> = self.lock_followed().values().cloned().collect();
        let all = join_all(followed.iter().map(Informer::synced));
        if tokio::time::timeout(FIRST_LISTS, all).await.is_err() {
            tracing::warn!(unlisted = self.unlisted(), "not everything can be listed; going on without");
        }
    }

    /// A resource that may have dependents which the graph does not know yet.
    fn unlisted(&self) -> Option<String> {
        let followed = self.lock_followed();
        followed.iter().find(|(_, informer)| !informer.is_synced()).map(|(resource, _)| resource.list_path())
    }

    /// Whether an owner must wait because its dependents may not all be known.
    fn must_wait(&self, owner: &Identity) -> bool {
        let unlisted = self.unlisted();
        if let Some(unlisted) = &unlisted {
            let (owner, kind) = (owner.full_name(), &owner.resource.plural);
            tracing::warn!(owner, kind, unlisted, "an owner waits until its dependents are known");
        }
        unlisted.is_some()
    }

    fn lock_followed(&self) -> MutexGuard<'_, HashMap<ServerResource, Informer<Metadata>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_kinds(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, resource: &Arc<ServerResource>, change: &Change<Metadata>) {
        let object = change.object();
        let uid = object.uid().to_string();
        if uid.is_empty() {
            return;
        }
        let mut graph = self.lock();
        if matches!(change, Change::Deleted(_)) {
            let (dependents, owners) = graph.remove(&uid);
            drop(graph);
            dependents.into_iter().for_each(|uid| self.queue.add(Task::Look(uid)));
            // An owner may have waited for this one.
            owners.into_iter().for_each(|uid| self.queue.add(Task::Look(uid)));
            return;
        }
        let freed = graph.set(resource, object);
        let unknown_owner = graph.has_unknown_owner(&uid);
        let deleting = object.is_being_deleted();
        let waiting_owner = graph.has_waiting_owner(&uid);
        drop(graph);
        if deleting && object.has_finalizer(ORPHAN) {
            self.queue.add(Task::Orphan(uid));
        } else if unknown_owner || waiting_owner || (deleting && object.has_finalizer(FOREGROUND)) {
            self.queue.add(Task::Look(uid));
        }
        freed.into_iter().for_each(|uid| self.queue.add(Task::Look(uid)));
    }

    async fn work(&self, task: Task) -> Result<Outcome, Error> {
        match task {
            Task::Look(uid) => self.look(&uid).await,
            Task::Orphan(uid) => self.orphan(&uid).await,
        }
    }

    async fn look(&self, uid: &str) -> Result<Outcome, Error> {
        let identity = {
            let graph = self.lock();
            // An owner that has come into view since settles it without a request.
            graph.is_in_question(uid).then(|| graph.identity(uid)).flatten()
        };
        let Some(identity) = identity else { return Ok(Outcome::Done) };
        let Some(live) = self.read(&identity).await?.filter(|live| live.uid.as_deref() == Some(uid)) else {
            return Ok(Outcome::Done);
        };
        let deleting = live.deletion_timestamp.is_some();
        let has = |finalizer: &str| live.finalizers.iter().flatten().any(|f| f == finalizer);
        if deleting && has(FOREGROUND) {
            return self.delete_dependents(&identity, &live).await;
        }
        let owners = live.owner_references.clone().unwrap_or_default();
        if deleting || owners.is_empty() {
            return Ok(Outcome::Done);
        }
        let states = join_all(owners.iter().map(|owner| self.owner_state(&identity, owner))).await;
        let states = states.into_iter().collect::<Result<Vec<OwnerState>, Error>>()?;
        let has_dependents = !self.lock().dependents(uid).is_empty();
        match plan::verdict(&live, &states, has_dependents) {
            Verdict::Keep => Ok(Outcome::Done),
            Verdict::Drop(kept) => self.set_owners(&identity, &live, &kept).await,
            Verdict::Delete(policy) => self.delete(&identity, &live, policy).await,
        }
    }

    /// Deletes an owner's dependents before the owner itself goes.
    async fn delete_dependents(&self, identity: &Identity, live: &ObjectMeta) -> Result<Outcome, Error> {
        let uid = live.uid.clone().unwrap_or_default();
        let (blocking, all, circle) = {
            let graph = self.lock();
            (graph.blocking_dependents(&uid), graph.dependents(&uid), graph.waits_for_itself(&uid))
        };
        if let Some(unblocking) = circle.then(|| plan::unblocking(live)).flatten() {
            // One that lets go is enough, and the others of the circle follow.
            return self.set_owners(identity, live, &unblocking).await;
        }
        if blocking.is_empty() {
            if self.must_wait(identity) {
                return Ok(Outcome::After(LIST_PERIOD));
            }
            return self.remove_finalizer(identity, live, FOREGROUND).await;
        }
        all.into_iter().for_each(|dependent| self.queue.add(Task::Look(dependent)));
        Ok(Outcome::Done)
    }

    async fn orphan(&self, uid: &str) -> Result<Outcome, Error> {
        let Some(identity) = self.lock().identity(uid) else { return Ok(Outcome::Done) };
        let Some(live) = self.read(&identity).await?.filter(|live| live.uid.as_deref() == Some(uid)) else {
            return Ok(Outcome::Done);
        };
        if self.must_wait(&identity) {
            return Ok(Outcome::After(LIST_PERIOD));
        }
        let dependents: Vec<Identity> = {
            let graph = self.lock();
            graph.dependents(uid).iter().filter_map(|dependent| graph.identity(dependent)).collect()
        };
        for dependent in dependents {
            let Some(metadata) = self.read(&dependent).await? else { continue };
            let mut owners = metadata.owner_references.clone().unwrap_or_default();
            owners.retain(|owner| owner.uid != uid);
            self.set_owners(&dependent, &metadata, &owners).await?;
        }
        self.remove_finalizer(&identity, &live, ORPHAN).await
    }

    async fn owner_state(&self, dependent: &Identity, owner: &OwnerReference) -> Result<OwnerState, Error> {
        let key = (owner.api_version.clone(), owner.kind.clone());
        let resource = self.lock_kinds().get(&key).cloned();
        let resource = resource.ok_or_else(|| Error::Object {
            object: format!("{} {}", dependent.resource.kind, dependent.full_name()),
            problem: format!("its owner is a {} of {}, which is not served", owner.kind, owner.api_version),
        })?;
        let namespace = if resource.namespaced { dependent.namespace.clone() } else { String::new() };
        if resource.namespaced && namespace.is_empty() {
            // A cluster-scoped object cannot be owned by one in a namespace.
            return Ok(OwnerState::Absent);
        }
        let identity = Identity { resource, namespace, name: owner.name.clone() };
        let live = self.read(&identity).await?.filter(|live| live.uid.as_deref() == Some(&owner.uid));
        Ok(match live {
            None => OwnerState::Absent,
            Some(live) => {
                let foreground = live.finalizers.iter().flatten().any(|finalizer| finalizer == FOREGROUND);
                if live.deletion_timestamp.is_some() && foreground { OwnerState::Waiting } else { OwnerState::Solid }
            }
        })
    }

    async fn read(&self, identity: &Identity) -> Result<Option<ObjectMeta>, Error> {
        let what = || format!("read {} {}", identity.resource.plural, identity.full_name());
        let request = Request::new(identity.collection())
            .get(&identity.name, &Default::default())
            .map_err(|error| doing(what())(kube::Error::BuildRequest(error)))?;
        match self.client.request::<Live>(request).await {
            Ok(object) => Ok(Some(object.metadata)),
            Err(error) if client::is_not_found(&error) => Ok(None),
            Err(error) => Err(doing(what())(error)),
        }
    }

    async fn patch(&self, identity: &Identity, patch: Value, what: &str) -> Result<Outcome, Error> {
        let what = || format!("{what} {} {}", identity.resource.plural, identity.full_name());
        let request = Request::new(identity.collection())
            .patch(&identity.name, &PatchParams::default(), &Patch::Merge(patch))
            .map_err(|error| doing(what())(kube::Error::BuildRequest(error)))?;
        match self.client.request::<Value>(request).await {
            Err(error) if !client::is_not_found(&error) => Err(doing(what())(error)),
            _ => Ok(Outcome::Done),
        }
    }

    async fn set_owners(
        &self,
        identity: &Identity,
        live: &ObjectMeta,
        owners: &[OwnerReference],
    ) -> Result<Outcome, Error> {
        let owners = if owners.is_empty() { Value::Null } else { json!(owners) };
        let patch = json!({"metadata": {"uid": live.uid, "resourceVersion": live.resource_version,
            "ownerReferences": owners}});
        self.patch(identity, patch, "take owners off").await
    }

    async fn remove_finalizer(&self, identity: &Identity, live: &ObjectMeta, gone: &str) -> Result<Outcome, Error> {
        let mut left = live.finalizers.clone().unwrap_or_default();
        left.retain(|finalizer| finalizer != gone);
        let left = if left.is_empty() { Value::Null } else { json!(left) };
        let patch =
            json!({"metadata": {"uid": live.uid, "resourceVersion": live.resource_version, "finalizers": left}});
        self.patch(identity, patch, "let go of").await
    }

    async fn delete(
        &self,
        identity: &Identity,
        live: &ObjectMeta,
        policy: PropagationPolicy,
    ) -> Result<Outcome, Error> {
        let what = || format!("delete {} {}", identity.resource.plural, identity.full_name());
        // Nothing may have changed since it was judged.
        let preconditions = Preconditions { uid: live.uid.clone(), resource_version: live.resource_version.clone() };
        let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
        let request = Request::new(identity.collection())
            .delete(&identity.name, &params.preconditions(preconditions))
            .map_err(|error| doing(what())(kube::Error::BuildRequest(error)))?;
        match self.client.request::<Value>(request).await {
            Err(error) if !client::is_not_found(&error) => Err(doing(what())(error)),
            _ => Ok(Outcome::Done),
        }
    }
}
