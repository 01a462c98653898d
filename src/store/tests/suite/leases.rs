//! Values that go by themselves, on every store. etcd counts in seconds and may let them live some seconds longer; none
//! may let them go sooner.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use store::embedded::Options;
use store::{Entry, Precondition, Store};

use crate::cases::{create, next_event};
use crate::stores::Backend;

/// How long a value may take to go once its time is over, on a machine that has much else to do.
const GONE_WITHIN: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

async fn put(store: &dyn Store, key: &str, precondition: Precondition, ttl: Duration) -> Entry {
    let put = store.put_with_ttl(key, Bytes::from_static(b"v"), precondition, Some(ttl)).await;
    put.expect("holds")
}

async fn is_there(store: &dyn Store, key: &str) -> bool {
    store.get(key).await.expect("read").is_some()
}

async fn until_gone(store: &dyn Store, key: &str) {
    let began = Instant::now();
    while is_there(store, key).await {
        assert!(began.elapsed() < GONE_WITHIN, "{key} does not go");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn a_value_goes_after_its_time_by_a_deletion_that_watches_see(backend: Backend) {
    let store = backend.open(Options::default()).await;
    let mut watch = store.watch("/e/", None).await.expect("a watch");
    let stays = create(&*store, "/e/stays", "").await;
    let began = Instant::now();
    let goes = put(&*store, "/e/goes", Precondition::Absent, SECOND).await;
    assert!(stays.lease.is_none() && goes.lease.is_some());
    assert_eq!(store.get("/e/goes").await.expect("read").as_ref(), Some(&goes));
    for expected in [&stays, &goes] {
        assert_eq!(next_event(&mut watch).await.current.as_deref(), Some(expected));
    }
    let gone = tokio::time::timeout(GONE_WITHIN, next_event(&mut watch)).await.expect("it goes");
    assert!(began.elapsed() >= SECOND, "it went early, after {:?}", began.elapsed());
    assert_eq!((gone.current.as_deref(), gone.previous.as_deref()), (None, Some(&goes)));
    assert!(gone.revision > goes.mod_revision, "its deletion is a change of its own");
    assert!(store.revision().await.expect("a revision") >= gone.revision);
    assert!(!is_there(&*store, "/e/goes").await && is_there(&*store, "/e/stays").await);
    // What is gone can be made again, and stays then.
    let again = create(&*store, "/e/goes", "again").await;
    assert_eq!((again.create_revision > gone.revision, again.lease), (true, None));
}

pub async fn who_writes_a_key_again_begins_its_time_anew_or_ends_it(backend: Backend) {
    let store = backend.open(Options::default()).await;
    let (ttl, revision) = (SECOND * 2, |entry: &Entry| Precondition::Revision(entry.mod_revision));
    let mut made = Vec::new();
    for key in ["/renewed", "/kept", "/left"] {
        made.push(put(&*store, key, Precondition::Absent, ttl).await);
    }
    tokio::time::sleep(SECOND).await;
    let renewed_at = Instant::now();
    let renewed = put(&*store, "/renewed", revision(&made[0]), ttl).await;
    assert_eq!(renewed.create_revision, made[0].create_revision);
    let kept = store.put("/kept", Bytes::new(), revision(&made[1])).await.expect("holds");
    assert_eq!(kept.lease, None);
    until_gone(&*store, "/left").await;
    assert!(is_there(&*store, "/renewed").await || renewed_at.elapsed() >= ttl, "it went with the one that was left");
    until_gone(&*store, "/renewed").await;
    assert!(renewed_at.elapsed() >= ttl, "it went early, after {:?}", renewed_at.elapsed());
    assert_eq!(store.get("/kept").await.expect("read"), Some(kept));
}

pub async fn values_that_are_written_together_share_a_lease_up_to_a_thousand(backend: Backend) {
    let store = backend.open(Options::default()).await;
    let keys: Vec<String> = (0..1010).map(|number| format!("/e/{number}")).collect();
    let puts = keys.iter().map(|key| put(&*store, key, Precondition::Absent, HOUR));
    let mut leases: BTreeMap<_, usize> = BTreeMap::new();
    for entry in futures::future::join_all(puts).await {
        *leases.entry(entry.lease.expect("goes by itself")).or_default() += 1;
    }
    let mut counts: Vec<usize> = leases.values().copied().collect();
    counts.sort_unstable();
    // A machine that takes more than a minute for it has one more.
    assert!(counts.len() <= 3 && counts.iter().all(|count| *count <= 1000), "{counts:?}");
    let longer = put(&*store, "/longer", Precondition::Absent, HOUR * 2).await;
    assert!(!leases.contains_key(&longer.lease.expect("goes by itself")), "it would go early with the others");
}

pub async fn a_time_to_live_outlasts_a_crash_and_a_restart(mut backend: Backend) {
    let store = backend.open(Options::default()).await;
    let began = Instant::now();
    let made = put(&*store, "/goes", Precondition::Absent, SECOND * 3).await;
    let later = put(&*store, "/later", Precondition::Absent, HOUR).await;
    drop(store);
    backend.restart();
    let store = backend.open(Options::default()).await;
    let found = store.get("/goes").await.expect("read");
    assert!(found.is_some() || began.elapsed() >= SECOND * 3, "it went early");
    assert!(found.is_none_or(|found| found == made));
    let mut watch = store.watch("/goes", Some(later.mod_revision)).await.expect("a watch");
    let gone = tokio::time::timeout(GONE_WITHIN, next_event(&mut watch)).await.expect("it goes");
    assert_eq!((gone.current.is_none(), gone.previous.as_deref()), (true, Some(&made)));
    assert!(began.elapsed() >= SECOND * 3, "it went early, after {:?}", began.elapsed());
    assert_eq!(store.get("/later").await.expect("read"), Some(later));
}
