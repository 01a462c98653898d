//! DaemonSets: one pod on each node that may have it.
//!
//! `nodes` says which nodes those are, `plan` what to create and delete, `common::revisions` keeps the history of templates.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use client::events::Recorder;
use client::informer::{Change, Informer};
use client::queue::{Outcome, WorkQueue};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::Selector;
use serde_json::json;

use crate::Shared;
use crate::common::creation::Creation;
use crate::common::error::{Error, doing};
use crate::common::expectations::{EXPIRES_AFTER, Expectations};
use crate::common::key::Key;
use crate::common::owners::{self, ByController, by_controller, controller_of, controller_reference};
use crate::common::revisions::{self, HASH_LABEL};
use crate::common::{pods, ready};

mod nodes;
mod plan;
#[cfg(test)]
mod tests;

use plan::{Observed, Plan, plan};

/// DaemonSets that are worked on at once.
const WORKERS: usize = 2;
/// Pods that one look may create or delete.
const BURST: usize = 250;
const COMPONENT: &str = "daemonset-controller";

struct Controller {
    client: kube::Client,
    daemons: Informer<DaemonSet>,
    nodes: Informer<Node>,
    pods: ByController<Pod>,
    revisions: ByController<ControllerRevision>,
    expectations: Expectations,
    recorder: Recorder,
}

