//! Objects that many watches want in the same version at about the same time: their webhook is asked once for all of
//! them. What it has made is kept for a short while, for those that come to it later.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use machinery::meta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::Entry;

use crate::flight::Flights;
use crate::served::Held;
use crate::state::State;
use crate::status::{Result, Status};
use crate::storage;

/// So many questions for watches are open at a time.
const QUESTIONS_MAX: usize = 16;
/// A watch that waits longer for its question ends, and its client comes again.
const WAIT_AT_MOST: Duration = Duration::from_secs(30);
/// What is kept of what was made, in bytes of JSON: a webhook may make much of little.
const KEPT_BYTES_MAX: usize = 8 << 20;

type Made = std::result::Result<Arc<Value>, Status>;
type Key = [u8; 32];

/// What was made lately, and what is being made.
pub struct Shared {
    flights: Flights<Made>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    made: HashMap<Key, (Arc<Value>, usize)>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl Kept {
    fn keep(&mut self, key: Key, made: Arc<Value>) {
        let bytes = storage::size(&made);
        if self.made.insert(key, (made, bytes)).is_none() {
            self.order.push_back(key);
            self.bytes += bytes;
        }
        while self.bytes > KEPT_BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.made.remove(&oldest).map_or(0, |(_, bytes)| bytes);
        }
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self { flights: Flights::new(QUESTIONS_MAX), kept: Mutex::default() }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stored object as the resource has it, `revision` being its resourceVersion.
    ///
    /// # Errors
    /// See [`super::to_served`]; 503 where too many others are asked for.
    pub async fn to_served(state: &Arc<State>, resource: &Held, entry: &Entry, revision: u64) -> Result<Value> {
        let own = &state.conversions;
        let question = question(resource, entry);
        let key: Key = Sha256::digest(&question).into();
        let known = own.lock().made.get(&key).map(|(made, _)| made.clone());
        let made = match known {
            Some(known) => known,
            None => {
                let (state, resource, entry) = (state.clone(), resource.clone(), entry.clone());
                let work = async move {
                    let stored = storage::decode(&entry)?;
                    let made = Arc::new(super::one_to_served(&state.caller, &resource, stored).await?);
                    state.conversions.lock().keep(key, made.clone());
                    Ok(made)
                };
                let made = own.flights.ask(&question, WAIT_AT_MOST, work).await;
                made.unwrap_or_else(|| Err(Status::new(503, "ServiceUnavailable", "too many objects are converted")))?
            }
        };
        let mut object = Value::clone(&made);
        meta::set_resource_version(&mut object, &revision.to_string());
        Ok(object)
    }
}

/// What tells one question from all others: the object at its revision, the version wanted, and who is asked.
fn question(resource: &Held, entry: &Entry) -> Vec<u8> {
    let who = super::webhook(resource).map(|own| json!([own.client_config, own.review_versions]));
    json!([&*entry.key, entry.mod_revision, resource.group_version.to_string(), who]).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_kept_up_to_so_many_bytes() {
        let mut kept = Kept::default();
        let part = KEPT_BYTES_MAX / 4;
        let made = Arc::new(Value::from("x".repeat(part - 2)));
        for number in 0..10 {
            kept.keep([number; 32], made.clone());
            kept.keep([number; 32], made.clone());
        }
        assert_eq!((kept.bytes, kept.order.len(), kept.made.len()), (4 * part, 4, 4));
        assert!(kept.made.contains_key(&[9; 32]) && !kept.made.contains_key(&[5; 32]));
        // What alone is too much is not kept, whatever it was made of.
        kept.keep([10; 32], Arc::new(Value::from("x".repeat(KEPT_BYTES_MAX))));
        assert_eq!((kept.bytes, kept.made.len()), (0, 0));
    }
}
