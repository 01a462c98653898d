//! The objects of one informer, and who is told of their changes.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{Change, Index, Object};

/// What the cache needs to know of an object.
pub trait Cached: DeserializeOwned + Clone + Send + Sync + 'static {
    /// In which form objects are asked for; as they are where `None`.
    const ACCEPT: Option<Accept> = None;
    /// Namespace and name; the namespace is empty for cluster-scoped kinds.
    fn names(&self) -> (&str, &str);
    /// Tells two objects of one name apart.
    fn uid(&self) -> Option<&str>;
    /// Tells two states of one object apart.
    fn resource_version(&self) -> Option<&str>;
    /// Drops what nobody in this process reads, to save memory.
    fn slim(&mut self);
}

/// What a client accepts, in its headers of that name.
#[derive(Debug, Clone, Copy)]
pub struct Accept {
    /// Of lists.
    pub list: &'static str,
    /// Of watches.
    pub watch: &'static str,
}

impl<K: Object> Cached for K {
    fn names(&self) -> (&str, &str) {
        let metadata = self.meta();
        (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
    }

    fn uid(&self) -> Option<&str> {
        self.meta().uid.as_deref()
    }

    fn resource_version(&self) -> Option<&str> {
        self.meta().resource_version.as_deref()
    }

    /// managedFields are the API server's own and often larger than the rest; an update without them leaves them.
    fn slim(&mut self) {
        self.meta_mut().managed_fields = None;
    }
}

/// Called with each change.
pub type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// By namespace, then by name.
pub type Objects<K> = BTreeMap<String, BTreeMap<String, Arc<K>>>;

/// Objects and handlers. `objects` is locked for lookups and single changes only; `handlers` is held while a change
/// is made and told, so that each handler sees every object once and changes in order.
pub struct Cache<K> {
    objects: RwLock<Objects<K>>,
    handlers: Mutex<Vec<Handler<K>>>,
    indexes: Mutex<HashMap<&'static str, Box<dyn Any + Send>>>,
    synced: watch::Sender<bool>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self {
            objects: RwLock::default(),
            handlers: Mutex::default(),
            indexes: Mutex::default(),
            synced: watch::Sender::new(false),
        }
    }
}

impl<K: Cached> Cache<K> {
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.read().get(namespace)?.get(name).cloned()
    }

    pub fn list(&self, namespace: Option<&str>) -> Vec<Arc<K>> {
        let objects = self.read();
        match namespace {
            Some(namespace) => objects.get(namespace).into_iter().flat_map(BTreeMap::values).cloned().collect(),
            None => objects.values().flat_map(BTreeMap::values).cloned().collect(),
        }
    }

    pub fn on_change(&self, handler: Handler<K>) {
        let mut handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        for object in self.list(None) {
            handler(&Change::Added(object));
        }
        handlers.push(handler);
    }

    pub fn index(&self, name: &'static str, keys: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) -> Index<K> {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = indexes.get(name).and_then(|index| index.downcast_ref::<Index<K>>()) {
            return index.clone();
        }
        let index = Index::default();
        let fill = index.clone();
        self.on_change(Box::new(move |change| fill.update(change, &keys)));
        indexes.insert(name, Box::new(index.clone()));
        index
    }

    pub async fn synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives in this cache, so waiting cannot fail while `self` is borrowed.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Takes in a new or changed object.
    pub fn upsert(&self, object: K) {
        let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        self.put(&handlers, object);
    }

    /// Takes out an object; `object` is its last state.
    pub fn remove(&self, object: K) {
        let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let (namespace, name) = object.names();
        if self.take(namespace, name).is_some() {
            tell(&handlers, &Change::Deleted(Arc::new(object)));
        }
    }

    /// Makes the cache equal to a complete list; tells only what differs.
    pub fn replace(&self, listed: Vec<K>) {
        let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<(String, String)> = {
            let mut kept: HashMap<&str, std::collections::HashSet<&str>> = HashMap::new();
            for object in &listed {
                let (namespace, name) = object.names();
                kept.entry(namespace).or_default().insert(name);
            }
            let objects = self.read();
            let all = objects.iter().flat_map(|(namespace, named)| named.keys().map(move |name| (namespace, name)));
            all.filter(|(namespace, name)| !kept.get(namespace.as_str()).is_some_and(|n| n.contains(name.as_str())))
                .map(|(namespace, name)| (namespace.clone(), name.clone()))
                .collect()
        };
        for (namespace, name) in gone {
            if let Some(object) = self.take(&namespace, &name) {
                tell(&handlers, &Change::Deleted(object));
            }
        }
        for object in listed {
            self.put(&handlers, object);
        }
        drop(handlers);
        self.synced.send_replace(true);
    }

    fn put(&self, handlers: &[Handler<K>], mut object: K) {
        object.slim();
        let object = Arc::new(object);
        let (namespace, name) = object.names();
        let old = {
            let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
            match objects.get_mut(namespace) {
                Some(named) => named.insert(name.to_string(), object.clone()),
                None => objects.entry(namespace.to_string()).or_default().insert(name.to_string(), object.clone()),
            }
        };
        match old {
            None => tell(handlers, &Change::Added(object)),
            Some(old) if old.resource_version() == object.resource_version() => {}
            // Deleted and made anew while nobody looked: two objects, not one that changed.
            Some(old) if old.uid() != object.uid() => {
                tell(handlers, &Change::Deleted(old));
                tell(handlers, &Change::Added(object));
            }
            Some(old) => tell(handlers, &Change::Updated(old, object)),
        }
    }

    fn take(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let named = objects.get_mut(namespace)?;
        let object = named.remove(name);
        if named.is_empty() {
            objects.remove(namespace);
        }
        object
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Objects<K>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell<K>(handlers: &[Handler<K>], change: &Change<K>) {
    for handler in handlers {
        handler(change);
    }
}
