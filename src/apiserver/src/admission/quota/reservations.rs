//! What requests on their way to the store take of their namespace: counted from the check until the write is seen
//! or has failed, so that requests at the same instant do not share the last free place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde_json::Value;

/// Reservations of every namespace in which something is being written.
#[derive(Debug, Default)]
pub struct Reservations(Mutex<HashMap<String, Weak<Namespace>>>);

/// Those of one namespace.
#[derive(Debug, Default)]
pub struct Namespace {
    /// Held from counting until reserving: one request at a time.
    pub turn: tokio::sync::Mutex<()>,
    reserved: Mutex<Reserved>,
}

#[derive(Debug, Default)]
struct Reserved {
    last_id: u64,
    /// Resource and object, by number.
    objects: HashMap<u64, (String, Arc<Value>)>,
}

/// One reservation; it ends when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    namespace: Arc<Namespace>,
    id: u64,
}

impl Reservations {
    /// The namespace of that name. It is forgotten with the last request that has it.
    pub fn namespace(&self, name: &str) -> Arc<Namespace> {
        let mut namespaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = namespaces.get(name).and_then(Weak::upgrade) {
            return there;
        }
        namespaces.retain(|_, namespace| namespace.strong_count() > 0);
        let new = Arc::new(Namespace::default());
        namespaces.insert(name.to_string(), Arc::downgrade(&new));
        new
    }
}

impl Namespace {
    /// The objects of a resource (`deployments.apps`) that are being written.
    pub fn objects(&self, resource: &str) -> Vec<Arc<Value>> {
        let reserved = self.lock();
        let of_resource = reserved.objects.values().filter(|(of, _)| of == resource);
        of_resource.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// Counts an object from now on.
    pub fn reserve(self: &Arc<Self>, resource: &str, object: &Value) -> Reservation {
        let mut reserved = self.lock();
        reserved.last_id += 1;
        let id = reserved.last_id;
        reserved.objects.insert(id, (resource.to_string(), Arc::new(object.clone())));
        Reservation { namespace: Arc::clone(self), id }
    }

    fn lock(&self) -> MutexGuard<'_, Reserved> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.namespace.lock().objects.remove(&self.id);
    }
}
