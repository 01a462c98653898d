//! The store of one control-plane host: everything live in memory, SQLite as the log of record.
//!
//! Reads never touch the disk. Recent events are kept on disk too, so that watches go on where they were when the
//! server is started again. One at a time writes: every write that waits is checked against the newest state in
//! order, all are committed in one durable transaction, published, and only then answered. What has lived its time is
//! deleted in the same way, by the thread that writes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;

use crate::encryption::Encryption;
use crate::feed::FeedBounds;
use crate::memory::Memory;
use crate::{Entry, Error, Precondition, Range, RangeOptions, Store, Watch};

mod disk;
mod expiry;
mod files;
mod gather;
mod layout;
mod made_up;
mod maintain;
mod queue;
mod rewrite;
mod row;
mod scan;
mod writer;

pub(crate) use made_up::read as read_made_up;
pub use maintain::{Check, Restored, backup, check, restore};
use queue::{Operation, Queue};

/// Bounds of the embedded store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most recent events that watches can resume from.
    pub ring_events: usize,
    /// Most memory for recent events, in bytes of keys and values.
    pub ring_bytes: usize,
    /// How long a list at an earlier revision stays answerable, as far as the ring reaches.
    pub history: Duration,
    /// Most events that wait for one watcher before it is cut off.
    pub watch_queue: usize,
    /// The longest silence of a watch.
    pub progress_every: Duration,
    /// Most writes that wait for the writer; more wait outside.
    pub write_queue: usize,
    /// Most writes of one transaction.
    pub batch_writes: usize,
    /// How much of SQLite's write-ahead log is gathered before its pages are put in their place, in bytes: each time
    /// costs two syncs, and reading the log again at the start costs a moment for each page.
    pub log_bytes: u64,
    /// How values are kept on disk.
    pub encryption: Arc<Encryption>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // About a minute of a thousand writes a second.
            ring_events: 65_536,
            ring_bytes: 64 << 20,
            // What Kubernetes' clients are used to from etcd's compaction.
            history: Duration::from_secs(300),
            // A burst of one full transaction several times over.
            watch_queue: 4096,
            progress_every: Duration::from_secs(3),
            write_queue: 4096,
            batch_writes: 1024,
            log_bytes: 16 << 20,
            encryption: Arc::default(),
        }
    }
}

/// The embedded store.
#[derive(Debug)]
pub struct Embedded {
    memory: Arc<Memory>,
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Embedded {
    /// Opens the store at `path`, and makes it where there is none. One process at a time holds it, by a lock on
    /// `PATH.lock`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the file is damaged; [`Error::Backend`] where it cannot be opened, was written by a
    /// newer version or is held by another process.
    pub fn open(path: &Path, options: Options) -> Result<Arc<Self>, Error> {
        let bounds = FeedBounds {
            ring_events: options.ring_events,
            ring_bytes: options.ring_bytes,
            watch_queue: options.watch_queue.max(1),
            progress_every: options.progress_every,
        };
        let (disk, log) = disk::Disk::open(path, &options.encryption, &bounds, options.log_bytes)?;
        let view = log.view();
        let revision = view.revision;
        let memory = Arc::new(Memory::new(view, bounds, options.history));
        memory.remember(log.events_after, log.events.into());
        let expiry = expiry::Expiry::new(log.clock_ms, &log.tree, Instant::now());
        let writer = writer::Writer::new(disk, revision, log.superseded, memory.clone(), options.encryption, expiry);
        let queue = Arc::new(Queue::new(writer, memory.clone(), options.write_queue, options.batch_writes));
        let serving = queue.clone();
        let thread = std::thread::Builder::new()
            .name("store-writer".to_string())
            .spawn(move || serving.run())
            .map_err(|error| Error::Backend { doing: "starting the writer of the store", source: error.into() })?;
        Ok(Arc::new(Self { memory, queue, writer: Mutex::new(Some(thread)) }))
    }

    /// Refuses further writes, waits until those that are under way are durable, and ends every watch. Blocks for as
    /// long as the disk takes. Dropping the store does the same.
    pub fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the writer of the store panicked; whatever it had acknowledged is on disk");
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

/// What a write that happened answers.
#[derive(Debug)]
enum Done {
    Put(Arc<Entry>),
    Deleted(u64),
}

#[async_trait]
impl Store for Embedded {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.memory.get(key))
    }

    async fn range(&self, prefix: &str, options: RangeOptions) -> Result<Range, Error> {
        self.memory.range(prefix, &options).await
    }

    async fn count(&self, prefix: &str) -> Result<u64, Error> {
        Ok(self.memory.count(prefix))
    }

    async fn put_with_ttl(
        &self,
        key: &str,
        value: Bytes,
        precondition: Precondition,
        ttl: Option<Duration>,
    ) -> Result<Entry, Error> {
        match self.queue.write(Operation::Put { key: key.into(), value, precondition, ttl }).await? {
            Done::Put(entry) => Ok(Entry::clone(&entry)),
            Done::Deleted(_) => Err(Error::Closed),
        }
    }

    async fn delete(&self, key: &str, revision: u64) -> Result<u64, Error> {
        match self.queue.write(Operation::Delete { key: key.into(), revision }).await? {
            Done::Deleted(revision) => Ok(revision),
            Done::Put(_) => Err(Error::Closed),
        }
    }

    async fn watch(&self, prefix: &str, after: Option<u64>) -> Result<Box<dyn Watch>, Error> {
        Ok(Box::new(self.memory.watch(prefix, after)?))
    }

    async fn revision(&self) -> Result<u64, Error> {
        Ok(self.memory.revision())
    }

    async fn ended(&self) {
        self.queue.ended().await;
    }
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod tests;
