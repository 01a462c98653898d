//! Where pods come from: the API's, bound to this node, and the manifests that lie on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::informer::{Change, Informer};
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::mirror;
use crate::node::Keeper;
use crate::pod::identity::{CONFIG_SOURCE, is_mirror, is_static};
use crate::pods::Pods;

/// How often the folder of static pods is read.
const MANIFESTS: Duration = Duration::from_secs(2);

/// Feeds the API's pods of this node to their workers.
pub fn follow_api(pods: &Pods, informer: &Informer<Pod>) {
    // First those that were here before: the others are asked whether there is a place beside them.
    let mut known = informer.list(None);
    known.sort_by_key(|pod| {
        let started = pod.status.as_ref().and_then(|status| status.start_time.clone());
        (started.is_none(), pod.metadata.creation_timestamp.clone())
    });
    known.iter().filter(|pod| !is_mirror(pod)).for_each(|pod| pods.apply(from_api(pod)));
    let pods = pods.clone();
    informer.on_change(move |change| match change {
        Change::Added(pod) if !is_mirror(pod) => pods.apply(from_api(pod)),
        Change::Updated(old, pod) if !is_mirror(pod) => {
            if old.metadata.uid != pod.metadata.uid {
                pods.delete(old.metadata.uid.as_deref().unwrap_or_default());
            }
            pods.apply(from_api(pod));
        }
        Change::Deleted(pod) if !is_mirror(pod) => pods.delete(pod.metadata.uid.as_deref().unwrap_or_default()),
        _ => {}
    });
}

/// Only manifests on the node make static pods, whatever annotations an object of the API has.
fn from_api(pod: &Arc<Pod>) -> Arc<Pod> {
    if !is_static(pod) {
        return pod.clone();
    }
    let mut plain = pod.as_ref().clone();
    if let Some(annotations) = plain.metadata.annotations.as_mut() {
        annotations.remove(CONFIG_SOURCE);
    }
    Arc::new(plain)
}

/// The static pods of this node as they were last read.
#[derive(Default)]
pub struct Statics {
    pods: Mutex<HashMap<String, Arc<Pod>>>,
    /// What was last said of mirrors that could not be kept, so that it is said once.
    told: Mutex<String>,
}

impl Statics {
    /// Reads the folder until `shutdown`; after each reading `then` is called.
    pub async fn follow(&self, pods: &Pods, shutdown: CancellationToken, then: impl AsyncFn()) {
        let mut told = String::new();
        loop {
            self.read(pods, &mut told);
            then().await;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(MANIFESTS) => {}
            }
        }
    }

    fn read(&self, pods: &Pods, told: &mut String) {
        let config = &pods.host().config;
        let now = jiff::Timestamp::now();
        let (found, errors) = crate::static_pods::load(&config.static_pod_path, &config.node_name, now);
        let problems = errors.iter().map(|error| stdx::error::chain(error)).collect::<Vec<_>>().join("; ");
        if problems != *told {
            tracing::warn!(problems, "read manifests of static pods");
            *told = problems;
        }
        let mut known = self.pods.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut next = HashMap::new();
        for pod in found {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            match known.remove(&uid) {
                Some(pod) => {
                    next.insert(uid, pod);
                }
                None => {
                    let pod = Arc::new(pod);
                    pods.apply(pod.clone());
                    next.insert(uid, pod);
                }
            }
        }
        for uid in known.keys() {
            pods.delete(uid);
        }
        *known = next;
    }

    /// Says what is wrong with mirrors, where it is something else than before.
    fn tell(&self, errors: &[Error]) {
        let problems = errors.iter().map(|error| stdx::error::chain(error)).collect::<Vec<_>>().join("; ");
        let mut told = self.told.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if problems != *told {
            if !problems.is_empty() {
                tracing::warn!(problems, "keep mirror pods");
            }
            *told = problems;
        }
    }

    /// The static pods.
    pub fn all(&self) -> Vec<Arc<Pod>> {
        self.pods.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).values().cloned().collect()
    }
}

/// Brings the mirrors of static pods to the API.
pub async fn keep_mirrors(
    statics: &Statics,
    pods: &Pods,
    informer: &Informer<Pod>,
    keeper: &Keeper,
    client: &kube::Client,
) {
    let plan = mirror::plan(&statics.all(), &informer.list(None), |hash| pods.has(hash));
    if plan.create.is_empty() && plan.delete.is_empty() {
        return statics.tell(&[]);
    }
    let outcome = mirror::carry_out(&plan, client, keeper.node().as_deref()).await;
    for pod in &outcome.made {
        let reference = crate::pod::identity::PodRef::of(pod);
        if let Some(worker) = pods.find(&reference.namespace, &reference.name) {
            worker.report_again();
        }
    }
    statics.tell(&outcome.errors);
}
