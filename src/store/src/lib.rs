//! The revisioned key-value store with watch. It knows bytes, not kinds.
//!
//! Every live value is held in memory in an ordered, persistent map with a bounded ring of recent events;
//! the disk is the log of record. Nothing is acknowledged before it is durable. Revisions are one counter
//! for the whole store; an empty store is at 1 and the first write makes 2. [`Store`] is what the API server sees; `embedded` (SQLite) is the
//! implementation for one control-plane host, `etcd` the one for several.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub mod embedded;
pub mod encryption;
pub mod etcd;
mod feed;
#[doc(hidden)]
pub mod fuzz;
mod lease;
mod memory;
mod tree;

pub use lease::Lease;

/// A live value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `/registry/pods/default/web-0`.
    pub key: Arc<str>,
    /// What was put, byte for byte.
    pub value: Bytes,
    /// The revision that created the key.
    pub create_revision: u64,
    /// The revision of the last change.
    pub mod_revision: u64,
    /// What ends it by itself; `None` where it stays until somebody deletes it.
    pub lease: Option<Lease>,
}

/// What must hold of the key for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// The key is not there.
    Absent,
    /// The key is there and was last changed by this revision.
    Revision(u64),
}

/// What a range read answers; all of it at one revision.
#[derive(Debug, Clone)]
pub struct Range {
    /// In key order.
    pub entries: Vec<Entry>,
    /// The revision that the answer shows; later pages pass it as `at_revision`.
    pub revision: u64,
    /// How many more keys of the prefix come behind the last entry.
    pub remaining: u64,
}

/// What to read of a prefix.
#[derive(Debug, Clone, Default)]
pub struct RangeOptions {
    /// Show the store as it was at this revision; the newest where `None`.
    pub at_revision: Option<u64>,
    /// Begin behind this key.
    pub after: Option<String>,
    /// At most this many; all where `None`.
    pub limit: Option<usize>,
}

/// A change of one key.
#[derive(Debug, Clone)]
pub struct Event {
    /// The revision of the change.
    pub revision: u64,
    /// The value after the change; `None` for a deletion.
    pub current: Option<Arc<Entry>>,
    /// The value before the change; `None` for a creation.
    pub previous: Option<Arc<Entry>>,
}

/// What a watch yields.
#[derive(Debug, Clone)]
pub enum WatchItem {
    /// A change under the watched prefix. Changes come in order of revision, without gaps or duplicates.
    Event(Arc<Event>),
    /// Everything up to and including this revision has been delivered.
    Progress(u64),
}

/// Why a store operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The precondition does not hold; `current` is what is there now.
    #[error("the key has changed")]
    Conflict {
        /// The live entry; `None` where the key is not there.
        current: Option<Entry>,
    },
    /// The revision is older than what the store keeps.
    #[error("revision {requested} is compacted, the oldest kept is {oldest}")]
    Compacted {
        /// What was asked for.
        requested: u64,
        /// The oldest revision that can be read or watched from.
        oldest: u64,
    },
    /// The revision has not happened yet.
    #[error("revision {requested} is in the future, the newest is {current}")]
    Future {
        /// What was asked for.
        requested: u64,
        /// The newest revision.
        current: u64,
    },
    /// The watcher took too long and was cut off; it resumes from the last revision it saw.
    #[error("the watcher is too slow")]
    Slow,
    /// The store has shut down.
    #[error("the store is closed")]
    Closed,
    /// What was found on disk is damaged; nothing of it is served.
    #[error(
        "the store at {path} is damaged: {detail}; `rkctl node store check` names all that is wrong, \
         `rkctl node store restore` puts a backup in its place"
    )]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The disk or the remote store failed.
    #[error("while {doing}")]
    Backend {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A stream of changes under a prefix.
#[async_trait]
pub trait Watch: Send {
    /// The next item; waits for it. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Slow`] and [`Error::Closed`] end the watch.
    async fn next(&mut self) -> Result<WatchItem, Error>;

    /// The next item where it is there already.
    ///
    /// # Errors
    /// See [`Watch::next`].
    fn try_next(&mut self) -> Result<Option<WatchItem>, Error>;
}

/// The store.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The live entry of a key.
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// The entries whose key begins with `prefix`, in key order, at one revision.
    ///
    /// # Errors
    /// [`Error::Compacted`] and [`Error::Future`] of `at_revision`.
    async fn range(&self, prefix: &str, options: RangeOptions) -> Result<Range, Error>;

    /// How many keys begin with `prefix`.
    async fn count(&self, prefix: &str) -> Result<u64, Error>;

    /// Writes a value that stays, and answers the new entry once it is durable.
    ///
    /// # Errors
    /// See [`Store::put_with_ttl`].
    async fn put(&self, key: &str, value: Bytes, precondition: Precondition) -> Result<Entry, Error> {
        self.put_with_ttl(key, value, precondition, None).await
    }

    /// Writes a value and answers the new entry once it is durable. With a time to live it is deleted by the store, as
    /// a change of its own: never sooner than `ttl` after this was called, and up to a minute later, together with
    /// others that were written about then. Whoever writes the key again begins its time anew, or ends it with `None`.
    /// Only time for which the store runs is sure to count; what sets the machine's clock does not matter.
    ///
    /// # Errors
    /// [`Error::Conflict`] where the precondition does not hold.
    async fn put_with_ttl(
        &self,
        key: &str,
        value: Bytes,
        precondition: Precondition,
        ttl: Option<Duration>,
    ) -> Result<Entry, Error>;

    /// Deletes a key that was last changed by `revision`; answers the revision of the deletion once it is durable.
    ///
    /// # Errors
    /// [`Error::Conflict`] where the key is gone or was changed since.
    async fn delete(&self, key: &str, revision: u64) -> Result<u64, Error>;

    /// Watches a prefix: every change with a revision greater than `after`; from now on where `None`.
    /// Progress items come at least every few seconds and whenever the newest event has been delivered.
    ///
    /// # Errors
    /// [`Error::Compacted`] where the ring no longer holds what follows `after`.
    async fn watch(&self, prefix: &str, after: Option<u64>) -> Result<Box<dyn Watch>, Error>;

    /// The newest revision that is visible to readers.
    async fn revision(&self) -> Result<u64, Error>;

    /// Waits until the store has closed or given up, for good: reads show what there was, nothing can be written any
    /// more. A store that recovers by itself never does.
    async fn ended(&self) {
        std::future::pending().await
    }
}
