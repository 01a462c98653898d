//! Objects of an informer by a computed key: pods by node, by owner.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::Change;
use super::cache::Cached;

type Name = (String, String);
type Entries<K> = HashMap<String, BTreeMap<Name, Arc<K>>>;

/// Objects by key. Clones share the index.
pub struct Index<K>(Arc<RwLock<Entries<K>>>);

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Cached> Index<K> {
    /// The objects under a key, by namespace and name.
    pub fn get(&self, key: &str) -> Vec<Arc<K>> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// How many objects are under a key.
    pub fn count(&self, key: &str) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).map_or(0, BTreeMap::len)
    }

    /// Every key that has objects.
    pub fn keys(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    pub(super) fn update(&self, change: &Change<K>, keys: &impl Fn(&K) -> Vec<String>) {
        let (old, new) = match change {
            Change::Added(new) => (None, Some(new)),
            Change::Updated(old, new) => (Some(old), Some(new)),
            Change::Deleted(old) => (Some(old), None),
        };
        let name = |object: &K| {
            let (namespace, name) = object.names();
            (namespace.to_string(), name.to_string())
        };
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = old {
            for key in keys(old) {
                if let Some(objects) = entries.get_mut(&key) {
                    objects.remove(&name(old));
                    if objects.is_empty() {
                        entries.remove(&key);
                    }
                }
            }
        }
        if let Some(new) = new {
            for key in keys(new) {
                entries.entry(key).or_default().insert(name(new), new.clone());
            }
        }
    }
}
