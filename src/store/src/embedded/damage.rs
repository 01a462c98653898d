//! Those who want to break it: what a damaged file does, and what is put into the store that nobody expects.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Embedded, Options, check};
use crate::{Entry, Error, Precondition, RangeOptions, Store, WatchItem};

const HOUR: Duration = Duration::from_secs(3600);

fn open(path: &Path) -> Result<Arc<Embedded>, Error> {
    Embedded::open(path, Options::default())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// All that a store tells: its revision, its values, and every event that it keeps.
type Told = (u64, Vec<Entry>, Vec<(u64, Option<Arc<Entry>>, Option<Arc<Entry>>)>);

async fn told(store: &Embedded) -> Told {
    let list = store.range("", RangeOptions::default()).await.expect("a list");
    let mut watch = store.watch("", Some(1)).await.expect("a watch");
    let mut events = Vec::new();
    loop {
        match watch.next().await.expect("the watch goes on") {
            WatchItem::Progress(revision) if revision == list.revision => break,
            WatchItem::Progress(_) => {}
            WatchItem::Event(event) => events.push((event.revision, event.current.clone(), event.previous.clone())),
        }
    }
    (list.revision, list.entries, events)
}

/// A closed store with a few values, changes, deletions and leases; answers what it tells.
async fn small(path: &Path) -> Told {
    let store = open(path).expect("opens");
    for (key, ttl) in [("/a", None), ("/b", Some(HOUR)), ("/c", None), ("/d", Some(HOUR * 2))] {
        let value = Bytes::from(format!("the value of {key}"));
        store.put_with_ttl(key, value, Precondition::Absent, ttl).await.expect("is new");
    }
    let changed = store.put("/a", Bytes::new(), Precondition::Revision(2)).await.expect("holds");
    store.delete("/c", 4).await.expect("is there");
    assert_eq!(changed.mod_revision, 6);
    let told = told(&store).await;
    store.close();
    told
}

/// Whether a file is refused by those who read it; otherwise it must tell what it told before it was damaged, and take
/// writes.
///
/// # Errors
/// What it does instead.
fn is_found(path: &Path, expected: &Told) -> Result<bool, String> {
    let sound = check(path).is_ok_and(|found| found.wrong.is_empty());
    let Ok(store) = open(path) else { return Ok(true) };
    if !sound {
        return Err("check finds it, and it is served".to_string());
    }
    let served = runtime().block_on(async {
        // What goes by itself would go with it.
        let probe = store.put("/probe", Bytes::new(), Precondition::Absent).await;
        let probe =
            probe.map_err(|error| format!("it is served and takes no write: {}", stdx::error::chain(&error)))?;
        let (_, entries, events) = told(&store).await;
        let entries: Vec<Entry> = entries.into_iter().filter(|entry| &*entry.key != "/probe").collect();
        let deleted = store.delete("/probe", probe.mod_revision).await.map_err(|error| error.to_string())?;
        match () {
            () if deleted != expected.0 + 2 => Err(format!("revision {deleted} after {}", expected.0)),
            () if entries != expected.1 => Err(format!("{entries:?} is served")),
            () if events[..events.len() - 1] != expected.2[..] => Err(format!("{events:?} are told")),
            () => Ok(()),
        }
    });
    store.close();
    served?;
    let found = check(path).map_err(|error| error.to_string())?;
    if found.wrong.is_empty() { Ok(false) } else { Err(format!("what was written then damaged it: {found:?}")) }
}

#[test]
fn a_byte_that_changes_anywhere_in_the_file_is_found_or_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    let expected = runtime().block_on(small(&path));
    let bytes = std::fs::read(&path).expect("readable");
    let (mut found, mut tried, mut wrong) = (0, 0, Vec::new());
    for at in 0..bytes.len() {
        // What is zero is mostly room that nobody uses.
        if bytes[at] == 0 && at % 61 != 0 {
            continue;
        }
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.path().join(format!("state.db{suffix}")));
        }
        std::fs::write(&path, &damaged).expect("written");
        tried += 1;
        match is_found(&path, &expected) {
            Ok(is_found) => found += usize::from(is_found),
            Err(why) => wrong.push(format!("byte {at} from {:#04x} to {:#04x}: {why}", bytes[at], damaged[at])),
        }
    }
    assert!(wrong.is_empty(), "{} of {tried}: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    assert!(found > tried / 3, "{found} of {tried} were found");
}

