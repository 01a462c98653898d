use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Pods, Sink};
use crate::fake::{self, FakeRuntime};

/// A condition that takes longer than this does not come.
const LIMIT: Duration = Duration::from_secs(20);

struct Told(watch::Sender<PodStatus>);

impl Sink for Told {
    fn status(&self, _: &Arc<Pod>, status: PodStatus) {
        self.0.send_replace(status);
    }

    fn gone(&self, _: &Arc<Pod>) {}
}

/// A pod that runs.
async fn running(runtime: &Arc<FakeRuntime>, folder: &std::path::Path) -> watch::Receiver<PodStatus> {
    let (told, mut status) = watch::channel(PodStatus::default());
    let pods = Pods::new(fake::host(runtime.clone(), folder), Arc::new(Told(told)));
    let pod = json!({ "metadata": { "name": "web", "namespace": "default", "uid": "u1" },
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "app", "image": "i:1" }] } });
    pods.apply(Arc::new(serde_json::from_value(pod).unwrap()));
    tokio::spawn(async move { pods.run(CancellationToken::new()).await });
    until(&mut status, "Running", LIMIT).await;
    status
}

async fn until(status: &mut watch::Receiver<PodStatus>, phase: &str, limit: Duration) {
    let reached = status.wait_for(|status| status.phase.as_deref() == Some(phase));
    tokio::time::timeout(limit, reached).await.unwrap_or_else(|_| panic!("not {phase} in {limit:?}")).unwrap();
}

#[tokio::test]
async fn an_idle_agent_hardly_asks_a_runtime_that_tells_events() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Arc::new(FakeRuntime::default());
    let mut status = running(&runtime, folder.path()).await;
    let before = runtime.looks();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let looks = runtime.looks() - before;
    assert!(looks <= 1, "{looks} looks in 4 s");
    runtime.end("app", 0);
    // Well before the next look that nobody asked for.
    until(&mut status, "Succeeded", Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_runtime_without_events_is_looked_at_each_second() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Arc::new(FakeRuntime::without_events());
    let mut status = running(&runtime, folder.path()).await;
    runtime.end("app", 0);
    until(&mut status, "Succeeded", Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_pod_that_asks_for_too_much_fails_without_a_start_and_takes_nobodys_place() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Arc::new(FakeRuntime::default());
    let (told, mut status) = watch::channel(PodStatus::default());
    let pods = Pods::new(fake::host(runtime.clone(), folder.path()), Arc::new(Told(told)));
    let pod = |name: &str, cpu: &str, before: serde_json::Value| -> Arc<Pod> {
        let resources = json!({ "requests": { "cpu": cpu } });
        let pod = json!({ "metadata": { "name": name, "namespace": "default", "uid": name }, "status": before,
            "spec": { "containers": [{ "name": "app", "image": "i:1", "resources": resources }] } });
        Arc::new(serde_json::from_value(pod).unwrap())
    };
    pods.apply(pod("large", "1", json!({})));
    until(&mut status, "Failed", LIMIT).await;
    assert_eq!(status.borrow().reason.as_deref(), Some("OutOfcpu"));
    assert_eq!(runtime.calls(), Vec::<String>::new());
    // As after a restart of the agent: the reason stays told, and what runs is not asked again.
    pods.apply(pod("refused", "1", json!({ "phase": "Failed", "reason": "OutOfcpu", "message": "m" })));
    status.wait_for(|status| status.message.as_deref() == Some("m")).await.unwrap();
    pods.apply(pod("here", "1", json!({ "startTime": "2026-01-01T00:00:00Z" })));
    until(&mut status, "Running", LIMIT).await;
}

#[tokio::test]
async fn a_static_pod_that_is_put_back_while_it_ends_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Arc::new(FakeRuntime::default());
    let (told, mut status) = watch::channel(PodStatus::default());
    let pods = Pods::new(fake::host(runtime.clone(), folder.path()), Arc::new(Told(told)));
    // The same manifest has the same UID.
    let annotations = json!({ "kubernetes.io/config.source": "file" });
    let pod = json!({ "metadata": { "name": "web", "namespace": "default", "uid": "u1", "annotations": annotations },
        "spec": { "terminationGracePeriodSeconds": 1, "containers": [{ "name": "app", "image": "i:1" }] } });
    let pod: Arc<Pod> = Arc::new(serde_json::from_value(pod).unwrap());
    let running = pods.clone();
    tokio::spawn(async move { running.run(CancellationToken::new()).await });
    pods.apply(pod.clone());
    until(&mut status, "Running", LIMIT).await;
    let starts = || runtime.calls().iter().filter(|call| *call == "start app").count();
    for (put_back, expected) in [(true, 2), (false, 2)] {
        runtime.refuse_stops(true);
        pods.delete("u1");
        pods.apply(pod.clone());
        if !put_back {
            pods.delete("u1");
        }
        runtime.refuse_stops(false);
        let settled = async {
            while pods.has("u1") != put_back || starts() != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, settled).await.unwrap_or_else(|_| panic!("{put_back}: {:?}", runtime.calls()));
    }
}
