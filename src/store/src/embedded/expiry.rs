//! Which values go by themselves, and when. Time is the store's own: it counts while the store is open, goes on where
//! it was after a restart, and knows nothing of what sets the machine's clock. So nothing goes early, and what is gone
//! late by is the time for which the store was not open.
//!
//! How far that clock is gets noted in the file with other writes, and now and then where there are none: after a
//! crash it is as much behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::Operation;
use crate::lease::{self, Latest};
use crate::tree::Tree;
use crate::{Entry, Event, Lease};

/// Most values that one transaction lets go, so that who waits for it hardly notices.
const AT_ONCE: usize = 512;
/// How old what is noted of the clock may become until a write takes it along: it costs a page.
const NOTE_WITH_WRITES: Duration = Duration::from_secs(10);
/// The same where nobody writes: it costs a transaction.
const NOTE_ALONE: Duration = Duration::from_secs(60);
/// How long a disk is left alone that did not take a transaction of this module's.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The store's clock.
#[derive(Debug, Clone, Copy)]
struct Clock {
    /// What it showed when the store was opened.
    base_ms: u64,
    opened: Instant,
}

impl Clock {
    fn at_ms(&self, now: Instant) -> u64 {
        let open_for = now.saturating_duration_since(self.opened);
        // Rounded down: what it shows has gone by.
        self.base_ms.saturating_add(u64::try_from(open_for.as_millis()).unwrap_or(u64::MAX))
    }

    /// When it will show `at_ms`; `None` where that is beyond what can be waited for.
    fn instant(&self, at_ms: u64) -> Option<Instant> {
        self.opened.checked_add(Duration::from_millis(at_ms.saturating_sub(self.base_ms)))
    }
}

/// What goes by itself.
#[derive(Debug)]
pub(super) struct Expiry {
    clock: Clock,
    latest: Option<Latest>,
    /// Live values by the moment at which they go and the revision that put them.
    expiring: BTreeMap<(Lease, u64), Arc<str>>,
    /// When the clock was noted, or the store was opened.
    noted: Instant,
    /// Nothing is done by itself before.
    not_before: Instant,
}

impl Expiry {
    /// What is in `tree` and goes by itself; the clock goes on at `clock_ms`.
    pub(super) fn new(clock_ms: u64, tree: &Tree, now: Instant) -> Self {
        let mut expiring = BTreeMap::new();
        tree.visit_from(0, &mut |entry| {
            if let Some(lease) = entry.lease {
                expiring.insert((lease, entry.mod_revision), entry.key.clone());
            }
            true
        });
        let clock = Clock { base_ms: clock_ms, opened: now };
        Self { clock, latest: None, expiring, noted: now, not_before: now }
    }

    /// The lease of a value that is to live for `ttl` from now on.
    pub(super) fn lease(&mut self, ttl: Duration, now: Instant) -> Option<Lease> {
        let now_ms = self.clock.at_ms(now);
        if let Some(shared) = self.latest.as_mut().and_then(|latest| latest.share(ttl, now_ms)) {
            return Some(shared);
        }
        // A millisecond more: the one that has begun does not count.
        let ends_ms = now_ms.saturating_add(lease::millis(lease::granted(ttl))).saturating_add(1);
        // Beyond what the file takes, a value stays.
        let lease = Lease::new(ends_ms).filter(|_| i64::try_from(ends_ms).is_ok())?;
        let mut latest = Latest::new(lease, ttl, ends_ms - 1);
        let lease = latest.share(ttl, now_ms);
        self.latest = Some(latest);
        lease
    }

    /// Takes in a change that is durable.
    pub(super) fn take(&mut self, event: &Event) {
        let place = |entry: &Entry| entry.lease.map(|lease| (lease, entry.mod_revision));
        if let Some(before) = event.previous.as_deref().and_then(place) {
            self.expiring.remove(&before);
        }
        if let Some(entry) = &event.current
            && let Some(place) = place(entry)
        {
            self.expiring.insert(place, entry.key.clone());
        }
    }

    /// Deletions of what has lived its time.
    pub(super) fn due(&self, now: Instant) -> Vec<Operation> {
        if now < self.not_before {
            return Vec::new();
        }
        let now_ms = self.clock.at_ms(now);
        let over = self.expiring.iter().take_while(|((lease, _), _)| Lease::number(Some(*lease)) <= now_ms);
        over.take(AT_ONCE)
            .map(|((_, revision), key)| Operation::Delete { key: key.clone(), revision: *revision })
            .collect()
    }

    /// When something is to be done though nobody writes; `None` where nothing goes by itself.
    pub(super) fn next(&self) -> Option<Instant> {
        let ((first, _), _) = self.expiring.first_key_value()?;
        let note = self.noted + NOTE_ALONE;
        let next = self.clock.instant(Lease::number(Some(*first))).map_or(note, |over| over.min(note));
        Some(next.max(self.not_before))
    }

    /// What is to be noted of the clock with the next transaction, which has writes of its own or not.
    pub(super) fn to_note(&self, has_writes: bool, now: Instant) -> Option<u64> {
        let old = now.saturating_duration_since(self.noted);
        let due = old >= if has_writes { NOTE_WITH_WRITES } else { NOTE_ALONE };
        (due && !self.expiring.is_empty()).then(|| self.clock.at_ms(now))
    }

    /// What is to be noted of the clock when the store is closed.
    pub(super) fn to_note_last(&self, now: Instant) -> Option<u64> {
        (!self.expiring.is_empty()).then(|| self.clock.at_ms(now))
    }

    /// The clock was noted.
    pub(super) fn noted(&mut self, now: Instant) {
        self.noted = now;
    }

    /// The disk did not take a transaction.
    pub(super) fn failed(&mut self, now: Instant) {
        self.not_before = now + RETRY_AFTER;
    }
}

#[cfg(test)]
mod tests;
