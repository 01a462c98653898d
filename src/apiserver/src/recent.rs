//! What others have answered lately: kept for a while, by a key that says nothing of what was asked.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// Answers by the hash of what was asked.
pub struct Recent<V> {
    /// Keeps the hashes of tokens from being told from outside of the process.
    salt: [u8; 32],
    entries_max: usize,
    entries: Mutex<HashMap<[u8; 32], (Instant, V)>>,
}

impl<V: Clone> Recent<V> {
    /// Keeps at most so many answers.
    pub fn new(entries_max: usize) -> Self {
        Self { salt: rand::random(), entries_max, entries: Mutex::default() }
    }

    /// The answer to a question, where it is not too old.
    pub fn get(&self, question: &[u8]) -> Option<V> {
        let entries = self.lock();
        let (until, answer) = entries.get(&self.key(question))?;
        (Instant::now() < *until).then(|| answer.clone())
    }

    /// Keeps an answer for a while.
    pub fn keep(&self, question: &[u8], answer: V, keep_for: Duration) {
        if keep_for.is_zero() {
            return;
        }
        let key = self.key(question);
        let now = Instant::now();
        let mut entries = self.lock();
        if entries.len() >= self.entries_max {
            entries.retain(|_, (until, _)| now < *until);
        }
        if entries.len() >= self.entries_max {
            // All are fresh: whoever asks for many different things pushes out what would end first.
            let first = entries.iter().min_by_key(|(_, (until, _))| *until).map(|(key, _)| *key);
            first.and_then(|key| entries.remove(&key));
        }
        entries.insert(key, (now + keep_for, answer));
    }

    fn key(&self, question: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.salt).chain_update(question).finalize().into()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], (Instant, V)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_for_their_time_and_up_to_a_number() {
        let recent = Recent::new(2);
        let long = Duration::from_secs(60);
        recent.keep(b"a", 1, long);
        recent.keep(b"b", 2, long * 2);
        recent.keep(b"none", 0, Duration::ZERO);
        assert_eq!((recent.get(b"a"), recent.get(b"b"), recent.get(b"none")), (Some(1), Some(2), None));
        recent.keep(b"c", 3, long);
        assert_eq!((recent.get(b"a"), recent.get(b"b"), recent.get(b"c")), (None, Some(2), Some(3)));
        recent.keep(b"d", 4, Duration::from_nanos(1));
        assert_eq!(recent.get(b"d"), None);
    }
}
