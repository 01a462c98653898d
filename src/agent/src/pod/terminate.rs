//! How a pod is ended: its containers with their hooks and grace, sidecars after the rest, then the sandbox.

use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;

use super::execute;
use super::observed::{Instance, Observed, Phase};
use super::plan::is_sidecar;
use crate::host::Host;

/// The grace where the pod names none.
const DEFAULT_GRACE_SECONDS: i64 = 30;
/// Nobody waits longer, which is 68 years: a runtime that counts in nanoseconds takes three hundred for none at all.
const GRACE_MAX_SECONDS: i64 = i32::MAX as i64;

/// The grace a pod has to end: the deletion's, else the pod's own.
pub fn grace(pod: &Pod) -> Duration {
    let own = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let seconds = pod.metadata.deletion_grace_period_seconds.or(own).unwrap_or(DEFAULT_GRACE_SECONDS);
    Duration::from_secs(u64::try_from(seconds.min(GRACE_MAX_SECONDS)).unwrap_or(0))
}

/// Ends everything of a pod within `grace`; false where the runtime refused something, which is logged.
pub async fn run(host: &Host, pod: &Pod, observed: &Observed, grace: Duration) -> bool {
    let begun = Instant::now();
    let (sidecars, mains) = split(pod, observed);
    let stopped = join_all(mains.iter().map(|instance| stop(host, pod, observed, instance, grace))).await;
    let mut all_stopped = stopped.into_iter().all(|stopped| stopped);
    for instance in sidecars {
        let left = grace.saturating_sub(begun.elapsed());
        all_stopped &= stop(host, pod, observed, instance, left).await;
    }
    for sandbox in &observed.sandboxes {
        if let Err(error) = host.runtime.stop_sandbox(&sandbox.id).await {
            tracing::warn!(pod = ?pod.metadata.name, error = %stdx::error::chain(&error), "stop a sandbox");
            all_stopped = false;
        }
    }
    all_stopped
}

async fn stop(host: &Host, pod: &Pod, observed: &Observed, instance: &Instance, grace: Duration) -> bool {
    let reason = format!("Stopping container {}", instance.name);
    let stopped = execute::stop(host, pod, observed, &instance.id, &instance.name, grace, &reason).await;
    if let Err(error) = &stopped {
        let container = &instance.name;
        tracing::warn!(pod = ?pod.metadata.name, container, error = %stdx::error::chain(error), "stop a container");
    }
    stopped.is_ok()
}

/// Running sidecars, the last started first, and everything else that is not over.
fn split<'a>(pod: &Pod, observed: &'a Observed) -> (Vec<&'a Instance>, Vec<&'a Instance>) {
    let init = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let position = |instance: &Instance| {
        init.iter().position(|container| container.name == instance.name && is_sidecar(container))
    };
    let alive = observed.containers.iter().filter(|instance| instance.phase == Phase::Running);
    let (mut sidecars, mains): (Vec<_>, Vec<_>) = alive.partition(|instance| position(instance).is_some());
    sidecars.sort_by_key(|instance| std::cmp::Reverse(position(instance)));
    (sidecars, mains)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sidecars_end_last_and_in_reverse() {
        let pod: Pod = serde_json::from_value(json!({ "metadata": {}, "spec": {
            "initContainers": [
                { "name": "s1", "restartPolicy": "Always" }, { "name": "i" }, { "name": "s2", "restartPolicy": "Always" },
            ],
            "containers": [{ "name": "a" }],
        }}))
        .unwrap();
        let run = |name: &str| Instance { name: name.into(), phase: Phase::Running, ..Default::default() };
        let observed = Observed { containers: vec![run("s1"), run("a"), run("s2")], ..Default::default() };
        let (sidecars, mains) = split(&pod, &observed);
        let names = |list: Vec<&Instance>| list.iter().map(|instance| instance.name.clone()).collect::<Vec<_>>();
        assert_eq!((names(sidecars), names(mains)), (vec!["s2".into(), "s1".into()], vec!["a".into()]));
    }

    #[test]
    fn the_deletions_grace_wins() {
        let mut pod: Pod = serde_json::from_value(
            json!({ "metadata": {}, "spec": { "containers": [], "terminationGracePeriodSeconds": 5 } }),
        )
        .unwrap();
        assert_eq!(grace(&pod).as_secs(), 5);
        pod.metadata.deletion_grace_period_seconds = Some(0);
        assert_eq!(grace(&pod).as_secs(), 0);
        pod.metadata.deletion_grace_period_seconds = Some(i64::MAX);
        assert_eq!(grace(&pod).as_secs(), 0x7fff_ffff);
    }
}
