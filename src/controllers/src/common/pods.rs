//! The states of pods that controllers decide by.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use stdx::clock::later;

/// The phase; empty where the pod has no status yet.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Has ended and will not run again.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Is to be deleted.
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Counts as a replica.
pub fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_terminating(pod)
}

/// The node; empty where it has none.
pub fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// Since when the pod is ready; `None` where it is not.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

/// Is ready.
pub fn is_ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// When the pod has been ready for `min_ready_seconds`; `None` where it is not ready.
pub fn available_at(pod: &Pod, min_ready_seconds: i32) -> Option<Timestamp> {
    ready_since(pod).map(|since| later(since, SignedDuration::from_secs(i64::from(min_ready_seconds))))
}

/// Has been ready for long enough.
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    available_at(pod, min_ready_seconds).is_some_and(|at| at <= now)
}

/// A pod made from a template, for an owner.
pub fn from_template(template: &PodTemplateSpec, generate_name: String, namespace: &str, owner: OwnerReference) -> Pod {
    let metadata = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(generate_name),
            namespace: Some(namespace.to_string()),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Orders pods so that those that are missed least come first: without a node, not running, not ready, cheaper by
/// `controller.kubernetes.io/pod-deletion-cost`, on a node with more of their kind, ready for a shorter time,
/// restarted more often, younger. `siblings` are all active pods of the workload.
pub fn order_for_deletion(pods: &mut [Arc<Pod>], siblings: &[Arc<Pod>]) {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in siblings {
        *on_node.entry(node_name(pod)).or_insert(0) += 1;
    }
    let crowd = |pod: &Pod| on_node.get(node_name(pod)).copied().unwrap_or(0);
    pods.sort_by(|a, b| deletion_order(a, b, crowd(a), crowd(b)));
}

fn deletion_order(a: &Pod, b: &Pod, crowd_a: usize, crowd_b: usize) -> Ordering {
    let assigned = |pod: &Pod| !node_name(pod).is_empty();
    let running = |pod: &Pod| match phase(pod) {
        "Pending" | "" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = |pod: &Pod| {
        let annotations = pod.metadata.annotations.as_ref();
        let cost = annotations.and_then(|all| all.get("controller.kubernetes.io/pod-deletion-cost"));
        cost.and_then(|cost| cost.parse::<i32>().ok()).unwrap_or(0)
    };
    let restarts = |pod: &Pod| {
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        statuses.into_iter().flatten().map(|status| status.restart_count).max().unwrap_or(0)
    };
    let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let rank = |pod: &Pod, crowd: usize| {
        (assigned(pod), running(pod), is_ready(pod), cost(pod), Reverse(crowd), Reverse(ready_since(pod)))
    };
    rank(a, crowd_a)
        .cmp(&rank(b, crowd_b))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| created(b).cmp(&created(a)))
        .then_with(|| a.metadata.name.cmp(&b.metadata.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_that_are_missed_least_go_first() {
        let pod = |name: &str, node: &str, phase: &str, ready: Option<&str>, cost: &str| -> Arc<Pod> {
            let conditions: Vec<_> = ready
                .map(|at| json!({"type": "Ready", "status": "True", "lastTransitionTime": at}))
                .into_iter()
                .collect();
            Arc::new(
                serde_json::from_value(json!({
                "metadata": {"name": name, "annotations": {"controller.kubernetes.io/pod-deletion-cost": cost}},
                "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase, "conditions": conditions}}))
                .unwrap(),
            )
        };
        let old = Some("2026-01-01T00:00:00Z");
        let new = Some("2026-02-01T00:00:00Z");
        let all = vec![
            pod("dear", "n3", "Running", new, "5"),
            pod("long-ready", "n2", "Running", old, "0"),
            pod("crowded", "n1", "Running", old, "0"),
            pod("crowded-young", "n1", "Running", new, "0"),
            pod("unready", "n1", "Running", None, "0"),
            pod("pending", "n1", "Pending", None, "0"),
            pod("unassigned", "", "Pending", None, "0"),
        ];
        let mut order = all.clone();
        order_for_deletion(&mut order, &all);
        let names: Vec<_> = order.iter().map(|pod| pod.metadata.name.as_deref().unwrap()).collect();
        let expected = ["unassigned", "pending", "unready", "crowded-young", "crowded", "long-ready", "dear"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_pod_that_is_ready_from_the_last_moment_on_is_never_available() {
        let condition = json!({"type": "Ready", "status": "True", "lastTransitionTime": "9999-12-30T21:59:00Z"});
        let pod = json!({"metadata": {"name": "p"}, "status": {"conditions": [condition]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert_eq!(available_at(&pod, i32::MAX), Some(Timestamp::MAX));
        assert!(!is_available(&pod, i32::MAX, Timestamp::now()));
    }
}
