//! Shared informers: one list-and-watch a kind for the whole process, one decoded copy of each object.

use std::fmt::Debug;
use std::sync::Arc;

use kube::Resource;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

/// What an informer can hold.
pub trait Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}
impl<K> Object for K where K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

/// The informers of a process, made on first use.
#[derive(Clone)]
pub struct Informers {
    _client: kube::Client,
    _shutdown: CancellationToken,
}

/// A change of the cache.
#[derive(Debug, Clone)]
pub enum Change<K> {
    /// Came into view.
    Added(Arc<K>),
    /// Changed; old, new. A relist that finds the same resourceVersion is no change.
    Updated(Arc<K>, Arc<K>),
    /// Went out of view; the last state known.
    Deleted(Arc<K>),
}

/// One kind's cache. Objects in it are never changed.
pub struct Informer<K> {
    _kind: std::marker::PhantomData<fn() -> K>,
}

impl Informers {
    /// Informers that read through `client` until `shutdown`.
    pub fn new(client: kube::Client, shutdown: CancellationToken) -> Self {
        Self { _client: client, _shutdown: shutdown }
    }

    /// The informer of every object of a kind in all namespaces; started on first use.
    pub fn all<K: Object>(&self) -> Informer<K> {
        unimplemented!()
    }

    /// The informer of what matches a field selector (`spec.nodeName=w1`); shared by equal selectors.
    pub fn by_field<K: Object>(&self, _field_selector: &str) -> Informer<K> {
        unimplemented!()
    }
}

impl<K: Object> Informer<K> {
    /// The object of that name; `namespace` is empty for cluster-scoped kinds.
    pub fn get(&self, _namespace: &str, _name: &str) -> Option<Arc<K>> {
        unimplemented!()
    }

    /// Everything, or one namespace's objects.
    pub fn list(&self, _namespace: Option<&str>) -> Vec<Arc<K>> {
        unimplemented!()
    }

    /// Calls `handler` for every object that is there and then for every change, in order, on the informer's task.
    /// The handler must be quick: it computes a key and adds it to a queue.
    pub fn on_change(&self, _handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        unimplemented!()
    }

    /// Waits until the first list is complete.
    pub async fn synced(&self) {
        unimplemented!()
    }
}
