//! How long a container that keeps ending waits for its next run: 10 s, doubling up to 5 minutes, forgotten after 10.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::observed::Instance;

/// The first wait.
pub const INITIAL: SignedDuration = SignedDuration::from_secs(10);
/// The longest wait.
pub const CEILING: SignedDuration = SignedDuration::from_secs(300);
/// From the first wait to the longest.
const DOUBLINGS_MAX: u32 = 5;
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

    /// Takes up a wait that was begun at `updated`, before this agent was started.
    pub fn restore(&mut self, key: &str, delay: SignedDuration, updated: Timestamp) {
        self.entries.insert(key.to_string(), Entry { delay: delay.min(self.ceiling), updated });
    }

    /// Forgets `key` after a success.
    pub fn clear(&mut self, key: &str) {
        self.entries.remove(key);
    }
}

/// The wait that the run after `latest` has to keep, read off the runs themselves: what was remembered of it went with
/// the agent that made them. `None` after a first run.
///
/// The restart count gives the most it can be, since a long run in between starts from the beginning. How long `latest`
/// itself was waited for shows where the run before it is still there; an agent that was away meanwhile makes that
/// longer than it was. Neither is too short, so the shorter one holds.
pub fn recalled(latest: &Instance, previous: Option<&Instance>) -> Option<SignedDuration> {
    let restarts = latest.restart_count.checked_sub(1)?;
    let by_count = (0..restarts.min(DOUBLINGS_MAX)).fold(INITIAL, |delay, _| (delay * 2).min(CEILING));
    let created = Timestamp::from_nanosecond(i128::from(latest.created_at_ns)).ok();
    let waited =
        previous.and_then(Instance::finished_at).zip(created).map(|(ended, begun)| begun.duration_since(ended));
    let by_wait = waited.map(|waited| {
        let mut delay = INITIAL;
        while delay <= waited && delay < CEILING {
            delay = (delay * 2).min(CEILING);
        }
        delay
    });
    Some(by_wait.map_or(by_count, |by_wait| by_wait.min(by_count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_agent_reads_the_wait_off_the_runs() {
        let run = |restart_count, created: i64, finished: i64| Instance {
            restart_count,
            created_at_ns: created * 1_000_000_000,
            finished_at_ns: finished * 1_000_000_000,
            ..Default::default()
        };
        // Restarts; when the run before ended and this one was made; the wait in seconds.
        let cases = [
            (0, None, None),
            (1, Some((5, 5)), Some(10)),
            (2, Some((5, 15)), Some(20)),
            (4, Some((100, 141)), Some(80)),
            (9, Some((100, 401)), Some(300)),
            // A long run came between the crashes.
            (40, Some((1000, 1001)), Some(10)),
            // The agent was away between the runs.
            (1, Some((1000, 5000)), Some(10)),
            // The run before has been removed.
            (3, None, Some(40)),
            (4_000_000, None, Some(300)),
        ];
        for (restarts, gap, wanted) in cases {
            let previous = gap.map(|(ended, _)| run(restarts - 1, 0, ended));
            let latest = run(restarts, gap.map_or(7, |(_, made)| made), 0);
            let found = recalled(&latest, previous.as_ref()).map(|delay| delay.as_secs());
            assert_eq!(found, wanted, "{restarts} {gap:?}");
        }
    }

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
