//! The store of several control-plane hosts: etcd is the log of record, and every server holds all of it in memory.
//!
//! A write is one transaction of etcd that compares and puts, and answers when this server's memory shows it: who
//! wrote reads it here. A read first asks etcd's quorum for the newest revision (readers that wait together ask
//! once), waits for memory to reach it, and is answered from memory: it shows whatever was written on any server
//! before it. Lists at a revision that memory no longer has are read from etcd.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::encryption::Encryption;
use crate::feed::FeedBounds;
use crate::memory::Memory;
use crate::tree::prefix_end;
use crate::{Entry, Error, Lease, Precondition, Range, RangeOptions, Store, Watch};

mod compact;
mod connection;
mod follow;
mod fresh;
mod leases;
mod rewrite;
mod wire;
mod write;

pub use connection::Tls;
use connection::{Connection, failed, is_compacted};
use fresh::Fresh;
use leases::Leases;
use wire::{KeyValue, RangeRequest};

/// How long a reader or writer waits for memory to reach what etcd has.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(10);

/// Where etcd is, and the bounds of what is held of it.
#[derive(Debug, Clone)]
pub struct Options {
    /// `https://10.0.0.1:2379`, one for each member.
    pub endpoints: Vec<String>,
    /// Certificates; `None` for plain HTTP, which only tests use.
    pub tls: Option<Tls>,
    /// Put before every key, where several clusters share one etcd.
    pub prefix: String,
    /// How values are kept in etcd.
    pub encryption: Arc<Encryption>,
    /// Most recent events that watches can resume from.
    pub ring_events: usize,
    /// Most memory for recent events, in bytes of keys and values.
    pub ring_bytes: usize,
    /// How long earlier revisions are kept, here and in etcd.
    pub history: Duration,
    /// Most events that wait for one watcher before it is cut off.
    pub watch_queue: usize,
    /// The longest silence of a watch.
    pub progress_every: Duration,
}

impl Options {
    /// The members at `endpoints`, with the bounds of the embedded store.
    pub fn new(endpoints: Vec<String>, tls: Option<Tls>) -> Self {
        let bounds = crate::embedded::Options::default();
        Self {
            endpoints,
            tls,
            prefix: String::new(),
            encryption: Arc::default(),
            ring_events: bounds.ring_events,
            ring_bytes: bounds.ring_bytes,
            history: bounds.history,
            watch_queue: bounds.watch_queue,
            progress_every: bounds.progress_every,
        }
    }
}

/// What the store and its tasks share.
#[derive(Debug)]
struct Shared {
    connection: Arc<Connection>,
    memory: Memory,
    /// The revision memory is at.
    applied: watch::Sender<u64>,
    prefix: String,
    encryption: Arc<Encryption>,
}

/// A value that no key reads.
#[derive(Debug, thiserror::Error)]
#[error("{key} {why}; name the key that it was written with in the encryption configuration again")]
struct Unreadable {
    key: String,
    why: String,
}

impl Shared {
    /// The store's name of a key; `None` where it is somebody else's.
    fn key<'a>(&self, kv: &'a KeyValue) -> Option<&'a str> {
        let key = kv.key.strip_prefix(self.prefix.as_bytes()).filter(|key| key.starts_with(b"/"))?;
        std::str::from_utf8(key).ok()
    }

    /// An entry of the store, and whether it is not kept as it would be written now; `None` where the key is somebody
    /// else's.
    fn entry(&self, kv: &KeyValue) -> Result<Option<(Entry, bool)>, Unreadable> {
        let Some(key) = self.key(kv) else { return Ok(None) };
        // Copied: the message it is part of would be held as long otherwise.
        let opened = self.encryption.open(key, Bytes::copy_from_slice(&kv.value));
        let opened = opened.map_err(|why| Unreadable { key: key.to_string(), why })?;
        let entry = Entry {
            key: key.into(),
            value: opened.value,
            create_revision: unsigned(kv.create_revision),
            mod_revision: unsigned(kv.mod_revision),
            lease: Lease::new(unsigned(kv.lease)),
        };
        Ok(Some((entry, opened.stale)))
    }

    /// An entry of the store that was asked for.
    fn found(&self, kv: Option<&KeyValue>) -> Result<Option<Entry>, Error> {
        let entry = kv.map_or(Ok(None), |kv| self.entry(kv)).map_err(unreadable)?;
        Ok(entry.map(|(entry, _)| entry))
    }
}

fn unreadable(why: Unreadable) -> Error {
    Error::Backend { doing: "decrypting what etcd keeps", source: why.into() }
}

/// The store on etcd.
#[derive(Debug)]
pub struct Etcd {
    shared: Arc<Shared>,
    fresh: Fresh,
    leases: Leases,
    /// Ended with the store.
    tasks: Mutex<JoinSet<()>>,
}

