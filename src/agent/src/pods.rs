//! All pods of this node: a worker for each, woken by what changes in the runtime; what belongs to none is removed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use client::informer::Informer;
use k8s_openapi::api::core::v1::{Node, Pod, PodStatus};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::host::Host;
use crate::pod::identity::{PodRef, is_static};
use crate::pod::memory::SANDBOX;
use crate::pod::worker::{Reports, Worker};

mod admit;
mod relist;
#[cfg(test)]
mod tests;
mod tidy;

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
    completed: Notify,
    node: OnceLock<Informer<Node>>,
}

#[derive(Default)]
struct Table {
    workers: HashMap<String, Arc<Worker>>,
    /// Static pods whose former version under the same name, or former life, has yet to end.
    deferred: BTreeMap<(String, String), Arc<Pod>>,
    /// Pods (UIDs) that no source has any more, and that are still ending: they take nobody's place.
    departed: HashSet<String>,
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
        Self(Arc::new(Inner { host, sink, table: Mutex::default(), completed: Notify::new(), node: OnceLock::new() }))
    }

    /// From now on the labels of this node are what the API says.
    pub fn follow_node(&self, node: Informer<Node>) {
        let _ = self.0.node.set(node);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A pod that shall run here, or a new version of it.
    pub fn apply(&self, pod: Arc<Pod>) {
        let reference = PodRef::of(&pod);
        let mut table = self.lock();
        // A manifest that is put back unchanged makes the same pod, whose former life has to end first.
        let comes_back = is_static(&pod) && table.departed.contains(&reference.uid);
        if let Some(worker) = table.workers.get(&reference.uid).filter(|_| !comes_back) {
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
        let refusal = self.refusal(&pod, &table);
        let worker = Worker::new(self.0.host.clone(), self.0.clone(), pod);
        if refusal.is_some() {
            worker.remember(|memory| memory.verdict = refusal);
        }
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
        table.departed.remove(&reference.uid);
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
        if worker.is_some() {
            table.departed.insert(uid.to_string());
        }
        drop(table);
        if let Some(worker) = worker {
            worker.delete();
        }
    }

    /// Every source has told its pods.
    pub fn complete(&self) {
        if !std::mem::replace(&mut self.lock().complete, true) {
            self.0.completed.notify_one();
        }
    }

    /// Images came to the node by another way than a pull: what failed for the want of them is tried again at once.
    pub fn images_came(&self) {
        for worker in self.workers() {
            worker.remember(|memory| {
                memory.forgive(|key, waiting| key == SANDBOX || waiting.is_for_image());
            });
        }
    }

    /// True where a pod (UID) runs here or is still ending.
    pub fn has(&self, uid: &str) -> bool {
        self.lock().workers.contains_key(uid)
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
}
