//! Those who use a store at the same time and write down what they saw, and those who watch it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use store::{Entry, Error, Precondition, RangeOptions, Store, WatchItem};
use tokio::sync::RwLock;

use crate::check::{Answer, Call, Change, Op, Seen};

/// How long the values live that go by themselves; etcd takes whole seconds and makes more of it.
const TTLS_MS: [u64; 2] = [40, 1000];
/// Few, so that callers meet.
const KEYS: u32 = 4;

/// A server that can be taken away and come back as another one; whoever uses it holds it meanwhile.
pub type Server = Arc<RwLock<Option<Arc<dyn Store>>>>;

/// What the callers of a run share.
#[derive(Debug)]
pub struct Notes {
    began: Instant,
    clock: AtomicU64,
    /// Of each revision that deletes something, when somebody first saw it.
    gone_ms: Mutex<BTreeMap<u64, u64>>,
    calls: Mutex<Vec<Call>>,
    /// Everything is over: watchers stop when they have seen the newest revision.
    pub over: AtomicBool,
}

impl Default for Notes {
    fn default() -> Self {
        let (clock, gone_ms, calls) = (AtomicU64::new(0), Mutex::default(), Mutex::default());
        Self { began: Instant::now(), clock, gone_ms, calls, over: AtomicBool::new(false) }
    }
}

impl Notes {
    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn gone(&self, revision: u64) {
        let now_ms = self.now_ms();
        self.gone_ms.lock().expect("sound").entry(revision).or_insert(now_ms);
    }

    /// When deletions were first seen.
    pub fn take_gone_ms(&self) -> BTreeMap<u64, u64> {
        std::mem::take(&mut self.gone_ms.lock().expect("sound"))
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// What was written down.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().expect("sound"))
    }
}

fn seen(entry: &Entry) -> (String, u64) {
    (String::from_utf8_lossy(&entry.value).into_owned(), entry.mod_revision)
}

/// Calls `server` `count` times.
pub async fn call(server: Server, notes: Arc<Notes>, seed: u64, count: usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    // What this caller believes, which is often no longer so.
    let mut believed: BTreeMap<String, Seen> = BTreeMap::new();
    for number in 0..count {
        let key = format!("/r/{}", rng.random_range(0..KEYS));
        let revision = believed.get(&key).cloned().flatten().map(|(_, revision)| revision);
        let op = match (rng.random_range(0..100), revision) {
            (0..40, expected) => {
                let ttl_ms = rng.random_bool(0.3).then(|| TTLS_MS[rng.random_range(0..2)]);
                Op::Put { key, value: format!("{seed:x}-{number}"), expected, ttl_ms }
            }
            (40..55, Some(expected)) => Op::Delete { key, expected },
            (55..80, _) => Op::List,
            _ => Op::Get { key },
        };
        let held = server.read().await;
        let (begin_ms, begin) = (notes.now_ms(), notes.now());
        let answer = match &*held {
            Some(store) => ask(&**store, &op).await,
            None => Answer::Unknown,
        };
        let end = notes.now();
        drop(held);
        match (&op, &answer) {
            (Op::Put { key, value, .. }, Answer::Written(revision)) => {
                believed.insert(key.clone(), Some((value.clone(), *revision)));
            }
            (Op::Delete { key, .. }, Answer::Written(_)) => drop(believed.insert(key.clone(), None)),
            (Op::Put { key, .. } | Op::Delete { key, .. }, Answer::Conflict(seen))
            | (Op::Get { key }, Answer::Read(seen)) => drop(believed.insert(key.clone(), seen.clone())),
            (_, Answer::Listed(_, entries)) => {
                believed = entries.iter().map(|(key, seen)| (key.clone(), Some(seen.clone()))).collect();
            }
            _ => {}
        }
        if answer == Answer::Unknown {
            // Whoever breaks it mends it; a little later is soon enough.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        notes.calls.lock().expect("sound").push(Call { begin_ms, begin, end, op, answer });
    }
}

async fn ask(store: &dyn Store, op: &Op) -> Answer {
    let conflict = |error| match error {
        Error::Conflict { current } => Answer::Conflict(current.as_ref().map(seen)),
        Error::Backend { .. } | Error::Closed => Answer::Unknown,
        other => panic!("{op:?}: {}", stdx::error::chain(&other)),
    };
    match op {
        Op::Put { key, value, expected, ttl_ms } => {
            let precondition = expected.map_or(Precondition::Absent, Precondition::Revision);
            let ttl = ttl_ms.map(Duration::from_millis);
            let put = store.put_with_ttl(key, Bytes::from(value.clone()), precondition, ttl).await;
            put.map_or_else(conflict, |entry| Answer::Written(entry.mod_revision))
        }
        Op::Delete { key, expected } => store.delete(key, *expected).await.map_or_else(conflict, Answer::Written),
        Op::Get { key } => store.get(key).await.map_or_else(conflict, |entry| Answer::Read(entry.as_ref().map(seen))),
        Op::List => store.range("/r/", RangeOptions::default()).await.map_or_else(conflict, |list| {
            let entries = list.entries.iter().map(|entry| (entry.key.to_string(), seen(entry)));
            Answer::Listed(list.revision, entries.collect())
        }),
    }
}

/// Watches `server` from `first` on, comes again wherever the watch ends, and answers every change. Progress must
/// never be ahead of what is still to come.
pub async fn watch(server: Server, notes: Arc<Notes>, first: u64) -> Result<Vec<Change>, String> {
    let mut changes: Vec<Change> = Vec::new();
    let (mut last, mut told) = (first, first);
    loop {
        // Held while it is asked and not while it is watched, so that the server can go.
        let held = server.read().await;
        let Some(store) = &*held else {
            drop(held);
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        };
        let mut watch = match store.watch("/r/", Some(last)).await {
            Ok(watch) => watch,
            Err(Error::Compacted { oldest, .. }) => return Err(format!("cannot go on at {last}, only from {oldest}")),
            Err(Error::Backend { .. } | Error::Closed | Error::Future { .. }) => {
                drop(held);
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            Err(other) => return Err(stdx::error::chain(&other)),
        };
        let newest = match notes.over.load(Ordering::SeqCst) {
            true => Some(store.revision().await.map_err(|error| stdx::error::chain(&error))?),
            false => None,
        };
        drop(held);
        loop {
            if newest.is_some_and(|newest| told >= newest || last >= newest) {
                return Ok(changes);
            }
            // Now and then the question whether all is over.
            let Ok(item) = tokio::time::timeout(Duration::from_millis(200), watch.next()).await else {
                if newest.is_none() && notes.over.load(Ordering::SeqCst) {
                    break;
                }
                continue;
            };
            match item {
                Ok(WatchItem::Event(event)) => {
                    if event.revision <= told {
                        return Err(format!(
                            "{} comes after everything up to {told} was said to be here",
                            event.revision
                        ));
                    }
                    last = event.revision;
                    let entry = event.current.as_ref().or(event.previous.as_ref()).ok_or("an event of nothing")?;
                    let value = event.current.as_ref().map(|entry| seen(entry).0);
                    if value.is_none() {
                        notes.gone(last);
                    }
                    changes.push(Change { revision: last, key: entry.key.to_string(), value });
                }
                Ok(WatchItem::Progress(revision)) => {
                    told = told.max(revision);
                    last = last.max(revision);
                }
                Err(_) => break,
            }
        }
    }
}
