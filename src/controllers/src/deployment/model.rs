//! A deployment and its ReplicaSets as the plan sees them.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;

use crate::common::intstr::{percent, scaled};

pub const HASH_LABEL: &str = "pod-template-hash";
pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAX: &str = "deployment.kubernetes.io/max-replicas";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const DEPRECATED_ROLLBACK: &str = "deprecated.deployment.rollback.to";

/// The numbers of a roll-out.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    pub replicas: i32,
    pub max_surge: i32,
    pub max_unavailable: i32,
    pub recreate: bool,
}

impl Goal {
    pub fn of(spec: &DeploymentSpec) -> Self {
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.strategy.clone().unwrap_or_default();
        if strategy.type_.as_deref() == Some("Recreate") {
            return Self { replicas, max_surge: 0, max_unavailable: 0, recreate: true };
        }
        let rolling = strategy.rolling_update.unwrap_or_default();
        let max_surge = scaled(rolling.max_surge.as_ref(), &percent(25), replicas, true);
        let mut max_unavailable = scaled(rolling.max_unavailable.as_ref(), &percent(25), replicas, false);
        if max_surge == 0 && max_unavailable == 0 {
            // Both may round to nothing; then nothing could ever move.
            max_unavailable = 1;
        }
        Self { replicas, max_surge, max_unavailable: max_unavailable.min(replicas.max(0)), recreate: false }
    }

    /// The most pods that there may be.
    pub fn most(self) -> i32 {
        if self.recreate { self.replicas } else { self.replicas.saturating_add(self.max_surge) }
    }
}

/// How many pods these are together, up to as many as can be counted: each set may ask for that many.
pub fn sum(counts: impl Iterator<Item = i32>) -> i32 {
    counts.fold(0, i32::saturating_add)
}

/// A ReplicaSet's numbers; the plan moves `replicas`.
#[derive(Debug, Clone)]
pub struct Member {
    pub set: std::sync::Arc<ReplicaSet>,
    /// As wanted after the steps planned so far.
    pub replicas: i32,
    pub available: i32,
    /// `status.replicas`.
    pub existing: i32,
}

impl Member {
    pub fn new(set: &std::sync::Arc<ReplicaSet>) -> Self {
        let status = set.status.clone().unwrap_or_default();
        Self {
            set: set.clone(),
            replicas: set_replicas(set),
            available: status.available_replicas.unwrap_or(0),
            existing: status.replicas,
        }
    }

    pub fn name(&self) -> String {
        self.set.name_any()
    }

    pub fn annotated(&self, name: &str) -> Option<i32> {
        self.set.annotations().get(name)?.parse().ok()
    }

    /// Younger sets sort last; equal ages by name.
    pub fn age_key(&self) -> (Option<jiff::Timestamp>, String) {
        (self.set.metadata.creation_timestamp.as_ref().map(|time| time.0), self.name())
    }
}

pub fn set_replicas(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

/// Whether the set was made from this template: the same but for the hash label.
pub fn same_template(template: &PodTemplateSpec, set: &ReplicaSet) -> bool {
    let Some(theirs) = set.spec.template.as_ref() else { return false };
    let without_hash = |template: &PodTemplateSpec| {
        let mut template = template.clone();
        let metadata = template.metadata.get_or_insert_default();
        if let Some(labels) = &mut metadata.labels {
            labels.remove(HASH_LABEL);
        }
        metadata.labels = metadata.labels.take().filter(|labels| !labels.is_empty());
        metadata.annotations = metadata.annotations.take().filter(|annotations| !annotations.is_empty());
        metadata.creation_timestamp = None;
        template
    };
    without_hash(template) == without_hash(theirs)
}

/// The revision in an annotation; 0 where there is none.
pub fn revision(annotations: &BTreeMap<String, String>) -> i64 {
    annotations.get(REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

/// The deployment's annotations that its sets carry too.
pub fn inherited(deployment: &Deployment) -> BTreeMap<String, String> {
    let own = [LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED, MAX, DEPRECATED_ROLLBACK];
    let annotations = deployment.annotations().iter();
    annotations.filter(|(name, _)| !own.contains(&name.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
}