#[tokio::test]
async fn keys_of_every_kind_are_kept_apart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    let long = format!("/{}", "k".repeat(100_000));
    let keys = ["", "\0", "/", "/\0", "/\0\0", "/a\0b", "/a", "/A", "/ä", "/\u{10ffff}", "/%", "/_", "/'; --", &long];
    let store = open(&path).expect("opens");
    for key in keys {
        let value = Bytes::from(format!("of {key:?}"));
        store.put(key, value, Precondition::Absent).await.unwrap_or_else(|error| panic!("{key:?}: {error}"));
    }
    store.close();
    let store = open(&path).expect("opens");
    for key in keys {
        let entry = store.get(key).await.expect("read").unwrap_or_else(|| panic!("{key:?} is lost"));
        assert_eq!((&*entry.key, entry.value), (key, Bytes::from(format!("of {key:?}"))));
        let below = store.range(key, RangeOptions::default()).await.expect("a list").entries;
        let expected = keys.iter().filter(|other| other.starts_with(key)).count();
        assert_eq!(below.len(), expected, "{key:?}");
    }
    store.close();
    assert_eq!(check(&path).expect("readable").wrong, [] as [String; 0]);
}

#[tokio::test]
async fn no_time_to_live_and_one_beyond_all_time_are_taken_at_their_word() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    let store = open(&path).expect("opens");
    let beyond = [Duration::MAX, Duration::from_millis(u64::MAX), Duration::from_millis(i64::MAX as u64)];
    for (number, ttl) in beyond.into_iter().enumerate() {
        let key = format!("/stays/{number}");
        store.put_with_ttl(&key, Bytes::new(), Precondition::Absent, Some(ttl)).await.expect("is new");
    }
    // The longest that there is a moment for.
    let ttl = Duration::from_millis(i64::MAX as u64 - 600_000);
    store.put_with_ttl("/stays/3", Bytes::new(), Precondition::Absent, Some(ttl)).await.expect("is new");
    store.put_with_ttl("/goes", Bytes::new(), Precondition::Absent, Some(Duration::ZERO)).await.expect("is new");
    let gone = async {
        while store.get("/goes").await.expect("read").is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), gone).await.expect("it goes");
    store.close();
    let store = open(&path).expect("opens");
    assert_eq!(store.count("/stays/").await.expect("a count"), 4);
}

#[tokio::test]
async fn revisions_that_no_store_reaches_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(&folder.path().join("state.db")).expect("opens");
    let made = store.put("/a", Bytes::new(), Precondition::Absent).await.expect("is new");
    for revision in [0, 1, made.mod_revision + 1, u64::MAX - 1, u64::MAX] {
        let put = store.put("/a", Bytes::new(), Precondition::Revision(revision)).await;
        assert!(matches!(put, Err(Error::Conflict { current: Some(_) })), "{revision}");
        assert!(matches!(store.delete("/a", revision).await, Err(Error::Conflict { .. })), "{revision}");
    }
    for revision in [made.mod_revision + 1, u64::MAX - 1, u64::MAX] {
        let options = RangeOptions { at_revision: Some(revision), ..Default::default() };
        assert!(matches!(store.range("/", options).await, Err(Error::Future { .. })), "{revision}");
        assert!(matches!(store.watch("/", Some(revision)).await, Err(Error::Future { .. })), "{revision}");
    }
    let before = RangeOptions { at_revision: Some(0), ..Default::default() };
    assert!(matches!(store.range("/", before).await, Err(Error::Compacted { .. })));
    assert!(matches!(store.watch("/", Some(0)).await, Err(Error::Compacted { .. })));
    assert_eq!(store.revision().await.expect("a revision"), made.mod_revision);
}
