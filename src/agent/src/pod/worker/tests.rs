use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::fake::{self, FakeRuntime};

/// A condition that takes longer than this does not come.
const LIMIT: Duration = Duration::from_secs(20);

struct Seen {
    status: watch::Sender<PodStatus>,
    gone: watch::Sender<bool>,
}

impl Reports for Seen {
    fn status(&self, _: &Arc<Pod>, status: PodStatus) {
        self.status.send_replace(status);
    }

    fn gone(&self, _: &Arc<Pod>) {
        self.gone.send_replace(true);
    }
}

struct Bench {
    runtime: Arc<FakeRuntime>,
    worker: Arc<Worker>,
    status: watch::Receiver<PodStatus>,
    gone: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

fn bench(spec: Value) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Arc::new(FakeRuntime::default());
    let host = fake::host(runtime.clone(), folder.path());
    let pod = json!({ "metadata": { "name": "web", "namespace": "default", "uid": "u1" }, "spec": spec });
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let (worker, status, gone, task) = begin(host, Arc::new(pod));
    Bench { runtime, worker, status, gone, task, _folder: folder }
}

type Begun = (Arc<Worker>, watch::Receiver<PodStatus>, watch::Receiver<bool>, tokio::task::JoinHandle<()>);

fn begin(host: Arc<Host>, pod: Arc<Pod>) -> Begun {
    let (status, statuses) = watch::channel(PodStatus::default());
    let (gone, is_gone) = watch::channel(false);
    let worker = Worker::new(host, Arc::new(Seen { status, gone }), pod);
    let task = tokio::spawn(worker.clone().run());
    (worker, statuses, is_gone, task)
}

impl Bench {
    /// As after a restart of the agent: a worker that knows only what the runtime has.
    async fn restart_agent(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
        let (host, pod) = (self.worker.host().clone(), self.worker.pod());
        (self.worker, self.status, self.gone, self.task) = begin(host, pod);
    }

    async fn until(&mut self, wanted: impl FnMut(&PodStatus) -> bool) -> PodStatus {
        let found = tokio::time::timeout(LIMIT, self.status.wait_for(wanted)).await;
        let calls = self.runtime.calls();
        match found {
            Ok(found) => found.unwrap().clone(),
            Err(_) => panic!("the status did not come after {calls:?}"),
        }
    }
}

fn ready(status: &PodStatus) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn restarts(status: &PodStatus) -> i32 {
    status.container_statuses.iter().flatten().map(|container| container.restart_count).sum()
}

#[tokio::test]
async fn a_pod_comes_up_its_container_restarts_and_a_deletion_leaves_nothing() {
    let mut bench = bench(json!({
        "initContainers": [{ "name": "prepare", "image": "i:1" }],
        "containers": [{ "name": "app", "image": "i:1" }],
    }));
    bench
        .until(|status| {
            status
                .init_container_statuses
                .iter()
                .flatten()
                .any(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()))
        })
        .await;
    bench.runtime.end("prepare", 0);
    let up = bench.until(ready).await;
    assert_eq!((up.phase.as_deref(), up.pod_ip.as_deref()), (Some("Running"), Some("10.42.0.9")));
    bench.runtime.end("app", 1);
    bench.worker.wake();
    bench.until(|status| ready(status) && restarts(status) == 1).await;
    bench.worker.delete();
    tokio::time::timeout(LIMIT, bench.gone.wait_for(|gone| *gone)).await.unwrap().unwrap();
    let runtime: &dyn cri::Runtime = bench.runtime.as_ref();
    assert!(runtime.list_containers(&[]).await.unwrap().is_empty());
    assert!(runtime.list_sandboxes(&[]).await.unwrap().is_empty());
    assert!(!bench.worker.host().config.pod_dir("u1").exists());
    let expected = ["run sandbox", "start prepare", "start app", "start app", "stop app", "stop sandbox"];
    assert_eq!(bench.runtime.calls()[..6], expected);
}

