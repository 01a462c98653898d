//! The history of a workload's templates as ControllerRevisions, which `kubectl rollout` reads: of DaemonSets and
//! StatefulSets.

use std::sync::Arc;

use client::informer::Object;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::Selector;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::error::{Error, doing};
use super::hash::hash_of;
use super::key::Key;
use super::namespaces;
use super::owners::{self, controller_reference};

/// The label of a revision with its hash, and of pods with what they were made from.
pub const HASH_LABEL: &str = "controller-revision-hash";

/// A kind whose templates are remembered.
pub trait Versioned: Object + Resource<Scope = NamespaceResourceScope> {
    /// The present template.
    fn template(&self) -> &PodTemplateSpec;
    /// How often a hash was another template's.
    fn collisions(&self) -> Option<i32>;
    /// How many former templates are kept; ten where it does not say.
    fn history_limit(&self) -> Option<i32>;
}

impl Versioned for DaemonSet {
    fn template(&self) -> &PodTemplateSpec {
        &self.spec.template
    }

    fn collisions(&self) -> Option<i32> {
        self.status.as_ref().and_then(|status| status.collision_count)
    }

    fn history_limit(&self) -> Option<i32> {
        self.spec.revision_history_limit
    }
}

impl Versioned for StatefulSet {
    fn template(&self) -> &PodTemplateSpec {
        &self.spec.template
    }

    fn collisions(&self) -> Option<i32> {
        self.status.as_ref().and_then(|status| status.collision_count)
    }

    fn history_limit(&self) -> Option<i32> {
        self.spec.revision_history_limit
    }
}

/// What to do with the history.
#[derive(Debug, Default)]
pub struct Plan {
    /// The hash of the present template.
    pub hash: String,
    pub create: Option<Box<ControllerRevision>>,
    /// An earlier template is used again: its name and its new number.
    pub renumber: Option<(String, i64)>,
    /// Beyond the limit.
    pub delete: Vec<String>,
}

/// The patch that brings the template back; the form that kubectl expects.
fn data(owner: &impl Versioned) -> Value {
    let mut template = json!(owner.template());
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

/// Compares the template with the history. Revisions in `in_use` are kept.
pub fn plan<K: Versioned>(owner: &K, revisions: &mut [Arc<ControllerRevision>], in_use: &[String]) -> Plan {
    revisions.sort_by_key(|revision| (revision.revision, revision.name_any()));
    let data = data(owner);
    let newest = revisions.last().and_then(|revision| revision.revision).unwrap_or(0);
    let mut plan = Plan::default();
    // The newest of equals counts.
    let current = revisions.iter().rev().find(|revision| revision.data.0 == data);
    match current {
        Some(current) => {
            plan.hash = current.labels().get(HASH_LABEL).cloned().unwrap_or_default();
            if current.revision.unwrap_or(0) < newest {
                plan.renumber = Some((current.name_any(), newest + 1));
            }
        }
        None => {
            plan.hash = hash_of(&data, owner.collisions());
            plan.create = Some(Box::new(revision(owner, &plan.hash, newest + 1, data)));
        }
    }
    let limit = owner.history_limit().unwrap_or(10);
    let old: Vec<&Arc<ControllerRevision>> = revisions
        .iter()
        .filter(|revision| {
            let hash = revision.labels().get(HASH_LABEL);
            hash != Some(&plan.hash) && !hash.is_some_and(|hash| in_use.contains(hash))
        })
        .collect();
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    plan.delete = old[..surplus].iter().map(|revision| revision.name_any()).collect();
    plan
}

fn revision<K: Versioned>(owner: &K, hash: &str, number: i64, data: Value) -> ControllerRevision {
    let template = owner.template().metadata.as_ref();
    let mut labels = template.and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    labels.insert(HASH_LABEL.to_string(), hash.to_string());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", owner.name_any())),
            namespace: owner.namespace(),
            labels: Some(labels),
            annotations: owner.meta().annotations.clone(),
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        data: RawExtension(data),
        revision: Some(number),
    }
}

/// The owner's revisions among the candidates; those that nobody has become its own, as those of a former owner of the
/// same name are.
///
/// # Errors
/// A request that fails.
pub async fn claim<K: Versioned>(
    client: &kube::Client,
    owner: &K,
    selector: &Selector,
    candidates: Vec<Arc<ControllerRevision>>,
) -> Result<Vec<Arc<ControllerRevision>>, Error> {
    let mut claims = owners::claim(owner.meta(), selector, candidates);
    // A revision is its owner's for as long as there is one.
    claims.release.clear();
    owners::settle(client, owner, &claims).await?;
    claims.owned.append(&mut claims.adopt);
    Ok(claims.owned)
}

/// Writes the history down; the hash that new pods carry, or `None` where its name was another template's and the
/// owner is to be looked at again.
///
/// # Errors
/// A request that fails.
pub async fn record<K: Versioned>(
    client: &kube::Client,
    owner: &K,
    key: &Key,
    history: Plan,
) -> Result<Option<String>, Error> {
    let api: Api<ControllerRevision> = Api::namespaced(client.clone(), &key.namespace);
    for name in &history.delete {
        match api.delete(name, &DeleteParams::default()).await {
            Err(error) if !client::is_not_found(&error) => {
                return Err(doing(format!("delete ControllerRevision {}/{name}", key.namespace))(error));
            }
            _ => {}
        }
    }
    if let Some((name, revision)) = &history.renumber {
        let patch = Patch::Merge(json!({"revision": revision}));
        let done = api.patch(name, &PatchParams::default(), &patch).await;
        done.map_err(doing(format!("change ControllerRevision {}/{name}", key.namespace)))?;
    }
    let Some(new) = history.create else { return Ok(Some(history.hash)) };
    match api.create(&PostParams::default(), &new).await {
        Ok(_) => Ok(Some(history.hash)),
        Err(error) if client::is_already_exists(&error) => {
            let name = new.name_any();
            let what = format!("read ControllerRevision {}/{name}", key.namespace);
            let there = api.get(&name).await.map_err(doing(what))?;
            if there.data == new.data {
                return Ok(Some(history.hash));
            }
            let count = owner.collisions().unwrap_or(0).saturating_add(1);
            let patch = Patch::Merge(json!({"status": {"collisionCount": count}}));
            let owners: Api<K> = Api::namespaced(client.clone(), &key.namespace);
            let done = owners.patch_status(&key.name, &PatchParams::default(), &patch).await;
            done.map_err(doing(format!("count a collision of {} {key}", K::kind(&()))))?;
            Ok(None)
        }
        Err(error) if namespaces::goes_away(&error) => Ok(Some(history.hash)),
        Err(error) => Err(doing(format!("create a ControllerRevision of {} {key}", K::kind(&())))(error)),
    }
}
