//! A node in memory that is short of something, or whose pods break their limits.

use std::path::Path;

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fake::{self, FakeRuntime};
use crate::pods::Sink;
use machinery::eviction::{Level, Levels, Signal};

/// A condition that takes longer than this does not come.
const LIMIT: Duration = Duration::from_secs(20);

type Statuses = std::collections::HashMap<String, PodStatus>;

struct Told(watch::Sender<Statuses>);

impl Sink for Told {
    fn status(&self, pod: &Arc<Pod>, status: PodStatus) {
        self.0.send_modify(|all| {
            all.insert(pod.metadata.name.clone().unwrap_or_default(), status);
        });
    }

    fn gone(&self, _: &Arc<Pod>) {}
}

struct Node {
    evictor: Evictor,
    told: watch::Receiver<Statuses>,
    folder: TempDir,
}

impl Node {
    /// A node on which these pods run.
    async fn with(pods: &[(&str, Value)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (told, receiver) = watch::channel(Statuses::new());
        let host = fake::host(Arc::new(FakeRuntime::default()), folder.path());
        let all = Pods::new(host, Arc::new(Told(told)));
        for (name, spec) in pods {
            all.apply(pod(name, spec));
        }
        let running = all.clone();
        tokio::spawn(async move { running.run(CancellationToken::new()).await });
        let mut node = Self { evictor: Evictor::new(all).unwrap(), told: receiver, folder };
        for (name, _) in pods {
            node.until(name, |status| status.phase.as_deref() == Some("Running")).await;
        }
        node
    }

    async fn until(&mut self, name: &str, wanted: impl Fn(&PodStatus) -> bool) -> PodStatus {
        let seen = self.told.wait_for(|all| all.get(name).is_some_and(&wanted));
        let all = tokio::time::timeout(LIMIT, seen).await.unwrap_or_else(|_| panic!("{name} is not so")).unwrap();
        all[name].clone()
    }

    fn phase(&self, name: &str) -> String {
        self.told.borrow()[name].phase.clone().unwrap_or_default()
    }
}

fn pod(name: &str, spec: &Value) -> Arc<Pod> {
    let mut spec = spec.clone();
    spec["containers"] = json!([{ "name": "app", "image": "i:1" }]);
    let pod = json!({ "metadata": { "name": name, "namespace": "default", "uid": name }, "spec": spec });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn volume(folder: &Path, uid: &str) -> std::path::PathBuf {
    folder.join("kubelet/pods").join(uid).join("volumes/kubernetes.io~empty-dir/cache")
}

fn write(folder: &Path, uid: &str, bytes: usize) {
    std::fs::write(volume(folder, uid).join("file"), vec![1; bytes]).unwrap();
}

/// The reason of the condition that tells of a pod which was ended for others' sake.
fn disruption(status: &PodStatus) -> Option<String> {
    let mut conditions = status.conditions.iter().flatten();
    let found = conditions.find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
    found.and_then(|condition| condition.reason.clone())
}

#[tokio::test]
async fn a_critical_pod_may_break_its_limits() {
    let volumes = json!({ "priority": 2_000_000_000,
        "volumes": [{ "name": "cache", "emptyDir": { "sizeLimit": "1Mi" } }] });
    let node = Node::with(&[("critical", volumes)]).await;
    write(node.folder.path(), "critical", 2 << 20);
    assert!(!node.evictor.hold_to_limits().await.unwrap());
    assert_eq!(node.phase("critical"), "Running");
}

#[tokio::test]
async fn a_volume_that_grows_beyond_its_limit_ends_its_pod() {
    let volumes = json!({ "volumes": [{ "name": "cache", "emptyDir": { "sizeLimit": "1Mi" } }] });
    let mut node = Node::with(&[("small", volumes.clone()), ("large", volumes)]).await;
    write(node.folder.path(), "small", 100_000);
    write(node.folder.path(), "large", 2 << 20);
    assert!(node.evictor.hold_to_limits().await.unwrap());
    let status = node.until("large", |status| status.phase.as_deref() == Some("Failed")).await;
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    assert_eq!(status.message.as_deref(), Some("Usage of EmptyDir volume \"cache\" exceeds the limit \"1Mi\". "));
    assert_eq!(disruption(&status), None, "it has ended itself");
    assert_eq!(node.phase("small"), "Running");
    let volume = |uid: &str| volume(node.folder.path(), uid);
    assert!(!volume("large").exists(), "what it took is free before the node is looked at again");
    assert!(volume("small").exists());
    assert!(!node.evictor.hold_to_limits().await.unwrap(), "it is done once");
}

#[tokio::test]
async fn a_node_that_is_short_ends_the_pod_that_matters_least_and_no_critical_one() {
    let of = |priority: i32| json!({ "priority": priority });
    let mut node = Node::with(&[("critical", of(2_000_000_000)), ("high", of(1000)), ("low", of(-5))]).await;
    let level = Level { available: 1 << 20, capacity: 1 << 30 };
    let short = node.evictor.thresholds.short(&Levels::from([(Signal::Memory, level)]));
    let observed = Observed { levels: Levels::new(), one_disk: true };
    for (name, others) in [("low", ["critical", "high"].as_slice()), ("high", &["critical"])] {
        node.evictor.relieve(&short[0], &observed).await.unwrap();
        let status = node.until(name, |status| status.phase.as_deref() == Some("Failed")).await;
        assert_eq!(disruption(&status).as_deref(), Some("TerminationByKubelet"));
        let message = status.message.unwrap();
        assert!(
            message.starts_with("The node was low on resource: memory. Threshold quantity: 100Mi, available: 1Mi. ")
        );
        others.iter().for_each(|other| assert_eq!(node.phase(other), "Running", "{other}"));
    }
    node.evictor.relieve(&short[0], &observed).await.unwrap();
    assert_eq!(node.phase("critical"), "Running");
}

#[tokio::test]
async fn a_node_under_pressure_takes_no_pod_that_would_add_to_it() {
    let mut node = Node::with(&[]).await;
    let level = Level { available: 1, capacity: 1 << 30 };
    let short = |signal| node.evictor.thresholds.short(&Levels::from([(signal, level)]));
    let (memory, disk) = (short(Signal::Memory), short(Signal::NodefsBytes));
    let pods = node.evictor.pods.clone();
    pods.host().pressures.note(&memory);
    pods.apply(pod("idle", &json!({})));
    let status = node.until("idle", |status| status.phase.as_deref() == Some("Failed")).await;
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    assert_eq!(status.message.as_deref(), Some("Pod was rejected: The node had condition: [MemoryPressure]. "));
    let tolerant = json!({ "tolerations": [{ "key": "node.kubernetes.io/memory-pressure", "operator": "Exists" }] });
    pods.apply(pod("tolerant", &tolerant));
    node.until("tolerant", |status| status.phase.as_deref() == Some("Running")).await;
    pods.host().pressures.note(&disk);
    pods.apply(pod("late", &tolerant));
    let status = node.until("late", |status| status.phase.as_deref() == Some("Failed")).await;
    assert!(status.message.unwrap().contains("[MemoryPressure DiskPressure]"));
    pods.apply(pod("critical", &json!({ "priority": 2_000_000_000 })));
    node.until("critical", |status| status.phase.as_deref() == Some("Running")).await;
}