#[tokio::test]
async fn a_runtime_that_refuses_to_stop_a_pod_is_asked_now_and_then() {
    let refusals = |bench: &Bench| bench.runtime.calls().iter().filter(|call| *call == "refuse to stop").count();
    // Ended because it is deleted, and because a probe condemned it.
    for deleted in [true, false] {
        let mut bench = bench(json!({ "containers": [{ "name": "app", "image": "i:1" }] }));
        bench.until(ready).await;
        bench.runtime.refuse_stops(true);
        if deleted {
            bench.worker.delete();
        } else {
            let id = bench.worker.observed().containers[0].id.clone();
            bench.worker.remember(|memory| _ = memory.condemned.insert(id, "it is sick".into()));
        }
        testkit::eventually_async(LIMIT, "it is asked once", async || refusals(&bench) > 0).await;
        tokio::time::sleep(RETRY).await;
        assert!(refusals(&bench) <= 3, "{} times in {RETRY:?}", refusals(&bench));
        bench.runtime.refuse_stops(false);
        if deleted {
            tokio::time::timeout(LIMIT, bench.gone.wait_for(|gone| *gone)).await.unwrap().unwrap();
        } else {
            bench.until(|status| ready(status) && restarts(status) == 1).await;
        }
    }
}

#[tokio::test]
async fn a_pod_that_never_restarts_succeeds_or_fails_with_its_container() {
    for (code, phase) in [(0, "Succeeded"), (3, "Failed")] {
        let mut bench = bench(json!({ "restartPolicy": "Never", "containers": [{ "name": "app", "image": "i:1" }] }));
        bench.until(ready).await;
        bench.runtime.end("app", code);
        bench.worker.wake();
        bench.until(|status| status.phase.as_deref() == Some(phase)).await;
    }
}

#[tokio::test]
async fn what_somebody_else_wrote_over_a_status_is_put_right() {
    let mut bench = bench(json!({ "containers": [{ "name": "app", "image": "i:1" }] }));
    let mut told = bench.until(ready).await;
    bench.status.mark_unchanged();
    // As the node controller does while the node is silent.
    for condition in told.conditions.iter_mut().flatten().filter(|condition| condition.type_ == "Ready") {
        condition.status = "False".into();
    }
    bench.worker.update(Arc::new(Pod { status: Some(told), ..(*bench.worker.pod()).clone() }));
    tokio::time::timeout(LIMIT, bench.status.changed()).await.unwrap().unwrap();
    assert!(ready(&bench.status.borrow()));
}

fn waits_for(status: &PodStatus, reason: &str) -> bool {
    let containers = status.container_statuses.iter().flatten();
    let mut waiting = containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    waiting.any(|found| found == reason)
}

#[tokio::test]
async fn a_crash_loop_waits_on_after_the_agents_restart() {
    let mut bench = bench(json!({ "containers": [{ "name": "app", "image": "i:1" }] }));
    for run in 0..2 {
        bench.until(|status| ready(status) && restarts(status) == run).await;
        bench.runtime.end("app", 1);
        bench.worker.wake();
    }
    bench.until(|status| waits_for(status, "CrashLoopBackOff")).await;
    bench.restart_agent().await;
    let status = bench.until(|status| ready(status) || waits_for(status, "CrashLoopBackOff")).await;
    assert!(waits_for(&status, "CrashLoopBackOff"), "{status:?}");
    assert_eq!(bench.runtime.calls(), ["run sandbox", "start app", "start app"]);
}

