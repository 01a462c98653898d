//! Shared informers: one list-and-watch a kind for the whole process, one decoded copy of each object.
//!
//! This file has the face: the registry of informers, lookups, handlers and indexes. `cache` holds the objects and
//! tells handlers of changes, `reflect` keeps the cache equal to the server.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Resource;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::discovery::ServerResource;

mod cache;
mod index;
mod metadata;
mod quiet;
mod reflect;
#[cfg(test)]
mod tests;

pub use index::Index;
pub use metadata::{Metadata, Owner};

use cache::Cache;

/// What an informer can hold.
pub trait Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}
impl<K> Object for K where K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

/// Which kind, and which part of it, an informer is of.
type Key = (TypeId, String, String);

/// The informers of a process, made on first use.
#[derive(Clone)]
pub struct Informers {
    client: kube::Client,
    shutdown: CancellationToken,
    made: Arc<Mutex<HashMap<Key, Made>>>,
    quiet: Arc<quiet::Quiet>,
}

/// An informer whose kind is not known here, and what ends it.
struct Made {
    cache: Arc<dyn Any + Send + Sync>,
    stop: CancellationToken,
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

impl<K> Change<K> {
    /// The object as it is now, or was last.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Updated(_, object) | Self::Deleted(object) => object,
        }
    }
}

/// One kind's cache. Objects in it are never changed. Clones share the cache.
pub struct Informer<K> {
    cache: Arc<Cache<K>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone() }
    }
}

impl Informers {
    /// Informers that read through `client` until `shutdown`.
    pub fn new(client: kube::Client, shutdown: CancellationToken) -> Self {
        Self { client, shutdown, made: Arc::default(), quiet: Arc::default() }
    }

    /// The informer of every object of a kind in all namespaces; started on first use.
    /// Called inside a tokio runtime.
    pub fn all<K: Object>(&self) -> Informer<K> {
        self.by_field("")
    }

    /// The informer of what matches a field selector (`spec.nodeName=w1`); shared by equal selectors.
    pub fn by_field<K: Object>(&self, field_selector: &str) -> Informer<K> {
        self.start(K::url_path(&(), None), field_selector)
    }

    /// The informer of one object of a namespaced kind, whether it is there or not: all that the Node authorizer lets
    /// agents watch of ConfigMaps and Secrets.
    pub fn one<K: Object>(&self, namespace: &str, name: &str) -> Informer<K> {
        self.start(K::url_path(&(), Some(namespace)), &one(name))
    }

    /// Ends the informer of one object.
    pub fn forget_one<K: Object>(&self, namespace: &str, name: &str) {
        self.forget((TypeId::of::<K>(), K::url_path(&(), Some(namespace)), one(name)));
    }

    /// The informer of the names, owners and finalizers of any resource of the cluster.
    pub fn metadata(&self, resource: &ServerResource) -> Informer<Metadata> {
        self.start(resource.list_path(), "")
    }

    /// Ends the informer of a resource that is served no longer.
    pub fn forget_metadata(&self, resource: &ServerResource) {
        self.forget((TypeId::of::<Metadata>(), resource.list_path(), String::new()));
    }

    fn forget(&self, key: Key) {
        if let Some(made) = self.lock().remove(&key) {
            made.stop.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start<K: cache::Cached>(&self, path: String, field_selector: &str) -> Informer<K> {
        let key = (TypeId::of::<K>(), path.clone(), field_selector.to_string());
        let mut made = self.lock();
        if let Some(cache) = made.get(&key).and_then(|made| made.cache.clone().downcast::<Cache<K>>().ok()) {
            return Informer { cache };
        }
        let cache = Arc::new(Cache::default());
        let stop = self.shutdown.child_token();
        made.insert(key, Made { cache: cache.clone(), stop: stop.clone() });
        let source = reflect::Source {
            client: self.client.clone(),
            path,
            field_selector: field_selector.to_string(),
            quiet: self.quiet.clone(),
        };
        tokio::spawn(reflect::run(source, cache.clone(), stop));
        Informer { cache }
    }
}

fn one(name: &str) -> String {
    format!("metadata.name={name}")
}

impl<K: cache::Cached> Informer<K> {
    /// The object of that name; `namespace` is empty for cluster-scoped kinds.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.cache.get(namespace, name)
    }

    /// Everything, or one namespace's objects.
    pub fn list(&self, namespace: Option<&str>) -> Vec<Arc<K>> {
        self.cache.list(namespace)
    }

    /// Calls `handler` for every object that is there, before this returns, and then for every change, in order, on
    /// the informer's task. The handler must be quick: it computes a key and adds it to a queue. Handlers are called
    /// in the order in which they were added; a handler may not add handlers.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.cache.on_change(Box::new(handler));
    }

    /// The index of that name, made on first use: objects by the keys that `keys` gives for each. `keys` depends on
    /// the object alone. An index is up to date before any handler that was added after it is called.
    pub fn index(&self, name: &'static str, keys: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) -> Index<K> {
        self.cache.index(name, keys)
    }

    /// Waits until the first list is complete. Never returns once the informers were shut down before that, so that
    /// nobody acts on an empty cache: wait for the shutdown beside it.
    pub async fn synced(&self) {
        self.cache.synced().await;
    }

    /// Whether the first list is complete, and every handler that was there has been told of it.
    pub fn is_synced(&self) -> bool {
        self.cache.is_synced()
    }
}
