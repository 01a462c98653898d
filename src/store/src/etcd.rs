//! The store of several control-plane hosts: etcd is the log of record, and every server holds all of it in memory.
//!
//! A write is one transaction of etcd that compares and puts, and answers when this server's memory shows it: who
//! wrote reads it here. A read first asks etcd's quorum for the newest revision (readers that wait together ask
//! once), waits for memory to reach it, and is answered from memory: it shows whatever was written on any server
//! before it. Lists at a revision that memory no longer has are read from etcd.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::feed::FeedBounds;
use crate::memory::Memory;
use crate::tree::prefix_end;
use crate::{Entry, Error, Precondition, Range, RangeOptions, Store, Watch};

mod compact;
mod connection;
mod follow;
mod fresh;
mod wire;

pub use connection::Tls;
use connection::{Connection, failed, is_compacted};
use fresh::Fresh;
use wire::{
    Compare, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, Request, RequestOp, Response, TARGET_MOD, Target,
    TxnRequest,
};

/// How long a reader or writer waits for memory to reach what etcd has.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(10);
/// No revision is this one.
const NEVER: i64 = i64::MAX;

/// Where etcd is, and the bounds of what is held of it.
#[derive(Debug, Clone)]
pub struct Options {
    /// `https://10.0.0.1:2379`, one for each member.
    pub endpoints: Vec<String>,
    /// Certificates; `None` for plain HTTP, which only tests use.
    pub tls: Option<Tls>,
    /// Put before every key, where several clusters share one etcd.
    pub prefix: String,
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
}

impl Shared {
    /// An entry of the store; `None` where it is a key of somebody else's.
    fn entry(&self, kv: &KeyValue) -> Option<Entry> {
        let key = kv.key.strip_prefix(self.prefix.as_bytes()).filter(|key| key.starts_with(b"/"))?;
        Some(Entry {
            key: std::str::from_utf8(key).ok()?.into(),
            // Copied: the message it is part of would be held as long otherwise.
            value: Bytes::copy_from_slice(&kv.value),
            create_revision: unsigned(kv.create_revision),
            mod_revision: unsigned(kv.mod_revision),
        })
    }
}

/// The store on etcd.
#[derive(Debug)]
pub struct Etcd {
    shared: Arc<Shared>,
    fresh: Fresh,
    _tasks: JoinSet<()>,
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
        };
        let (view, cluster) = follow::read_all(&shared).await?;
        let revision = view.revision;
        shared.memory.replace(view);
        shared.applied.send_replace(revision);
        let shared = Arc::new(shared);
        let mut tasks = JoinSet::new();
        let (fresh, asking) = Fresh::new(connection);
        tasks.spawn(asking);
        tasks.spawn(follow::follow(shared.clone(), cluster));
        tasks.spawn(compact::run(shared.clone(), options.history));
        Ok(Arc::new(Self { shared, fresh, _tasks: tasks }))
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

    /// Does `operations` where the key was last changed by `expected` (0: is not there). Answers the revision and what
    /// was answered; [`Error::Conflict`] otherwise.
    async fn write(
        &self,
        doing: &'static str,
        key: &str,
        expected: i64,
        operations: Vec<RequestOp>,
    ) -> Result<(u64, Vec<wire::ResponseOp>), Error> {
        let key = self.key(key);
        let read = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let answer = self.shared.connection.txn(TxnRequest {
            compare: vec![Compare { result: 0, target: TARGET_MOD, key, with: Some(Target::ModRevision(expected)) }],
            success: operations,
            failure: vec![Request::Range(read).into()],
        });
        let answer = answer.await.map_err(|status| failed(doing, status))?;
        if !answer.succeeded {
            let current = first_kv(&answer.responses).and_then(|kv| self.shared.entry(kv));
            return Err(Error::Conflict { current });
        }
        let revision = unsigned(answer.header.map_or(0, |header| header.revision));
        self.reach(revision).await?;
        Ok((revision, answer.responses))
    }

    /// A list at a revision that only etcd has.
    async fn range_of_etcd(&self, prefix: &str, revision: u64, options: &RangeOptions) -> Result<Range, Error> {
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
        let entries = page.kvs.iter().filter_map(|kv| self.shared.entry(kv)).collect();
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
        Ok(self.shared.memory.view().tree.get(key).map(|entry| Entry::clone(entry)))
    }

    async fn range(&self, prefix: &str, options: RangeOptions) -> Result<Range, Error> {
        let known = options.at_revision.is_some_and(|revision| revision <= self.shared.memory.revision());
        if !known {
            self.catch_up().await?;
        }
        match (self.shared.memory.range(prefix, &options), options.at_revision) {
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

    async fn put(&self, key: &str, value: Bytes, precondition: Precondition) -> Result<Entry, Error> {
        let put = PutRequest { key: self.key(key), value: value.clone(), lease: 0 };
        let mut operations = vec![Request::Put(put).into()];
        let mut created = None;
        let expected = match precondition {
            Precondition::Absent => 0,
            Precondition::Revision(0) => NEVER,
            Precondition::Revision(revision) => {
                let view = self.shared.memory.view();
                let known = view.tree.get(key).filter(|entry| entry.mod_revision == revision);
                created = known.map(|entry| entry.create_revision);
                if created.is_none() {
                    // Memory is behind; etcd says when the key was made.
                    let read = RangeRequest { key: self.key(key), keys_only: true, ..RangeRequest::default() };
                    operations.push(Request::Range(read).into());
                }
                i64::try_from(revision).unwrap_or(NEVER)
            }
        };
        let (revision, responses) = self.write("writing to etcd", key, expected, operations).await?;
        let read = first_kv(&responses).map(|kv| unsigned(kv.create_revision));
        let create_revision = created.or(read).unwrap_or(revision);
        Ok(Entry { key: key.into(), value, create_revision, mod_revision: revision })
    }

    async fn delete(&self, key: &str, revision: u64) -> Result<u64, Error> {
        // To etcd, 0 is the revision of a key that is not there.
        let expected = if revision == 0 { NEVER } else { i64::try_from(revision).unwrap_or(NEVER) };
        let delete = Request::Delete(DeleteRangeRequest { key: self.key(key) });
        self.write("deleting in etcd", key, expected, vec![delete.into()]).await.map(|(revision, _)| revision)
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

fn first_kv(responses: &[wire::ResponseOp]) -> Option<&KeyValue> {
    responses.iter().find_map(|response| match &response.response {
        Some(Response::Range(range)) => range.kvs.first(),
        _ => None,
    })
}

/// etcd's integers are signed; no revision is below zero.
fn unsigned(revision: i64) -> u64 {
    revision.max(0).unsigned_abs()
}
