//! All pods of this node: a worker for each, woken by what changes in the runtime; what belongs to none is removed.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::host::Host;
use crate::pod::identity::{PodRef, is_static};
use crate::pod::memory::SANDBOX;
use crate::pod::observed::{self, Observed, Phase};
use crate::pod::resources::{self, Qos};
use crate::pod::worker::{Reports, Worker};
use crate::pod::{execute, identity};

/// The runtime is looked at this often for what it did by itself.
const RELIST: Duration = Duration::from_secs(1);
/// What belongs to no pod is looked for this often.
const TIDY: Duration = Duration::from_secs(30);

/// Where statuses go, and the word that a pod is gone.
pub trait Sink: Send + Sync + 'static {
    /// A new status.
    fn status(&self, pod: &Arc<Pod>, status: PodStatus);
    /// A deleted pod has left the node.
    fn gone(&self, pod: &Arc<Pod>);
}

/// The pods of this node.
#[derive(Clone)]
pub struct Pods(Arc<Inner>);

struct Inner {
    host: Arc<Host>,
    sink: Arc<dyn Sink>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    workers: HashMap<String, Arc<Worker>>,
    /// Static pods whose former version under the same name has yet to end.
    deferred: BTreeMap<(String, String), Arc<Pod>>,
    /// Every source has told its pods once; before that nothing is an orphan.
    complete: bool,
}

impl Reports for Inner {
    fn status(&self, pod: &Arc<Pod>, status: PodStatus) {
        self.sink.status(pod, status);
    }

    fn gone(&self, pod: &Arc<Pod>) {
        self.sink.gone(pod);
    }
}

impl Pods {
    /// No pods yet.
    pub fn new(host: Arc<Host>, sink: Arc<dyn Sink>) -> Self {
        Self(Arc::new(Inner { host, sink, table: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A pod that shall run here, or a new version of it.
    pub fn apply(&self, pod: Arc<Pod>) {
        let reference = PodRef::of(&pod);
        let mut table = self.lock();
        if let Some(worker) = table.workers.get(&reference.uid) {
            let worker = worker.clone();
            drop(table);
            return worker.update(pod);
        }
        let same_name = table.workers.values().any(|worker| {
            let other = PodRef::of(&worker.pod());
            other.namespace == reference.namespace && other.name == reference.name
        });
        if same_name && is_static(&pod) {
            table.deferred.insert((reference.namespace, reference.name), pod);
            return;
        }
        let worker = Worker::new(self.0.host.clone(), self.0.clone(), pod);
        table.workers.insert(reference.uid.clone(), worker.clone());
        drop(table);
        let pods = self.clone();
        tokio::spawn(async move {
            worker.run().await;
            pods.forget(&reference);
        });
    }

    fn forget(&self, reference: &PodRef) {
        let mut table = self.lock();
        table.workers.remove(&reference.uid);
        let next = table.deferred.remove(&(reference.namespace.clone(), reference.name.clone()));
        drop(table);
        if let Some(next) = next {
            self.apply(next);
        }
    }

    /// A pod that shall run here no more.
    pub fn delete(&self, uid: &str) {
        let mut table = self.lock();
        table.deferred.retain(|_, pod| pod.metadata.uid.as_deref() != Some(uid));
        let worker = table.workers.get(uid).cloned();
        drop(table);
        if let Some(worker) = worker {
            worker.delete();
        }
    }

    /// Every source has told its pods.
    pub fn complete(&self) {
        self.lock().complete = true;
    }

    /// Images came to the node by another way than a pull: what failed for the want of them is tried again at once.
    pub fn images_came(&self) {
        for worker in self.workers() {
            worker.remember(|memory| {
                memory.forgive(|key, waiting| key == SANDBOX || waiting.is_for_image());
            });
        }
    }

    /// All workers.
    pub fn workers(&self) -> Vec<Arc<Worker>> {
        self.lock().workers.values().cloned().collect()
    }

    /// The worker of a pod by name; the newest where there are two.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<Worker>> {
        let workers = self.workers();
        let mut found: Vec<_> = workers
            .into_iter()
            .filter(|worker| {
                let reference = PodRef::of(&worker.pod());
                reference.namespace == namespace && reference.name == name
            })
            .collect();
        found.sort_by_key(|worker| worker.pod().metadata.creation_timestamp.clone());
        found.pop()
    }

    /// The node all pods share.
    pub fn host(&self) -> &Arc<Host> {
        &self.0.host
    }

    /// Watches the runtime and tidies up until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let own_images = async {
            self.0.host.images.own().wait().await;
            self.images_came();
        };
        tokio::join!(self.relist(shutdown.clone()), self.tidy_often(shutdown), own_images);
    }

    async fn relist(&self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(RELIST);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut before = HashMap::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match signatures(self.0.host.runtime.as_ref()).await {
                Ok(now) => {
                    self.wake_changed(&before, &now);
                    before = now;
                }
                Err(error) => tracing::debug!(error = %stdx::error::chain(&error), "list what the runtime has"),
            }
        }
    }

