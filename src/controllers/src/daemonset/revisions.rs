//! The history of a DaemonSet's templates as ControllerRevisions, which `kubectl rollout` reads.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::HASH_LABEL;
use crate::common::hash::hash_of;
use crate::common::owners::controller_reference;

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
fn data(daemon: &DaemonSet) -> Value {
    let mut template = json!(daemon.spec.template);
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

/// Compares the template with the history. Revisions in `in_use` are kept.
pub fn plan(daemon: &DaemonSet, revisions: &mut [Arc<ControllerRevision>], in_use: &[String]) -> Plan {
    revisions.sort_by_key(|revision| (revision.revision, revision.name_any()));
    let data = data(daemon);
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
            let collisions = daemon.status.as_ref().and_then(|status| status.collision_count);
            plan.hash = hash_of(&data, collisions);
            plan.create = Some(Box::new(revision(daemon, &plan.hash, newest + 1, data)));
        }
    }
    let limit = daemon.spec.revision_history_limit.unwrap_or(10);
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

fn revision(daemon: &DaemonSet, hash: &str, number: i64, data: Value) -> ControllerRevision {
    let template = daemon.spec.template.metadata.as_ref();
    let mut labels = template.and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    labels.insert(HASH_LABEL.to_string(), hash.to_string());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", daemon.name_any())),
            namespace: daemon.namespace(),
            labels: Some(labels),
            annotations: daemon.metadata.annotations.clone(),
            owner_references: Some(vec![controller_reference(daemon)]),
            ..ObjectMeta::default()
        },
        data: RawExtension(data),
        revision: Some(number),
    }
}