impl Etcd {
    /// Connects, reads everything there is, and follows it from then on.
    ///
    /// # Errors
    /// [`Error::Backend`] where no member answers or certificates cannot be used.
    pub async fn open(options: Options) -> Result<Arc<Self>, Error> {
        let connection = Arc::new(Connection::new(options.endpoints, options.tls)?);
        let bounds = FeedBounds {
            ring_events: options.ring_events,
            ring_bytes: options.ring_bytes,
            watch_queue: options.watch_queue.max(1),
            progress_every: options.progress_every,
        };
        let empty = crate::memory::View { tree: crate::tree::Tree::default(), revision: 0 };
        let shared = Shared {
            connection: connection.clone(),
            memory: Memory::new(empty, bounds, options.history),
            applied: watch::Sender::new(0),
            prefix: options.prefix,
            encryption: options.encryption,
        };
        let follow::Everything { view, cluster, stale } = follow::read_all(&shared).await?;
        let revision = view.revision;
        shared.memory.replace(view);
        shared.applied.send_replace(revision);
        let shared = Arc::new(shared);
        let mut tasks = JoinSet::new();
        let (fresh, asking) = Fresh::new(connection);
        tasks.spawn(asking);
        tasks.spawn(follow::follow(shared.clone(), cluster));
        tasks.spawn(compact::run(shared.clone(), options.history));
        let store = Arc::new(Self { shared, fresh, leases: Leases::new(), tasks: Mutex::new(tasks) });
        if !stale.is_empty() {
            let keeping = rewrite::keep_anew(Arc::downgrade(&store), stale);
            store.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(keeping);
        }
        Ok(store)
    }

    /// Waits until memory shows `revision`.
    async fn reach(&self, revision: u64) -> Result<(), Error> {
        let mut applied = self.shared.applied.subscribe();
        let reached = tokio::time::timeout(CATCH_UP_WITHIN, applied.wait_for(|at| *at >= revision)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::Closed),
            Err(late) => Err(Error::Backend { doing: "waiting for changes from etcd", source: late.into() }),
        }
    }

    /// Waits until memory shows everything that was written before this was called; answers the revision.
    async fn catch_up(&self) -> Result<u64, Error> {
        let revision = self.fresh.revision().await?;
        self.reach(revision).await?;
        Ok(revision)
    }

    fn key(&self, key: &str) -> Bytes {
        Bytes::from([self.shared.prefix.as_bytes(), key.as_bytes()].concat())
    }

    /// A list at a revision that only etcd has.
    async fn range_of_etcd(&self, prefix: &str, revision: u64, options: &RangeOptions) -> Result<Range, Error> {
        // Every key of the store begins with a slash; to etcd, no key is empty, and a neighbour's may begin alike.
        let prefix = if prefix.is_empty() { "/" } else { prefix };
        let key = match options.after.as_ref().filter(|after| after.as_str() >= prefix) {
            Some(after) => Bytes::from([&self.key(after)[..], &[0]].concat()),
            None => self.key(prefix),
        };
        let end = prefix_end(&format!("{}{prefix}", self.shared.prefix)).unwrap_or_else(|| vec![0]);
        let request = RangeRequest {
            key,
            range_end: end.into(),
            limit: options.limit.map_or(0, |limit| i64::try_from(limit).unwrap_or(i64::MAX)),
            revision: i64::try_from(revision).unwrap_or(i64::MAX),
            ..RangeRequest::default()
        };
        let page = self.shared.connection.range(request).await.map_err(|status| match is_compacted(&status) {
            true => Error::Compacted { requested: revision, oldest: self.shared.memory.floor() },
            false => failed("reading etcd", status),
        })?;
        let remaining = unsigned(page.count).saturating_sub(page.kvs.len() as u64);
        let entries: Result<Vec<_>, _> = page.kvs.iter().map(|kv| self.shared.found(Some(kv))).collect();
        let entries = entries?.into_iter().flatten().collect();
        Ok(Range { entries, revision, remaining })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.shared.memory.close();
    }
}

#[async_trait]
impl Store for Etcd {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.catch_up().await?;
        Ok(self.shared.memory.get(key))
    }

    async fn range(&self, prefix: &str, options: RangeOptions) -> Result<Range, Error> {
        let known = options.at_revision.is_some_and(|revision| revision <= self.shared.memory.revision());
        if !known {
            self.catch_up().await?;
        }
        match (self.shared.memory.range(prefix, &options).await, options.at_revision) {
            // Zero is no revision; etcd takes it for the newest.
            (Err(Error::Compacted { .. }), Some(revision)) if revision > 0 => {
                self.range_of_etcd(prefix, revision, &options).await
            }
            (found, _) => found,
        }
    }

    async fn count(&self, prefix: &str) -> Result<u64, Error> {
        self.catch_up().await?;
        Ok(self.shared.memory.count(prefix))
    }

    async fn put_with_ttl(
        &self,
        key: &str,
        value: Bytes,
        precondition: Precondition,
        ttl: Option<Duration>,
    ) -> Result<Entry, Error> {
        self.put_living(key, value, precondition, ttl).await
    }

    async fn delete(&self, key: &str, revision: u64) -> Result<u64, Error> {
        self.delete_at(key, revision).await
    }

    async fn watch(&self, prefix: &str, after: Option<u64>) -> Result<Box<dyn Watch>, Error> {
        if after.is_some_and(|after| after > self.shared.memory.revision()) {
            self.catch_up().await?;
        }
        Ok(Box::new(self.shared.memory.watch(prefix, after)?))
    }

    async fn revision(&self) -> Result<u64, Error> {
        self.catch_up().await?;
        Ok(self.shared.memory.revision())
    }
}

/// etcd's integers are signed; no revision is below zero.
fn unsigned(revision: i64) -> u64 {
    revision.max(0).unsigned_abs()
}
