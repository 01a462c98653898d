//! The definitions in the store and what is served of them. [`Customs::refresh`] reads the store (which is memory) and
//! puts a new [`Served`] in place; it is called for every change that is seen, and by a write of a definition before
//! it is answered, so that who writes one finds it served.
//!
//! What a definition's status should say is decided by [`conditions`], written by [`keeper`], and the objects of one
//! that is deleted are removed by [`cleanup`].

mod cleanup;
mod conditions;
mod keeper;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use machinery::meta;
use serde_json::Value;
use store::{RangeOptions, Store};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::live;
use crate::served::{Definition, Served};
use crate::status::Result;
use crate::storage;

pub use keeper::start;

/// The group of definitions, and their plural.
pub const GROUP: &str = "apiextensions.k8s.io";
/// See [`GROUP`].
pub const PLURAL: &str = "customresourcedefinitions";
/// Keeps a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What is known of the definitions, and what is served of them.
#[derive(Default)]
pub struct Customs {
    served: watch::Sender<Arc<Served>>,
    known: Mutex<Known>,
}

/// What was read before: definitions are large and few of them change.
#[derive(Default)]
struct Known {
    /// By key, with the revision that was read.
    objects: BTreeMap<String, (u64, Arc<Value>)>,
    /// By stamp.
    definitions: HashMap<String, Arc<Definition>>,
}

impl Customs {
    /// What is served now.
    pub fn served(&self) -> Arc<Served> {
        self.served.borrow().clone()
    }

    /// Tells whenever something else is served.
    pub fn changes(&self) -> watch::Receiver<Arc<Served>> {
        self.served.subscribe()
    }

    /// Serves what the store says, and answers the definitions with the status that each should have.
    ///
    /// # Errors
    /// The store's.
    pub async fn refresh(&self, store: &dyn Store) -> Result<Vec<(Arc<Value>, Value)>> {
        let mut known = self.known.lock().await;
        let range = store.range(&live::prefix(GROUP, PLURAL, ""), RangeOptions::default()).await;
        let mut objects = BTreeMap::new();
        for entry in range.map_err(storage::failure)?.entries {
            let key = entry.key.to_string();
            let kept = known.objects.get(&key).filter(|(revision, _)| *revision == entry.mod_revision);
            let object = match kept {
                Some((_, object)) => object.clone(),
                None => Arc::new(live::decode(&entry)?),
            };
            objects.insert(key, (entry.mod_revision, object));
        }
        known.objects = objects;
        let objects: Vec<Arc<Value>> = known.objects.values().map(|(_, object)| object.clone()).collect();
        let judged = conditions::judge(&objects, jiff::Timestamp::now());
        let wanted: Vec<(Arc<Value>, Value)> = objects.into_iter().zip(judged).collect();
        self.serve(&mut known, &wanted);
        Ok(wanted)
    }

    fn serve(&self, known: &mut Known, wanted: &[(Arc<Value>, Value)]) {
        let mut definitions = HashMap::new();
        let mut terminating = HashSet::new();
        for (object, status) in wanted.iter().filter(|(_, status)| conditions::is_true(status, "Established")) {
            if meta::is_terminating(object) {
                terminating.insert(meta::uid(object).to_string());
            }
            let stamp = stamp(object, status);
            let kept = known.definitions.get(&stamp).cloned();
            let definition = kept.unwrap_or_else(|| Arc::new(defined(object, status, stamp.clone())));
            definitions.insert(stamp, definition);
        }
        let old = std::mem::replace(&mut known.definitions, definitions);
        let is_new = old.len() != known.definitions.len()
            || known.definitions.keys().any(|stamp| !old.contains_key(stamp))
            || self.served().has_terminating() != terminating;
        if is_new {
            let served = Served::new(known.definitions.values().cloned().collect(), terminating);
            self.served.send_replace(Arc::new(served));
        }
        old.iter().filter(|(stamp, _)| !known.definitions.contains_key(*stamp)).for_each(|(_, one)| one.ended.cancel());
    }
}

fn stamp(object: &Value, status: &Value) -> String {
    format!("{}/{}/{}", meta::uid(object), meta::generation(object), status["acceptedNames"])
}

fn defined(object: &Value, status: &Value, stamp: String) -> Definition {
    let mut accepted = object.clone();
    accepted["status"] = status.clone();
    let resources = api::custom::resources(&accepted).into_iter().map(Arc::new).collect();
    Definition { stamp, resources, ended: CancellationToken::new() }
}
