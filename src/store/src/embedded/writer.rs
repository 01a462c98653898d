//! One transaction: every write of a batch is checked against the newest state in order, all that hold are committed
//! durably together, published, and only then answered.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::Done;
use super::disk::Disk;
use super::expiry::Expiry;
use super::queue::{Answer, Operation, Request};
use super::row::Row;
use super::scan::Superseded;
use crate::encryption::Encryption;
use crate::memory::Memory;
use crate::tree::Tree;
use crate::{Entry, Error, Event, Lease, Precondition};

/// So many rows that nobody needs are taken out together: one by one, each would cost a page of its own.
const COMPACT_AT: usize = 512;
/// Most rows that one transaction takes out, so that who waits for it hardly notices.
const COMPACT_MAX: usize = 2048;
/// SQLite takes a thousand million bytes for a value; with room for its encryption.
const VALUE_BYTES_MAX: usize = 999_000_000;

pub(super) struct Writer {
    disk: Disk,
    /// Of the last commit, which memory shows.
    revision: u64,
    memory: Arc<Memory>,
    encryption: Arc<Encryption>,
    /// Rows that go once their events have left the ring, oldest first.
    superseded: VecDeque<Superseded>,
    expiry: Expiry,
    /// The disk did not take the last transaction.
    refused: bool,
}

/// What came of a batch.
pub(super) struct Outcome {
    pub(super) answers: Vec<Answer>,
    /// Whether the disk can be trusted to hold what memory shows.
    pub(super) sound: bool,
}

/// A batch as it will be: what is published stays as it is until all is durable.
struct Batch<'a> {
    published: &'a Tree,
    /// What the batch has made of its keys so far; `None` where it has deleted them.
    changed: HashMap<Arc<str>, Option<Arc<Entry>>>,
    revision: u64,
    encryption: &'a Encryption,
    expiry: &'a mut Expiry,
    now: Instant,
    events: Vec<Arc<Event>>,
    rows: Vec<Row>,
}

impl Writer {
    pub(super) fn new(
        disk: Disk,
        revision: u64,
        superseded: VecDeque<Superseded>,
        memory: Arc<Memory>,
        encryption: Arc<Encryption>,
        expiry: Expiry,
    ) -> Self {
        Self { disk, revision, memory, encryption, superseded, expiry, refused: false }
    }

    /// How many rows the next transaction takes out; none where they are too few to be worth it.
    fn compactable(&self) -> usize {
        if self.superseded.len() < COMPACT_AT {
            return 0;
        }
        let floor = self.memory.floor();
        // The newest row stays: it says which revision the store is at.
        let old = self.superseded.partition_point(|row| row.at <= floor && row.at < self.revision);
        // Both rows of a deletion go together, or an event whose previous value is gone would be left.
        let mut count = if old < COMPACT_AT { 0 } else { old.min(COMPACT_MAX) };
        while count > 0 && count < old && self.superseded[count].at == self.superseded[count - 1].at {
            count += 1;
        }
        count
    }

    /// Carries out a batch.
    pub(super) fn commit(&mut self, batch: Vec<Request>) -> Outcome {
        let now = Instant::now();
        let (mut answers, events, rows) = self.check(batch, now);
        let clock_ms = self.expiry.to_note(!events.is_empty(), now);
        // Who asks whether the store writes is not told so before it has written again.
        if events.is_empty() && clock_ms.is_none() && !self.refused {
            return Outcome { answers, sound: true };
        }
        let gone = self.compactable();
        if let Err(failure) = self.disk.commit(&rows, self.superseded.iter().take(gone), clock_ms) {
            self.expiry.failed(now);
            self.refused = true;
            let failure = Arc::new(failure);
            tracing::error!(error = %stdx::error::chain(&failure), "a transaction of the store failed");
            for (_, outcome) in &mut answers {
                let source = Box::new(Refused(failure.clone()));
                *outcome = Err(Error::Backend { doing: "writing to the store", source });
            }
            return Outcome { answers, sound: self.disk.is_at(self.revision) };
        }
        self.refused = false;
        self.superseded.drain(..gone);
        for event in &events {
            self.superseded.extend(supersedes(event));
            self.expiry.take(event);
        }
        if clock_ms.is_some() {
            self.expiry.noted(now);
        }
        self.revision += events.len() as u64;
        self.memory.publish(events);
        Outcome { answers, sound: true }
    }

    /// Does what makes later transactions and the next start cheap; answers whether the disk can be trusted as before.
    pub(super) fn tidy(&mut self) -> bool {
        let Err(failure) = self.disk.checkpoint() else { return true };
        tracing::error!(error = %stdx::error::chain(&failure), "the store's log grows and cannot be put in its place");
        false
    }

    /// Deletions of what has lived its time, as many as one transaction takes.
    pub(super) fn due(&self) -> Vec<Operation> {
        self.expiry.due(Instant::now())
    }

