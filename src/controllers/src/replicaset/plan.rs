//! How many pods to create, which to delete, and what the status says: pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Selector;

use crate::common::pods;

/// A set as decisions see it.
#[derive(Debug, Clone)]
pub struct Set {
    pub metadata: ObjectMeta,
    pub selector: Selector,
    pub replicas: i32,
    pub min_ready_seconds: i32,
    pub template_labels: BTreeMap<String, String>,
}

/// What a set's status says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    pub replicas: i32,
    pub fully_labeled: i32,
    pub ready: i32,
    pub available: i32,
    pub observed_generation: i64,
    /// Why pods cannot be created or deleted.
    pub failure: Option<String>,
}

/// What to do for a set.
#[derive(Debug)]
pub struct Plan {
    pub create: usize,
    pub delete: Vec<Arc<Pod>>,
    pub status: Status,
    /// When a pod becomes available by being ready for long enough.
    pub again_at: Option<Timestamp>,
}

/// Compares a set with its pods, those that leave among them.
pub fn plan(set: &Set, owned: &[Arc<Pod>], now: Timestamp) -> Plan {
    let active: Vec<Arc<Pod>> = owned.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
    let wanted = usize::try_from(set.replicas).unwrap_or(0);
    let surplus = active.len().saturating_sub(wanted);
    let mut delete = Vec::new();
    if surplus > 0 {
        delete.clone_from(&active);
        if surplus < active.len() {
            pods::order_for_deletion(&mut delete, &active);
            delete.truncate(surplus);
        }
    }
    let fully_labeled = |pod: &&Arc<Pod>| {
        let labels = pod.metadata.labels.as_ref();
        set.template_labels.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    };
    let count = |pods: usize| i32::try_from(pods).unwrap_or(i32::MAX);
    let due = active.iter().filter_map(|pod| pods::available_at(pod, set.min_ready_seconds));
    Plan {
        create: wanted.saturating_sub(active.len()),
        delete,
        status: Status {
            replicas: count(active.len()),
            fully_labeled: count(active.iter().filter(fully_labeled).count()),
            ready: count(active.iter().filter(|pod| pods::is_ready(pod)).count()),
            available: count(active.iter().filter(|pod| pods::is_available(pod, set.min_ready_seconds, now)).count()),
            observed_generation: set.metadata.generation.unwrap_or(0),
            failure: None,
        },
        again_at: due.filter(|at| *at > now).min(),
    }
}
