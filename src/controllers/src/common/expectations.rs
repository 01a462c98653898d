//! What a controller has done and not yet seen: until it has, its cache is stale and a decision would be made twice.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::key::Key;

/// After this long an expectation is given up: an event was lost, or a deletion is held up.
pub const EXPIRES_AFTER: Duration = Duration::from_secs(300);

/// Expectations by the key of the object that is worked on. Clones share them.
#[derive(Clone, Default)]
pub struct Expectations(Arc<Mutex<HashMap<Key, Expected>>>);

struct Expected {
    creations: i64,
    deletions: HashSet<String>,
    since: Instant,
}

impl Expectations {
    /// Whether everything that was done has been seen.
    pub fn met(&self, key: &Key) -> bool {
        self.lock().get(key).is_none_or(|expected| {
            (expected.creations <= 0 && expected.deletions.is_empty()) || expected.since.elapsed() > EXPIRES_AFTER
        })
    }

    /// Begins anew: `creations` are about to be made, and the objects of these uids about to be deleted.
    pub fn expect(&self, key: &Key, creations: usize, deletions: impl IntoIterator<Item = String>) {
        let expected = Expected {
            creations: i64::try_from(creations).unwrap_or(i64::MAX),
            deletions: deletions.into_iter().collect(),
            since: Instant::now(),
        };
        self.lock().insert(key.clone(), expected);
    }

    /// A creation was seen, or failed.
    pub fn created(&self, key: &Key) {
        self.creations_less(key, 1);
    }

    /// Some creations will not be made.
    pub fn creations_less(&self, key: &Key, count: usize) {
        if let Some(expected) = self.lock().get_mut(key) {
            expected.creations -= i64::try_from(count).unwrap_or(i64::MAX);
        }
    }

    /// A deletion was seen, or failed.
    pub fn deleted(&self, key: &Key, uid: &str) {
        if let Some(expected) = self.lock().get_mut(key) {
            expected.deletions.remove(uid);
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Expected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn met_once_every_creation_and_deletion_was_seen() {
        let (expectations, key) = (Expectations::default(), Key::new("n", "a"));
        assert!(expectations.met(&key));
        expectations.expect(&key, 2, ["x".to_string()]);
        expectations.created(&key);
        expectations.deleted(&key, "x");
        assert!(!expectations.met(&key));
        expectations.created(&key);
        assert!(expectations.met(&key));
        expectations.created(&key);
        expectations.expect(&key, 1, []);
        assert!(!expectations.met(&key), "what came unasked is not credited");
    }
}
