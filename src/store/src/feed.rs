//! Recent events and who waits for them: the bounded ring that watches resume from, and the fan-out.
//!
//! Watchers are found by the prefixes of an event's key, so an event costs as much as there are watchers that want
//! it. Knows no disk.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::{Entry, Error, Event, Watch, WatchItem};

/// What an event costs in memory beside the value: the key, two entries, the reference counts.
const EVENT_OVERHEAD_BYTES: usize = 256;

/// Bounds of the feed.
#[derive(Debug, Clone)]
pub(crate) struct FeedBounds {
    pub(crate) ring_events: usize,
    pub(crate) ring_bytes: usize,
    pub(crate) watch_queue: usize,
    pub(crate) progress_every: Duration,
}

/// The ring and the watchers.
#[derive(Debug)]
pub(crate) struct Feed {
    bounds: FeedBounds,
    ring: VecDeque<(Instant, Arc<Event>)>,
    bytes: usize,
    /// Every event after this revision is in the ring.
    floor: u64,
    revision: u64,
    /// What watchers read to say how far they are; set when an event lies in every queue it belongs to.
    delivered: Arc<AtomicU64>,
    watchers: HashMap<Box<str>, Vec<mpsc::Sender<Arc<Event>>>>,
    /// How many watched prefixes have which length in bytes.
    lengths: BTreeMap<usize, usize>,
    closed: bool,
}

impl Feed {
    pub(crate) fn new(bounds: FeedBounds, revision: u64) -> Self {
        Self {
            bounds,
            ring: VecDeque::new(),
            bytes: 0,
            floor: revision,
            revision,
            delivered: Arc::new(AtomicU64::new(revision)),
            watchers: HashMap::new(),
            lengths: BTreeMap::new(),
            closed: false,
        }
    }

    /// Takes in every event after `floor` up to now; for a feed that has none and that nobody watches yet.
    pub(crate) fn remember(&mut self, floor: u64, events: Vec<Arc<Event>>, now: Instant) {
        self.floor = floor;
        self.publish(events, self.revision, now);
    }

    /// Forgets every event; watches end as if they had been too slow.
    pub(crate) fn replace(&mut self, revision: u64) {
        // Before the revision is set: a watch that reads it finds its queue ended.
        self.watchers.clear();
        self.lengths.clear();
        self.ring.clear();
        (self.bytes, self.floor, self.revision) = (0, revision, revision);
        self.delivered.store(revision, Ordering::Release);
    }

    /// Every event after this revision is in the ring.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// Takes in events in order of revision, up to and including `revision`, and hands them to the watchers. Not every
    /// revision has an event: where several clusters share one etcd, some are those of others.
    pub(crate) fn publish(&mut self, events: Vec<Arc<Event>>, revision: u64, now: Instant) {
        // What etcd lets go together is one revision: who resumes from it must have seen all of it.
        for change in events.chunk_by(|one, next| one.revision == next.revision) {
            for (at, event) in change.iter().enumerate() {
                self.fan_out(event, change.len() - at);
            }
        }
        for event in events {
            self.bytes += cost_bytes(&event);
            self.ring.push_back((now, event));
        }
        while self.ring.len() > self.bounds.ring_events || self.bytes > self.bounds.ring_bytes {
            let Some((_, oldest)) = self.ring.pop_front() else { break };
            self.bytes -= cost_bytes(&oldest);
            self.floor = oldest.revision;
        }
        self.revision = revision;
        self.delivered.store(revision, Ordering::Release);
    }

    /// Hands an event out to who has room for so many.
    fn fan_out(&mut self, event: &Arc<Event>, room: usize) {
        let Some(key) = key_of(event) else { return };
        let mut emptied = Vec::new();
        for length in self.lengths.keys() {
            let Some(prefix) = key.get(..*length) else { continue };
            let Some(senders) = self.watchers.get_mut(prefix) else { continue };
            // A full queue ends its watch: the sender goes, the watcher reads what it has and then `Slow`.
            senders.retain(|sender| sender.capacity() >= room && sender.try_send(event.clone()).is_ok());
            if senders.is_empty() {
                emptied.push(prefix.to_string());
            }
        }
        for prefix in emptied {
            self.forget(&prefix);
        }
    }

