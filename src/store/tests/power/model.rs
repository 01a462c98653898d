//! What is known of the keys: what was acknowledged, and what may have happened although nobody was told.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use store::Entry;

/// What a key holds, or would hold: the value and, where it is known, the revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub value: Option<Bytes>,
    pub goes: bool,
    pub revision: Option<u64>,
}

/// A write that was not answered, or with a failure.
#[derive(Debug)]
struct Attempt {
    held: Held,
    /// When it was told that it had failed; `None` while nobody was told anything.
    failed: Option<u64>,
}

/// A write that begins.
#[derive(Debug)]
pub struct Begun {
    key: String,
    at: u64,
    newest: u64,
}

/// What is known of the keys.
#[derive(Debug, Default)]
pub struct Model {
    pub acknowledged: BTreeMap<String, Held>,
    attempts: BTreeMap<String, Vec<Attempt>>,
    /// Of every write that was acknowledged.
    revisions: BTreeSet<u64>,
    pub newest: u64,
    pub count: u64,
    /// Writes that were acknowledged after others had been refused, while the store went on.
    pub after_refusals: u64,
    refused: bool,
    clock: u64,
}

impl Model {
    /// Of a store that nothing was ever written to.
    pub fn new() -> Self {
        Self { newest: 1, ..Self::default() }
    }

    /// A write of `key` begins that would make it `held`, and that found `current`: what is served was acknowledged.
    pub fn begin(&mut self, key: String, current: Option<&Entry>, held: Held) -> Begun {
        let known = self.acknowledged.get(&key);
        assert_eq!(
            current.map(|entry| &entry.value),
            known.and_then(|known| known.value.as_ref()),
            "{key} is served as nobody was told that it is"
        );
        self.attempts.entry(key.clone()).or_default().push(Attempt { held, failed: None });
        self.clock += 1;
        Begun { key, at: self.clock, newest: self.newest }
    }

    /// It was acknowledged with `revision`.
    pub fn acknowledge(&mut self, begun: Begun, revision: u64) {
        assert!(revision > begun.newest, "revision {revision} is given after {}", begun.newest);
        assert!(self.revisions.insert(revision), "revision {revision} is given twice");
        let attempt = self.attempts.get_mut(&begun.key).and_then(Vec::pop).expect("has begun");
        // What had failed before has no revision left that it could have had.
        for attempts in self.attempts.values_mut() {
            attempts.retain(|attempt| attempt.failed.is_none_or(|failed| failed > begun.at));
        }
        self.acknowledged.insert(begun.key, Held { revision: Some(revision), ..attempt.held });
        self.newest = self.newest.max(revision);
        self.count += 1;
        self.after_refusals += u64::from(self.refused);
    }

    /// It was told that it had failed: it may have happened or not.
    pub fn refuse(&mut self, begun: &Begun) {
        self.clock += 1;
        self.refused = true;
        let attempt = self.attempts.get_mut(&begun.key).and_then(|attempts| attempts.last_mut());
        attempt.expect("has begun").failed = Some(self.clock);
    }

    /// The store is opened anew and holds `found`: what nobody was told of has happened by now or never will. Answers
    /// how much had.
    pub fn settle(&mut self, found: &BTreeMap<&str, &Entry>) -> u64 {
        let mut surprised = 0;
        self.refused = false;
        for (key, attempts) in std::mem::take(&mut self.attempts) {
            let before = self.acknowledged.get(&key);
            let entry = found.get(&*key);
            let now = entry.map(|entry| &entry.value);
            let is_as_before = match (entry, before.and_then(|before| before.value.as_ref().zip(before.revision))) {
                (Some(entry), Some((value, revision))) => entry.value == *value && entry.mod_revision == revision,
                (None, None) => true,
                _ => false,
            };
            if is_as_before {
                continue;
            }
            if let Some(attempt) = attempts.into_iter().find(|attempt| attempt.held.value.as_ref() == now) {
                surprised += 1;
                let revision = entry.map(|entry| entry.mod_revision);
                assert!(revision.is_none_or(|revision| revision > self.newest), "{key} happened before others");
                self.acknowledged.insert(key, Held { revision, ..attempt.held });
            }
        }
        surprised
    }
}