    /// When something is to be done though nobody writes.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.expiry.next()
    }

    /// Closes the file; with it is noted how long it was open.
    pub(super) fn close(mut self) {
        let Some(clock_ms) = self.expiry.to_note_last(Instant::now()) else { return };
        if let Err(error) = self.disk.commit(&[], std::iter::empty(), Some(clock_ms)) {
            tracing::warn!(
                error = %stdx::error::chain(&error),
                "values that go by themselves may stay up to a minute longer: the time was not noted"
            );
        }
    }

    /// Carries a batch out against what is published: the answers if it becomes durable, the events and their rows.
    fn check(&mut self, batch: Vec<Request>, now: Instant) -> (Vec<Answer>, Vec<Arc<Event>>, Vec<Row>) {
        let count = batch.len();
        let Self { memory, revision, encryption, expiry, .. } = self;
        memory.read(|view| {
            let mut done = Batch {
                published: &view.tree,
                changed: HashMap::with_capacity(count),
                revision: *revision,
                encryption,
                expiry,
                now,
                events: Vec::with_capacity(count),
                rows: Vec::with_capacity(count),
            };
            let mut answers = Vec::with_capacity(count);
            for Request { operation, reply } in batch {
                let outcome = done.apply(operation);
                answers.extend(reply.map(|reply| (reply, outcome)));
            }
            (answers, done.events, done.rows)
        })
    }
}

/// The rows that `event` makes superfluous once nobody can ask for what was before it.
fn supersedes(event: &Event) -> impl Iterator<Item = Superseded> {
    let at = event.revision;
    let previous = event.previous.as_ref().map(|entry| entry.mod_revision);
    let own = event.current.is_none().then_some(at);
    previous.into_iter().chain(own).map(move |revision| Superseded { at, revision })
}

/// What a write is answered that the disk did not take.
#[derive(Debug, thiserror::Error)]
#[error(
    "the disk did not take it; what was acknowledged before is kept, and writes are taken again as soon as the disk takes \
     them: look for room on it and for its errors in the kernel's log"
)]
struct Refused(#[source] Arc<rusqlite::Error>);

/// SQLite would refuse it, and every other write of the transaction with it.
#[derive(Debug, thiserror::Error)]
#[error("the value of {key} has {size_bytes} bytes, the store takes up to {VALUE_BYTES_MAX}")]
struct TooLarge {
    key: Arc<str>,
    size_bytes: usize,
}

impl Batch<'_> {
    /// What a key holds after the writes of the batch so far.
    fn current(&self, key: &str) -> Option<&Arc<Entry>> {
        // Most batches of one are looked up in one place.
        match self.changed.is_empty() {
            true => self.published.get(key),
            false => self.changed.get(key).map_or_else(|| self.published.get(key), Option::as_ref),
        }
    }

    /// Checks one operation against the state before it and carries it out in memory.
    fn apply(&mut self, operation: Operation) -> Result<Done, Error> {
        let revision = self.revision + 1;
        let (done, event, kept) = match operation {
            Operation::Put { key, value, precondition, ttl } => {
                let doing = "writing to the store";
                let size_bytes = value.len();
                if size_bytes > VALUE_BYTES_MAX {
                    return Err(Error::Backend { doing, source: TooLarge { key, size_bytes }.into() });
                }
                let previous = self.current(&key).cloned();
                let holds = match (precondition, &previous) {
                    (Precondition::Absent, None) => true,
                    (Precondition::Revision(expected), Some(entry)) => entry.mod_revision == expected,
                    _ => false,
                };
                if !holds {
                    return Err(Error::Conflict { current: previous.map(|entry| Entry::clone(&entry)) });
                }
                let kept = self.encryption.seal(&key, &value);
                let kept = kept.map_err(|error| Error::Backend { doing, source: error.into() })?;
                let create_revision = previous.as_ref().map_or(revision, |entry| entry.create_revision);
                let key = previous.as_ref().map_or(key, |entry| entry.key.clone());
                let lease = ttl.and_then(|ttl| self.expiry.lease(ttl, self.now));
                let entry = Arc::new(Entry { key, value, create_revision, mod_revision: revision, lease });
                self.changed.insert(entry.key.clone(), Some(entry.clone()));
                let event = Event { revision, current: Some(entry.clone()), previous };
                let (key, lease) = (entry.key.clone(), Lease::number(lease));
                let row = Row { revision, key, value: Some(kept), create_revision, lease };
                (Done::Put(entry), event, row)
            }
            Operation::Delete { key, revision: expected } => match self.current(&key).cloned() {
                Some(entry) if entry.mod_revision == expected => {
                    self.changed.insert(entry.key.clone(), None);
                    let event = Event { revision, current: None, previous: Some(entry.clone()) };
                    let row = Row { revision, key: entry.key.clone(), value: None, create_revision: 0, lease: 0 };
                    (Done::Deleted(revision), event, row)
                }
                current => return Err(Error::Conflict { current: current.map(|entry| Entry::clone(&entry)) }),
            },
        };
        self.revision = revision;
        self.events.push(Arc::new(event));
        self.rows.push(kept);
        Ok(done)
    }
}