/// Keeps a pod of each DaemonSet on each node until shutdown.
///
/// # Errors
/// None; failures are retried.
pub async fn run(shared: Shared) -> Result<(), Error> {
    let context = &shared.context;
    let queue = WorkQueue::new(COMPONENT);
    let daemons = context.informers.all::<DaemonSet>();
    let (all_nodes, all_pods) = (context.informers.all::<Node>(), context.informers.all::<Pod>());
    let all_revisions = context.informers.all::<ControllerRevision>();
    let controller = Arc::new(Controller {
        client: context.client.clone(),
        daemons: daemons.clone(),
        nodes: all_nodes.clone(),
        pods: by_controller(&all_pods),
        revisions: by_controller(&all_revisions),
        expectations: Expectations::default(),
        recorder: Recorder::new(context.client.clone(), COMPONENT, ""),
    });
    let enqueue = queue.clone();
    daemons.on_change(move |change| enqueue.add(Key::of(&change.object().metadata)));
    let (enqueue, known) = (queue.clone(), daemons.clone());
    all_nodes.on_change(move |change| {
        if !matches!(change, Change::Updated(old, new) if nodes::same(old, new)) {
            known.list(None).iter().for_each(|daemon| enqueue.add(Key::of(&daemon.metadata)));
        }
    });
    let (enqueue, expectations, known) = (queue.clone(), controller.expectations.clone(), daemons.clone());
    all_pods.on_change(move |change| pod_changed(change, &known, &expectations, &enqueue));
    let synced = async {
        tokio::join!(daemons.synced(), all_nodes.synced(), all_pods.synced(), all_revisions.synced());
    };
    if !ready(context, synced).await {
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

fn pod_changed(
    change: &Change<Pod>,
    daemons: &Informer<DaemonSet>,
    expectations: &Expectations,
    queue: &WorkQueue<Key>,
) {
    let pod = change.object();
    let namespace = pod.namespace().unwrap_or_default();
    match controller_of(&pod.metadata) {
        Some(owner) if owner.kind == "DaemonSet" => {
            let key = Key::new(&namespace, &owner.name);
            match change {
                Change::Added(_) if !pods::is_terminating(pod) => expectations.created(&key),
                Change::Deleted(_) => expectations.deleted(&key, owners::uid(&pod.metadata)),
                _ if pods::is_terminating(pod) => expectations.deleted(&key, owners::uid(&pod.metadata)),
                _ => {}
            }
            queue.add(key);
        }
        Some(_) => {}
        None if matches!(change, Change::Added(_)) => {
            daemons.list(Some(&namespace)).iter().for_each(|daemon| queue.add(Key::of(&daemon.metadata)));
        }
        None => {}
    }
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(daemon) = self.daemons.get(&key.namespace, &key.name) else {
            self.expectations.forget(key);
            return Ok(Outcome::Done);
        };
        let spec = &daemon.spec;
        let Ok(selector) = Selector::try_from(spec.selector.clone()) else { return Ok(Outcome::Done) };
        if selector.selects_all() || daemon.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        let may_act = self.expectations.met(key);
        let candidates = self.pods.candidates(&key.namespace, owners::uid(&daemon.metadata));
        let mut claims = owners::claim(&daemon.metadata, &selector, candidates);
        owners::settle(&self.client, daemon.as_ref(), &claims).await?;
        claims.owned.append(&mut claims.adopt);
        let revisions = self.revisions.candidates(&key.namespace, owners::uid(&daemon.metadata));
        let mut revisions = revisions::claim(&self.client, daemon.as_ref(), &selector, revisions).await?;
        let in_use: Vec<String> = claims.owned.iter().filter_map(|pod| pod.labels().get(HASH_LABEL).cloned()).collect();
        let history = revisions::plan(daemon.as_ref(), &mut revisions, &in_use);
        let Some(hash) = revisions::record(&self.client, daemon.as_ref(), key, history).await? else {
            return Ok(Outcome::After(Duration::from_millis(100)));
        };
        let all = self.nodes.list(None);
        let now = Timestamp::now();
        let planned = plan(&Observed { daemon: &daemon, nodes: &all, pods: &claims.owned, hash: &hash, now });
        let mut failed = None;
        if may_act {
            failed = self.carry_out(&daemon, key, &planned, &hash).await.err();
        }
        self.write_status(&daemon, key, &planned).await?;
        match failed {
            Some(error) => Err(error),
            // Should what is expected never be seen, the set is looked at again all the same.
            None if !may_act => Ok(Outcome::After(EXPIRES_AFTER)),
            None => Ok(planned.again_at.map_or(Outcome::Done, |at| {
                Outcome::After(Duration::try_from(at.duration_since(now)).unwrap_or_default())
            })),
        }
    }

    async fn carry_out(&self, daemon: &Arc<DaemonSet>, key: &Key, plan: &Plan, hash: &str) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let create = &plan.create[..plan.create.len().min(BURST)];
        let delete = &plan.delete[..plan.delete.len().min(BURST)];
        if create.is_empty() && delete.is_empty() {
            return Ok(());
        }
        let uids = delete.iter().map(|pod| owners::uid(&pod.metadata).to_string());
        self.expectations.expect(key, create.len(), uids);
        let deleted = join_all(delete.iter().map(|pod| self.delete(&api, daemon, key, pod))).await;
        let created = self.create(&api, daemon, key, create, hash).await;
        deleted.into_iter().chain([created]).collect()
    }

    /// Creates pods of the newest template.
    async fn create(
        &self,
        api: &Api<Pod>,
        daemon: &Arc<DaemonSet>,
        key: &Key,
        nodes: &[String],
        hash: &str,
    ) -> Result<(), Error> {
        let spec = &daemon.spec;
        let mut template = pods::from_template(
            &spec.template,
            format!("{}-", key.name),
            &key.namespace,
            controller_reference(daemon.as_ref()),
        );
        template.labels_mut().insert(HASH_LABEL.to_string(), hash.to_string());
        let (recorder, expectations) = (&self.recorder, &self.expectations);
        let creation = Creation { api, owner: daemon.as_ref(), key, recorder, expectations };
        creation.run(nodes, |node| nodes::pod_for(&template, node)).await
    }

    async fn delete(&self, api: &Api<Pod>, daemon: &Arc<DaemonSet>, key: &Key, pod: &Pod) -> Result<(), Error> {
        let name = pod.name_any();
        let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
        match api.delete(&name, &DeleteParams::default().preconditions(preconditions)).await {
            Ok(_) => {
                self.recorder.normal(daemon.as_ref(), "SuccessfulDelete", &format!("Deleted pod: {name}"));
                Ok(())
            }
            Err(error) => {
                self.expectations.deleted(key, owners::uid(&pod.metadata));
                if client::is_not_found(&error) || client::is_conflict(&error) {
                    return Ok(());
                }
                Err(doing(format!("delete pod {}/{name}", key.namespace))(error))
            }
        }
    }

    async fn write_status(&self, daemon: &Arc<DaemonSet>, key: &Key, plan: &Plan) -> Result<(), Error> {
        let mut status = plan.status.clone();
        status.collision_count = daemon.status.as_ref().and_then(|old| old.collision_count);
        status.conditions = daemon.status.as_ref().and_then(|old| old.conditions.clone());
        if daemon.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut fields = json!(status);
        for count in ["numberAvailable", "numberUnavailable", "updatedNumberScheduled"] {
            if fields.get(count).is_none() {
                fields[count] = serde_json::Value::Null;
            }
        }
        let api: Api<DaemonSet> = Api::namespaced(self.client.clone(), &key.namespace);
        let patch = Patch::Merge(json!({"metadata": {"uid": daemon.metadata.uid}, "status": fields}));
        match api.patch_status(&key.name, &PatchParams::default(), &patch).await {
            Err(error) if !client::is_not_found(&error) => {
                Err(doing(format!("write the status of DaemonSet {key}"))(error))
            }
            _ => Ok(()),
        }
    }
}

/// Pods by the node they are on, or are meant for.
fn by_node(pods: &[Arc<Pod>]) -> HashMap<String, Vec<Arc<Pod>>> {
    let mut on: HashMap<String, Vec<Arc<Pod>>> = HashMap::new();
    for pod in pods {
        if let Some(node) = nodes::target(pod) {
            on.entry(node).or_default().push(pod.clone());
        }
    }
    on
}

/// Nodes by name.
fn by_name(nodes: &[Arc<Node>]) -> BTreeMap<String, Arc<Node>> {
    nodes.iter().map(|node| (node.name_any(), node.clone())).collect()
}
