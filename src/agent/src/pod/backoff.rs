//! How long a container that keeps ending waits for its next run: 10 s, doubling up to 5 minutes, forgotten after 10.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

/// The first wait.
pub const INITIAL: SignedDuration = SignedDuration::from_secs(10);
/// The longest wait.
pub const CEILING: SignedDuration = SignedDuration::from_secs(300);
/// A container that ran this long starts from the beginning.
pub const RESET_AFTER: SignedDuration = SignedDuration::from_secs(600);

/// The waits of one pod's containers (or images).
#[derive(Debug, Clone)]
pub struct Backoffs {
    initial: SignedDuration,
    ceiling: SignedDuration,
    entries: HashMap<String, Entry>,
}

impl Default for Backoffs {
    fn default() -> Self {
        Self::new(INITIAL, CEILING)
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    delay: SignedDuration,
    updated: Timestamp,
}

impl Backoffs {
    /// Waits between these bounds.
    pub fn new(initial: SignedDuration, ceiling: SignedDuration) -> Self {
        Self { initial, ceiling, entries: HashMap::new() }
    }

    /// How much of the wait is left for `key` whose last failure was at `failed`; `None` where it may go on.
    pub fn remaining(&self, key: &str, failed: Timestamp, now: Timestamp) -> Option<SignedDuration> {
        let entry = self.entries.get(key)?;
        if failed.duration_since(entry.updated) > RESET_AFTER {
            return None;
        }
        let left = entry.delay - now.duration_since(failed);
        (left > SignedDuration::ZERO).then_some(left)
    }

    /// The wait of `key` as it stands; for messages.
    pub fn delay(&self, key: &str) -> SignedDuration {
        self.entries.get(key).map_or(self.initial, |entry| entry.delay)
    }

    /// Notes an attempt at `now` after a failure at `failed`: the next wait is twice the last.
    pub fn next(&mut self, key: &str, failed: Timestamp, now: Timestamp) {
        let delay = match self.entries.get(key) {
            Some(entry) if failed.duration_since(entry.updated) <= RESET_AFTER => (entry.delay * 2).min(self.ceiling),
            _ => self.initial,
        };
        self.entries.insert(key.to_string(), Entry { delay, updated: now });
    }

    /// Forgets `key` after a success.
    pub fn clear(&mut self, key: &str) {
        self.entries.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_wait_twice_as_long_each() {
        let mut backoffs = Backoffs::default();
        assert_eq!(backoffs.remaining("web", at(0), at(0)), None);
        let mut waits = Vec::new();
        let mut now = 0;
        for _ in 0..7 {
            backoffs.next("web", at(now), at(now));
            let left = backoffs.remaining("web", at(now), at(now)).unwrap();
            waits.push(left.as_secs());
            now += left.as_secs();
            assert_eq!(backoffs.remaining("web", at(now - left.as_secs()), at(now)), None);
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_long_run_forgets_the_past() {
        let mut backoffs = Backoffs::default();
        backoffs.next("web", at(0), at(0));
        backoffs.next("web", at(10), at(10));
        assert_eq!(backoffs.remaining("web", at(700), at(700)), None);
        backoffs.next("web", at(700), at(700));
        assert_eq!(backoffs.delay("web"), INITIAL);
    }
}