#[tokio::test]
async fn a_container_starts_as_soon_as_its_image_is_there() {
    for policy in ["Never", "IfNotPresent"] {
        let mut bench =
            bench(json!({ "containers": [{ "name": "app", "image": "missing:1", "imagePullPolicy": policy }] }));
        let reason = if policy == "Never" { "ErrImageNeverPull" } else { "ImagePullBackOff" };
        bench.until(|status| waits_for(status, reason)).await;
        bench.runtime.import("missing:1");
        let imported = tokio::time::Instant::now();
        bench.until(ready).await;
        assert!(imported.elapsed() < Duration::from_secs(2), "{policy}: {:?}", imported.elapsed());
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_the_waiting_reason() {
    let mut bench = bench(json!({ "containers": [{ "name": "app", "image": "missing:1" }] }));
    bench.until(|status| waits_for(status, "ErrImagePull")).await;
    bench.until(|status| waits_for(status, "ImagePullBackOff")).await;
}

#[tokio::test]
async fn what_an_ended_pod_had_on_the_disk_is_free_and_its_log_stays() {
    let mut bench = bench(json!({ "restartPolicy": "Never", "containers": [{ "name": "app", "image": "i:1" }],
        "volumes": [{ "name": "cache", "emptyDir": {} }] }));
    bench.until(ready).await;
    let host = bench.worker.host().clone();
    let folder = host.config.pod_dir("u1");
    assert!(folder.join("volumes/kubernetes.io~empty-dir/cache").exists());
    bench.runtime.end("app", 0);
    bench.worker.wake();
    bench.until(|status| status.phase.as_deref() == Some("Succeeded")).await;
    testkit::eventually_async(LIMIT, "its volumes are gone", async || !folder.join("volumes").exists()).await;
    assert!(folder.exists(), "the rest stays until the pod is deleted");
    // Neither a change of what it refers to nor a new agent makes them again.
    bench.restart_agent().await;
    bench.until(|status| status.phase.as_deref() == Some("Succeeded")).await;
    assert!(!folder.join("volumes").exists());
}

#[tokio::test]
async fn a_pod_that_has_ended_does_not_begin_again_when_the_runtime_forgets_it() {
    use cri::Runtime;
    let mut bench = bench(json!({ "restartPolicy": "Never", "containers": [{ "name": "app", "image": "i:1" }] }));
    bench.until(ready).await;
    bench.runtime.end("app", 0);
    bench.worker.wake();
    bench.until(|status| status.phase.as_deref() == Some("Succeeded")).await;
    testkit::eventually_async(LIMIT, "it takes nothing any more", async || bench.worker.is_cleared()).await;
    // Somebody tidies up in the runtime before the API has heard of the end.
    for container in bench.runtime.list_containers(&[]).await.unwrap() {
        bench.runtime.remove_container(&container.id).await.unwrap();
    }
    bench.worker.wake();
    let forgotten = async || bench.worker.observed().containers.is_empty();
    testkit::eventually_async(LIMIT, "the container is missed", forgotten).await;
    // A start would follow within a turn of the loop.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let starts = bench.runtime.calls().iter().filter(|call| *call == "start app").count();
    assert_eq!(starts, 1, "{:?}", bench.runtime.calls());
}

#[tokio::test]
async fn a_pod_that_is_being_ended_is_not_asked_whether_it_lives() {
    let probe = json!({ "exec": { "command": ["true"] }, "periodSeconds": 1 });
    let mut bench = bench(json!({ "containers": [{ "name": "app", "image": "i:1", "livenessProbe": probe }] }));
    bench.until(ready).await;
    let (runtime, worker) = (bench.runtime.clone(), bench.worker.clone());
    testkit::eventually_async(LIMIT, "it is asked", async || runtime.commands() > 0).await;
    runtime.refuse_stops(true);
    worker.delete();
    let refusals = || runtime.calls().iter().filter(|call| *call == "refuse to stop").count();
    testkit::eventually_async(LIMIT, "it is being ended", async || refusals() > 0).await;
    let asked = runtime.commands();
    testkit::eventually_async(LIMIT, "it is being ended for long", async || refusals() > 2).await;
    assert_eq!(runtime.commands(), asked);
    runtime.refuse_stops(false);
    tokio::time::timeout(LIMIT, bench.gone.wait_for(|gone| *gone)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pod_whose_image_is_being_pulled_can_be_ended() {
    for (more, reason) in [(json!({}), "Evicted"), (json!({ "activeDeadlineSeconds": 2 }), "DeadlineExceeded")] {
        let mut spec = json!({ "containers": [{ "name": "app", "image": "missing:1" }] });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut bench = bench(spec);
        bench.runtime.hang_in_pulls();
        bench.until(|status| status.phase.as_deref() == Some("Pending") && status.pod_ip.is_some()).await;
        if reason == "Evicted" {
            let verdict = crate::eviction::verdict("The node was low on resource: memory. ".into(), true);
            bench.worker.remember(|memory| memory.verdict = Some(verdict));
        }
        let mut phases = Vec::new();
        let status = bench
            .until(|status| {
                phases.extend(status.phase.clone());
                status.phase.as_deref() == Some("Failed")
            })
            .await;
        assert_eq!(status.reason.as_deref(), Some(reason));
        assert!(!phases.contains(&"Running".to_string()), "nothing of it ever ran: {phases:?}");
    }
}
