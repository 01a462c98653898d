//! The one writer: group commit in order of arrival.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Done;
use super::disk::Disk;
use crate::memory::{Memory, View};
use crate::{Entry, Error, Event, Precondition};

/// Most bytes of values in one transaction, so that one fsync stays short.
const BATCH_BYTES: usize = 8 << 20;

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
}

impl Writer {
    pub(super) fn new(disk: Disk, view: View, memory: Arc<Memory>, batch_writes: usize) -> Self {
        Self { disk, view, memory, batch_writes }
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

    /// Carries out a batch; answers false where the disk can no longer be trusted to hold what memory shows.
    fn commit(&mut self, batch: Vec<Request>) -> bool {
        let mut view = self.view.clone();
        let mut events = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for Request { operation, answer } in batch {
            answers.push((answer, apply(&mut view, &mut events, operation)));
        }
        if !events.is_empty() {
            if let Err(failure) = self.disk.commit(&events, view.revision) {
                let failure = Arc::new(failure);
                tracing::error!(error = %stdx::error::chain(&failure), "a transaction of the store failed");
                for (answer, _) in answers {
                    let source = Box::new(failure.clone());
                    // Whoever no longer waits does not need the answer.
                    let _ = answer.send(Err(Error::Backend { doing: "writing to the store", source }));
                }
                return self.disk.revision().is_ok_and(|revision| revision == self.view.revision);
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
