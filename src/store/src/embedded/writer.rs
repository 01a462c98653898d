//! The one writer: group commit in order of arrival.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Done;
use super::disk::Disk;
use super::scan::Superseded;
use crate::memory::{Memory, View};
use crate::{Entry, Error, Event, Precondition};

/// Most bytes of values in one transaction, so that one fsync stays short.
const BATCH_BYTES: usize = 8 << 20;
/// So many rows that nobody needs are taken out together: one by one, each would cost a page of its own.
const COMPACT_AT: usize = 512;
/// Most rows that one transaction takes out, so that who waits for it hardly notices.
const COMPACT_MAX: usize = 2048;

/// A write that waits.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) operation: Operation,
    pub(super) answer: oneshot::Sender<Result<Done, Error>>,
}

#[derive(Debug)]
pub(super) enum Operation {
    Put { key: Arc<str>, value: Bytes, precondition: Precondition },
    Delete { key: Arc<str>, revision: u64 },
}

impl Operation {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Put { value, .. } => value.len(),
            Self::Delete { .. } => 0,
        }
    }
}

pub(super) struct Writer {
    disk: Disk,
    view: View,
    memory: Arc<Memory>,
    batch_writes: usize,
    /// Rows that go once their events have left the ring, oldest first.
    superseded: VecDeque<Superseded>,
}

impl Writer {
    pub(super) fn new(
        disk: Disk,
        view: View,
        superseded: VecDeque<Superseded>,
        memory: Arc<Memory>,
        batch_writes: usize,
    ) -> Self {
        Self { disk, view, memory, batch_writes, superseded }
    }

    /// Serves requests until every sender is gone, then closes the disk.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            let mut bytes = first.operation.size_bytes();
            let mut batch = vec![first];
            while batch.len() < self.batch_writes && bytes < BATCH_BYTES {
                let Ok(request) = requests.try_recv() else { break };
                bytes += request.operation.size_bytes();
                batch.push(request);
            }
            if !self.commit(batch) {
                tracing::error!("the store on disk is not what was committed; the store stops");
                break;
            }
        }
        self.memory.close();
    }

    /// The rows that the next transaction takes out; none where they are too few to be worth it.
    fn compactable(&self) -> VecDeque<Superseded> {
        let floor = self.memory.floor();
        // The newest row stays: it says which revision the store is at.
        let old = self.superseded.partition_point(|row| row.at <= floor && row.at < self.view.revision);
        // Both rows of a deletion go together, or an event whose previous value is gone would be left.
        let mut count = if old < COMPACT_AT { 0 } else { old.min(COMPACT_MAX) };
        while count > 0 && count < old && self.superseded[count].at == self.superseded[count - 1].at {
            count += 1;
        }
        self.superseded.iter().take(count).copied().collect()
    }

    /// Carries out a batch; answers false where the disk can no longer be trusted to hold what memory shows.
    fn commit(&mut self, batch: Vec<Request>) -> bool {
        let mut view = self.view.clone();
        let mut events = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for Request { operation, answer } in batch {
            answers.push((answer, apply(&mut view, &mut events, operation)));
        }
        if !events.is_empty() {
            let gone = self.compactable();
            if let Err(failure) = self.disk.commit(&events, &gone) {
                let failure = Arc::new(failure);
                tracing::error!(error = %stdx::error::chain(&failure), "a transaction of the store failed");
                for (answer, _) in answers {
                    let source = Box::new(failure.clone());
                    // Whoever no longer waits does not need the answer.
                    let _ = answer.send(Err(Error::Backend { doing: "writing to the store", source }));
                }
                return self.disk.revision().is_ok_and(|revision| revision == self.view.revision);
            }
            self.superseded.drain(..gone.len());
            for event in &events {
                self.superseded.extend(supersedes(event));
            }
            self.view = view.clone();
            self.memory.publish(view, events);
        }
        for (answer, outcome) in answers {
            let _ = answer.send(outcome);
        }
        true
    }
}

/// The rows that `event` makes superfluous once nobody can ask for what was before it.
fn supersedes(event: &Event) -> impl Iterator<Item = Superseded> {
    let at = event.revision;
    let previous = event.previous.as_ref().map(|entry| entry.mod_revision);
    let own = event.current.is_none().then_some(at);
    previous.into_iter().chain(own).map(move |revision| Superseded { at, revision })
}

/// Checks one operation against the state before it and carries it out in memory.
fn apply(view: &mut View, events: &mut Vec<Arc<Event>>, operation: Operation) -> Result<Done, Error> {
    let revision = view.revision + 1;
    let (done, event) = match operation {
        Operation::Put { key, value, precondition } => {
            let previous = view.tree.get(&key).cloned();
            let holds = match (precondition, &previous) {
                (Precondition::Absent, None) => true,
                (Precondition::Revision(expected), Some(entry)) => entry.mod_revision == expected,
                _ => false,
            };
            if !holds {
                return Err(Error::Conflict { current: previous.map(|entry| Entry::clone(&entry)) });
            }
            let create_revision = previous.as_ref().map_or(revision, |entry| entry.create_revision);
            let key = previous.as_ref().map_or(key, |entry| entry.key.clone());
            let entry = Arc::new(Entry { key, value, create_revision, mod_revision: revision });
            view.tree.insert(entry.clone());
            let previous = previous.map(|entry| Entry::clone(&entry));
            (Done::Put(entry.clone()), Event { revision, current: Some(Entry::clone(&entry)), previous })
        }
        Operation::Delete { key, revision: expected } => match view.tree.get(&key).cloned() {
            Some(entry) if entry.mod_revision == expected => {
                view.tree.remove(&key);
                (Done::Deleted(revision), Event { revision, current: None, previous: Some(Entry::clone(&entry)) })
            }
            current => return Err(Error::Conflict { current: current.map(|entry| Entry::clone(&entry)) }),
        },
    };
    view.revision = revision;
    events.push(Arc::new(event));
    Ok(done)
}