    async fn tidy_often(&self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(TIDY) => self.tidy().await,
            }
        }
    }

    fn wake_changed(&self, before: &HashMap<String, u64>, now: &HashMap<String, u64>) {
        let table = self.lock();
        for (uid, worker) in &table.workers {
            if before.get(uid) != now.get(uid) {
                worker.wake();
            }
        }
    }

    /// Ends what belongs to no pod, and gives the burstable class its shares.
    async fn tidy(&self) {
        let (known, complete, burstable) = {
            let table = self.lock();
            let known: HashSet<String> = table.workers.keys().cloned().collect();
            let pods = table.workers.values().map(|worker| worker.pod());
            let burstable: i64 = pods.filter(|pod| Qos::of(pod) == Qos::Burstable).map(|pod| shares(&pod)).sum();
            (known, table.complete, burstable)
        };
        self.0.host.cgroups.set_burstable_shares(burstable);
        if !complete {
            return;
        }
        match orphans(self.0.host.runtime.as_ref(), &known).await {
            Ok(orphans) => {
                for (reference, observed) in orphans {
                    // A pod may have come since the known ones were noted.
                    if self.lock().workers.contains_key(&reference.uid) {
                        continue;
                    }
                    tracing::info!(pod = %reference, uid = reference.uid, "end a pod that nobody wants any more");
                    if let Err(error) = end(&self.0.host, &reference, &observed).await {
                        tracing::warn!(pod = %reference, error = %stdx::error::chain(&error), "end an orphan");
                    }
                }
            }
            Err(error) => tracing::debug!(error = %stdx::error::chain(&error), "look for orphans"),
        }
        for uid in self.0.host.volumes.present().iter().filter(|uid| !known.contains(*uid)) {
            if self.lock().workers.contains_key(uid) {
                continue;
            }
            if let Err(error) = self.0.host.volumes.remove(uid) {
                tracing::warn!(uid, error = %stdx::error::chain(&error), "remove the volumes of a pod that is gone");
            }
        }
    }
}

fn shares(pod: &Pod) -> i64 {
    let spec = pod.spec.as_ref();
    let request = spec.and_then(|spec| resources::pod_total(spec, |c| Some(resources::request(c, "cpu").unwrap_or(0))));
    resources::shares(request.and_then(|milli| i64::try_from(milli).ok()).unwrap_or(0))
}

/// A number for each pod (UID) that changes when a sandbox or container of it comes, goes or changes its state.
async fn signatures(runtime: &dyn cri::Runtime) -> Result<HashMap<String, u64>, Error> {
    let mut parts: HashMap<String, Vec<(String, i32)>> = HashMap::new();
    for sandbox in runtime.list_sandboxes(&[]).await? {
        if let Some(uid) = sandbox.labels.get(identity::POD_UID) {
            parts.entry(uid.clone()).or_default().push((sandbox.id, sandbox.state));
        }
    }
    for container in runtime.list_containers(&[]).await? {
        if let Some(uid) = container.labels.get(identity::POD_UID) {
            parts.entry(uid.clone()).or_default().push((container.id, container.state));
        }
    }
    let sign = |mut list: Vec<(String, i32)>| {
        list.sort_unstable();
        let mut hasher = DefaultHasher::new();
        list.hash(&mut hasher);
        hasher.finish()
    };
    Ok(parts.into_iter().map(|(uid, list)| (uid, sign(list))).collect())
}

/// The pods in the runtime that are not among the known.
async fn orphans(runtime: &dyn cri::Runtime, known: &HashSet<String>) -> Result<HashMap<PodRef, Observed>, Error> {
    let mut found: HashMap<PodRef, Observed> = HashMap::new();
    for item in runtime.list_sandboxes(&[]).await? {
        let Some(reference) = PodRef::from_labels(&item.labels).filter(|found| !known.contains(&found.uid)) else {
            continue;
        };
        let ready = item.state() == cri::v1::PodSandboxState::SandboxReady;
        let sandbox = observed::Sandbox { id: item.id, ready, ..Default::default() };
        found.entry(reference).or_default().sandboxes.push(sandbox);
    }
    for item in runtime.list_containers(&[]).await? {
        let Some(reference) = PodRef::from_labels(&item.labels).filter(|found| !known.contains(&found.uid)) else {
            continue;
        };
        let phase = observed::phase(item.state());
        let instance = observed::Instance { id: item.id, phase, ..Default::default() };
        found.entry(reference).or_default().containers.push(instance);
    }
    Ok(found)
}

async fn end(host: &Host, reference: &PodRef, observed: &Observed) -> Result<(), Error> {
    for instance in observed.containers.iter().filter(|instance| instance.phase == Phase::Running) {
        host.runtime.stop_container(&instance.id, Duration::from_secs(30)).await?;
    }
    execute::clean_up(host, reference, observed).await
}