    fn forget(&mut self, prefix: &str) {
        self.watchers.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    /// A watch of `prefix` that begins behind `after`.
    pub(crate) fn watch(&mut self, prefix: &str, after: Option<u64>) -> Result<Watcher, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        let after = after.unwrap_or(self.revision);
        if after > self.revision {
            return Err(Error::Future { requested: after, current: self.revision });
        }
        if after < self.floor {
            return Err(Error::Compacted { requested: after, oldest: self.floor });
        }
        let replay = self.after(after).filter(|event| key_of(event).is_some_and(|key| key.starts_with(prefix)));
        let replay: VecDeque<Arc<Event>> = replay.cloned().collect();
        let (sender, receiver) = mpsc::channel(self.bounds.watch_queue);
        self.sweep(prefix);
        if !self.watchers.contains_key(prefix) {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        self.watchers.entry(prefix.into()).or_default().push(sender);
        Ok(Watcher {
            replay,
            receiver,
            delivered: self.delivered.clone(),
            progress_every: self.bounds.progress_every,
            owed: true,
            next_progress: tokio::time::Instant::now() + self.bounds.progress_every,
        })
    }

    /// Drops the watchers of a prefix that are gone, so that prefixes without events do not gather them.
    fn sweep(&mut self, prefix: &str) {
        let Some(senders) = self.watchers.get_mut(prefix) else {
            // A prefix that nobody watches again is found when the table has grown.
            if self.watchers.len().is_power_of_two() {
                let gone: Vec<Box<str>> = self
                    .watchers
                    .iter()
                    .filter(|(_, senders)| senders.iter().all(mpsc::Sender::is_closed))
                    .map(|(prefix, _)| prefix.clone())
                    .collect();
                gone.iter().for_each(|prefix| self.forget(prefix));
            }
            return;
        };
        senders.retain(|sender| !sender.is_closed());
    }

    /// The events behind a revision, oldest first; the caller has compared it with the floor.
    pub(crate) fn after(&self, revision: u64) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let from = self.ring.partition_point(|(_, event)| event.revision <= revision);
        self.ring.range(from..).map(|(_, event)| event)
    }

    /// The oldest revision whose state can be rebuilt from events younger than `age`.
    pub(crate) fn readable_from(&self, age: Duration, now: Instant) -> u64 {
        let young = self.ring.partition_point(|(time, _)| now.saturating_duration_since(*time) >= age);
        young.checked_sub(1).map_or(self.floor, |old| self.ring[old].1.revision)
    }

    /// Ends every watch.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        // Told apart from being cut off as slow by the revision that no store reaches.
        self.delivered.store(CLOSED, Ordering::Release);
        self.watchers.clear();
        self.lengths.clear();
    }
}

const CLOSED: u64 = u64::MAX;

fn key_of(event: &Event) -> Option<&str> {
    event.current.as_ref().or(event.previous.as_ref()).map(|entry| &*entry.key)
}

/// What an event holds on to: both values, since nobody else may hold them any more.
pub(crate) fn cost_bytes(event: &Event) -> usize {
    let value = |entry: &Option<Arc<Entry>>| entry.as_ref().map_or(0, |entry| entry.value.len());
    let key = key_of(event).map_or(0, str::len);
    EVENT_OVERHEAD_BYTES + key + value(&event.current) + value(&event.previous)
}

/// One watch.
#[derive(Debug)]
pub(crate) struct Watcher {
    replay: VecDeque<Arc<Event>>,
    receiver: mpsc::Receiver<Arc<Event>>,
    delivered: Arc<AtomicU64>,
    progress_every: Duration,
    /// Something was yielded that no progress has confirmed yet.
    owed: bool,
    next_progress: tokio::time::Instant,
}

impl Watcher {
    fn event(&mut self, event: Arc<Event>) -> WatchItem {
        self.owed = true;
        WatchItem::Event(event)
    }

    fn progress(&mut self, revision: u64) -> WatchItem {
        self.owed = false;
        self.next_progress = tokio::time::Instant::now() + self.progress_every;
        WatchItem::Progress(revision)
    }
}

#[async_trait::async_trait]
impl Watch for Watcher {
    async fn next(&mut self) -> Result<WatchItem, Error> {
        loop {
            if let Some(item) = self.try_next()? {
                return Ok(item);
            }
            let next = tokio::time::timeout_at(self.next_progress, self.receiver.recv()).await;
            if let Ok(Some(event)) = next {
                return Ok(self.event(event));
            }
        }
    }

    fn try_next(&mut self) -> Result<Option<WatchItem>, Error> {
        if let Some(event) = self.replay.pop_front() {
            return Ok(Some(self.event(event)));
        }
        // Read before the queue: an event up to this revision is in the queue by now or was taken out of it.
        let delivered = self.delivered.load(Ordering::Acquire);
        match self.receiver.try_recv() {
            Ok(event) => return Ok(Some(self.event(event))),
            Err(mpsc::error::TryRecvError::Disconnected) => {
                let closed = self.delivered.load(Ordering::Acquire) == CLOSED;
                return Err(if closed { Error::Closed } else { Error::Slow });
            }
            Err(mpsc::error::TryRecvError::Empty) => {}
        }
        let is_due = self.owed || tokio::time::Instant::now() >= self.next_progress;
        Ok((is_due && delivered != CLOSED).then(|| self.progress(delivered)))
    }
}

#[cfg(test)]
mod tests;
