//! One watch for each object that pods of this node refer to, as long as any of them does.
//!
//! Single objects are all that the Node authorizer shows an agent. The watches share the agent's one connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use client::informer::{Informer, Informers};
use kube::core::NamespaceResourceScope;

use super::Changed;

/// A connection carries a bounded number of requests, and everything else of the agent shares it: what is referred to
/// beyond this is read each time instead of watched.
const WATCHES_MAX: usize = 400;

/// The watches of one kind.
pub struct Watches<K> {
    informers: Informers,
    entries: Mutex<HashMap<(String, String), Entry<K>>>,
}

struct Entry<K> {
    informer: Informer<K>,
    listeners: Listeners,
}

/// Who is told of a change, by the pod's UID.
type Listeners = Arc<Mutex<HashMap<String, Changed>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl<K> Watches<K>
where
    K: client::informer::Object + kube::Resource<Scope = NamespaceResourceScope>,
{
    /// None yet.
    pub fn new(informers: Informers) -> Self {
        Self { informers, entries: Mutex::default() }
    }

    /// A pod refers to an object from now on; `changed` is called with each change of it.
    pub fn add(&self, namespace: &str, name: &str, uid: &str, changed: &Changed) {
        let mut entries = lock(&self.entries);
        let key = (namespace.to_string(), name.to_string());
        if let Some(entry) = entries.get(&key) {
            lock(&entry.listeners).insert(uid.to_string(), changed.clone());
            return;
        }
        if entries.len() >= WATCHES_MAX {
            return;
        }
        let listeners: Listeners = Arc::new(Mutex::new(HashMap::from([(uid.to_string(), changed.clone())])));
        let informer = self.informers.one::<K>(namespace, name);
        let told = listeners.clone();
        informer.on_change(move |_| {
            let listeners: Vec<Changed> = lock(&told).values().cloned().collect();
            listeners.iter().for_each(|changed| changed());
        });
        entries.insert(key, Entry { informer, listeners });
    }

    /// A pod refers to an object no more.
    pub fn remove(&self, namespace: &str, name: &str, uid: &str) {
        let mut entries = lock(&self.entries);
        let key = (namespace.to_string(), name.to_string());
        let Some(entry) = entries.get(&key) else { return };
        let mut listeners = lock(&entry.listeners);
        listeners.remove(uid);
        let unused = listeners.is_empty();
        drop(listeners);
        if unused {
            entries.remove(&key);
            self.informers.forget_one::<K>(namespace, name);
        }
    }

    /// What is watched of an object; `None` where it is not watched.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Informer<K>> {
        let entries = lock(&self.entries);
        entries.get(&(namespace.to_string(), name.to_string())).map(|entry| entry.informer.clone())
    }
}
