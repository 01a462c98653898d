//! A job's pods: what is written on them, and what is read there.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::common::owners::controller_reference;
use crate::common::pods::{from_template, is_terminating, phase};

/// Keeps a pod until it is counted.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The pod's index, as annotation and label.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// How often the index failed before.
pub const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// How often it failed before without counting.
pub const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// The longest name of a host.
const HOSTNAME_MAX: usize = 63;

/// A pod that is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct New {
    /// Of indexed jobs.
    pub index: Option<i32>,
    /// Failures of the index so far, counted and ignored, of jobs that limit them.
    pub failures: Option<(i32, i32)>,
}

/// Whether the job has indexes.
pub fn is_indexed(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.completion_mode.as_deref()) == Some("Indexed")
}

/// The pod's index.
pub fn index(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX)?.parse().ok().filter(|index| *index >= 0)
}

/// Failures of the pod's index before it, counted and ignored.
pub fn failures(pod: &Pod) -> (i32, i32) {
    let number = |name: &str| pod.annotations().get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    (number(FAILURES), number(IGNORED_FAILURES))
}

/// Has not been counted.
pub fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING)
}

/// Is to be deleted and has not ended yet.
pub fn is_leaving(pod: &Pod) -> bool {
    is_terminating(pod) && !matches!(phase(pod), "Succeeded" | "Failed")
}

/// When the pod's last container ended, or what comes nearest to it.
pub fn ended_at(pod: &Pod, now: Timestamp) -> Timestamp {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let ends = statuses.filter_map(|status| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    let deleted = pod.metadata.deletion_timestamp.as_ref();
    ends.map(|time| time.0).max().or(deleted.map(|time| time.0)).unwrap_or(now).min(now)
}

/// The pod as it is created.
pub fn make(job: &Job, new: &New) -> Pod {
    let name = job.name_any();
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let prefix = new.index.map_or(format!("{name}-"), |index| format!("{name}-{index}-"));
    let namespace = job.namespace().unwrap_or_default();
    let mut pod = from_template(&template, prefix, &namespace, controller_reference(job));
    pod.metadata.finalizers.get_or_insert_default().push(TRACKING.to_string());
    if let Some(index) = new.index {
        give_index(&mut pod, &name, index);
    }
    if let Some((counted, ignored)) = new.failures {
        annotate(&mut pod.metadata, FAILURES, counted);
        if ignored > 0 {
            annotate(&mut pod.metadata, IGNORED_FAILURES, ignored);
        }
    }
    pod
}

fn annotate(metadata: &mut ObjectMeta, name: &str, number: i32) {
    metadata.annotations.get_or_insert_default().insert(name.to_string(), number.to_string());
}

fn give_index(pod: &mut Pod, job: &str, index: i32) {
    annotate(&mut pod.metadata, INDEX, index);
    pod.metadata.labels.get_or_insert_default().insert(INDEX.to_string(), index.to_string());
    let Some(spec) = pod.spec.as_mut() else { return };
    let hostname = format!("{job}-{index}");
    if hostname.len() <= HOSTNAME_MAX {
        spec.hostname = Some(hostname);
    }
    spec.containers.iter_mut().for_each(tell_index);
    spec.init_containers.iter_mut().flatten().for_each(tell_index);
}

fn tell_index(container: &mut Container) {
    let env = container.env.get_or_insert_default();
    if env.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), api_version: None };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    env.push(EnvVar { name: INDEX_VARIABLE.to_string(), value_from: Some(source), ..EnvVar::default() });
}
