use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::WatchItem;

fn open(directory: &tempfile::TempDir, options: Options) -> Arc<Embedded> {
    Embedded::open(&directory.path().join("state.db"), options).expect("the store opens")
}

fn fresh(options: Options) -> (tempfile::TempDir, Arc<Embedded>) {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let store = open(&directory, options);
    (directory, store)
}

async fn create(store: &Embedded, key: &str, value: &str) -> Entry {
    let value = Bytes::copy_from_slice(value.as_bytes());
    store.put(key, value, Precondition::Absent).await.expect("the key is new")
}

/// The next event within a bound, progress left out.
async fn next_event(watch: &mut Box<dyn Watch>) -> Arc<crate::Event> {
    let wait = async {
        loop {
            if let WatchItem::Event(event) = watch.next().await.expect("the watch goes on") {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("an event within ten seconds")
}

#[tokio::test]
async fn revisions_that_are_too_old_are_compacted() {
    let (_directory, store) = fresh(Options { ring_events: 3, ..Options::default() });
    for number in 0..6 {
        create(&store, &format!("/{number}"), "").await;
    }
    let at = |revision| RangeOptions { at_revision: Some(revision), ..Default::default() };
    assert!(matches!(store.range("/", at(3)).await, Err(Error::Compacted { requested: 3, oldest: 4 })));
    assert_eq!(store.range("/", at(4)).await.expect("kept").entries.len(), 3);
    assert!(matches!(store.watch("/", Some(3)).await, Err(Error::Compacted { requested: 3, oldest: 4 })));
    assert!(matches!(store.watch("/", Some(9)).await, Err(Error::Future { .. })));
    assert!(store.watch("/", Some(4)).await.is_ok());

    let (_directory, store) = fresh(Options { history: Duration::ZERO, ..Options::default() });
    create(&store, "/a", "").await;
    create(&store, "/b", "").await;
    assert!(matches!(store.range("/", at(2)).await, Err(Error::Compacted { requested: 2, oldest: 3 })));
    assert!(store.range("/", at(3)).await.is_ok());
    assert!(store.watch("/", Some(2)).await.is_ok(), "watches resume from older events than lists");
}

#[tokio::test]
async fn a_closed_store_refuses_writes_ends_watches_and_opens_again_where_it_was() {
    let (directory, store) = fresh(Options::default());
    let kept = create(&store, "/kept", "v").await;
    let dropped = create(&store, "/dropped", "v").await;
    store.delete("/dropped", dropped.mod_revision).await.expect("deleted");
    let mut watch = store.watch("/", None).await.expect("a watch");
    store.close();
    assert!(matches!(watch.next().await, Ok(WatchItem::Progress(_)) | Err(Error::Closed)));
    assert!(matches!(watch.next().await, Err(Error::Closed)));
    assert!(matches!(store.put("/x", Bytes::new(), Precondition::Absent).await, Err(Error::Closed)));
    let store = open(&directory, Options::default());
    assert_eq!(store.revision().await.expect("a revision"), 4);
    assert_eq!(store.get("/kept").await.expect("read"), Some(kept));
    assert_eq!(store.get("/dropped").await.expect("read"), None);
    let mut watch = store.watch("/", Some(2)).await.expect("a watch goes on where it was");
    let event = next_event(&mut watch).await;
    assert_eq!((event.revision, event.previous.is_none()), (3, true));
    let event = next_event(&mut watch).await;
    assert_eq!((event.revision, event.current.as_deref(), event.previous.as_deref()), (4, None, Some(&dropped)));
    assert_eq!(create(&store, "/next", "").await.mod_revision, 5);
}

#[tokio::test]
async fn a_failed_transaction_refuses_all_of_it_and_changes_nothing() {
    let (directory, store) = fresh(Options::default());
    store.close();
    let raw = rusqlite::Connection::open(directory.path().join("state.db")).expect("opens");
    raw.execute_batch(
        "CREATE TRIGGER refuse BEFORE INSERT ON log WHEN new.key = '/bad' BEGIN SELECT RAISE(ABORT, 'no'); END;",
    )
    .expect("a trigger");
    drop(raw);
    let store = open(&directory, Options::default());
    let good = create(&store, "/good", "").await;
    let mut watch = store.watch("/", None).await.expect("a watch");
    let bad = store.put("/bad", Bytes::new(), Precondition::Absent).await;
    assert!(matches!(&bad, Err(Error::Backend { .. })), "{bad:?}");
    assert_eq!(store.revision().await.expect("a revision"), good.mod_revision);
    assert_eq!(store.get("/bad").await.expect("read"), None);
    let next = create(&store, "/next", "").await;
    assert_eq!(next.mod_revision, good.mod_revision + 1);
    assert_eq!(next_event(&mut watch).await.revision, next.mod_revision);
}

#[test]
fn a_second_opener_a_foreign_file_and_a_damaged_file_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let path = directory.path().join("state.db");
    let store = Embedded::open(&path, Options::default()).expect("opens");
    let second = Embedded::open(&path, Options::default()).expect_err("is held");
    assert!(stdx::error::chain(&second).contains("held by another process"), "{second:?}");
    drop(store);
    let foreign = directory.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).and_then(|c| c.execute_batch("CREATE TABLE t (x)")).expect("made");
    let refused = Embedded::open(&foreign, Options::default()).expect_err("is foreign");
    assert!(stdx::error::chain(&refused).contains("something else"), "{refused:?}");
    std::fs::write(directory.path().join("text.db"), "x".repeat(8192)).expect("written");
    let text = Embedded::open(&directory.path().join("text.db"), Options::default());
    assert!(matches!(text, Err(Error::Corrupt { .. })), "{text:?}");
}

#[tokio::test]
async fn a_file_whose_pages_are_overwritten_is_not_served() {
    use std::os::unix::fs::{FileExt, PermissionsExt};
    let (directory, store) = fresh(Options::default());
    for number in 0..200 {
        create(&store, &format!("/{number}"), &"v".repeat(500)).await;
    }
    drop(store);
    let path = directory.path().join("state.db");
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opens");
    assert_eq!(file.metadata().expect("is there").permissions().mode() & 0o777, 0o600);
    file.write_all_at(&[0xff; 4096 * 4], 4096 * 3).expect("written");
    let damaged = Embedded::open(&path, Options::default());
    assert!(matches!(damaged, Err(Error::Corrupt { .. })), "{damaged:?}");
}

#[tokio::test]
async fn the_log_is_made_longer_a_good_piece_at_a_time() {
    let (directory, store) = fresh(Options::default());
    let log_bytes = || std::fs::metadata(directory.path().join("state.db-wal")).expect("is there").len();
    create(&store, "/first", "v").await;
    let before = log_bytes();
    assert!(before > 0 && before.is_multiple_of(1 << 20), "{before}");
    for number in 0..50 {
        create(&store, &format!("/{number}"), "v").await;
    }
    assert_eq!(log_bytes(), before, "writes find room in it");
    store.put("/large", Bytes::from(vec![7; 3 << 20]), Precondition::Absent).await.expect("is new");
    assert!(log_bytes() > 3 << 20 && log_bytes().is_multiple_of(1 << 20));
    // Others read what is in it while it is in use, and nothing of the room behind.
    let found = check(&directory.path().join("state.db")).expect("readable");
    assert_eq!((found.wrong.len(), found.keys), (0, 52), "{found:?}");
}

#[tokio::test]
async fn rows_that_nobody_can_ask_for_leave_the_disk_and_the_rest_stays_as_it_was() {
    let options = Options { ring_events: 40, batch_writes: 16, ..Options::default() };
    let (directory, mut store) = fresh(options.clone());
    let path = directory.path().join("state.db");
    for round in 0..3 {
        for number in 0..1000u64 {
            let key = format!("/{}", number % 10);
            let current = store.get(&key).await.expect("read");
            match current {
                Some(entry) if number % 3 == 0 => drop(store.delete(&key, entry.mod_revision).await.expect("deleted")),
                Some(entry) => {
                    let precondition = Precondition::Revision(entry.mod_revision);
                    store.put(&key, Bytes::from(number.to_string()), precondition).await.expect("changed");
                }
                None => drop(create(&store, &key, &number.to_string()).await),
            }
        }
        let found = check(&path).expect("readable while it is served");
        assert_eq!((found.wrong.as_slice(), found.revision), (&[] as &[String], 1001 + round * 1000));
        assert!(found.rows < 1000, "{} rows of {} writes", found.rows, 1000 * (round + 1));
        let before = store.range("/", RangeOptions::default()).await.expect("a list");
        store.close();
        store = open(&directory, options.clone());
        let after = store.range("/", RangeOptions::default()).await.expect("a list");
        assert_eq!((before.entries, before.revision), (after.entries, after.revision));
        let oldest = before.revision - 40;
        assert!(store.range("/", RangeOptions { at_revision: Some(oldest), ..Default::default() }).await.is_ok());
        assert!(matches!(store.watch("/", Some(oldest - 1)).await, Err(Error::Compacted { .. })));
    }
}

#[tokio::test]
async fn nothing_plain_is_left_on_disk_once_it_is_encrypted_and_revisions_stay() {
    use crate::encryption::{Key, Keys, Provider, Rule};
    let (directory, store) = fresh(Options::default());
    let first = create(&store, "/s", "the plain text").await;
    let precondition = Precondition::Revision(first.mod_revision);
    store.put("/s", Bytes::from("the plain text, changed"), precondition).await.expect("changed");
    drop(store);
    let keys = Provider::aesgcm(vec![Key::new("k", vec![7; 32])]).expect("a key");
    let rule = Rule { keys: vec![Keys::All], providers: vec![keys, Provider::identity()] };
    let encryption = Arc::new(Encryption::new(vec![rule]));
    let options = Options { encryption, ..Options::default() };
    let store = open(&directory, options.clone());
    let entry = store.get("/s").await.expect("read").expect("is there");
    assert_eq!((&entry.value[..], entry.create_revision, entry.mod_revision), (&b"the plain text, changed"[..], 2, 3));
    create(&store, "/t", "the plain text too").await;
    for name in ["state.db", "state.db-wal"] {
        let bytes = std::fs::read(directory.path().join(name)).expect("readable");
        assert!(!bytes.windows(9).any(|window| window == b"the plain"), "{name}");
    }
    store.close();
    let found = check(&directory.path().join("state.db")).expect("readable");
    assert_eq!((found.wrong.len(), found.keys, found.revision), (0, 2, 4), "{found:?}");
    let store = open(&directory, options);
    let mut watch = store.watch("/s", Some(2)).await.expect("events are as they were");
    assert_eq!(next_event(&mut watch).await.previous.as_deref(), Some(&first));
}

fn sealing(providers: Vec<crate::encryption::Provider>) -> Arc<Encryption> {
    let rule = crate::encryption::Rule { keys: vec![crate::encryption::Keys::Prefix("/s".to_string())], providers };
    Arc::new(Encryption::new(vec![rule]))
}

fn aesgcm() -> crate::encryption::Provider {
    crate::encryption::Provider::aesgcm(vec![crate::encryption::Key::new("k", vec![7; 32])]).expect("a key")
}

#[tokio::test]
async fn nothing_plain_is_left_of_values_that_were_compacted_before_they_were_encrypted() {
    let options = Options { ring_events: 10, ..Options::default() };
    let (directory, store) = fresh(options.clone());
    for number in 0..2000 {
        create(&store, &format!("/s/{number}"), &format!("the plain text {number}")).await;
    }
    for entry in store.range("/s/", RangeOptions::default()).await.expect("a list").entries {
        store.delete(&entry.key, entry.mod_revision).await.expect("deleted");
    }
    create(&store, "/other", "").await;
    drop(store);
    let path = directory.path().join("state.db");
    let plain = |path: &Path| {
        let bytes = std::fs::read(path).expect("readable");
        bytes.windows(14).filter(|window| window == b"the plain text").count()
    };
    assert!(plain(&path) > 100, "of values that are gone much is left in the file");
    let encryption = sealing(vec![aesgcm(), crate::encryption::Provider::identity()]);
    let store = open(&directory, Options { encryption, ..options });
    assert_eq!(plain(&path) + plain(&directory.path().join("state.db-wal")), 0);
    let copy = directory.path().join("backup.db");
    backup(&path, &copy).expect("a backup");
    assert_eq!(plain(&copy), 0);
    drop(store);
}

#[test]
fn a_store_that_gives_up_says_so_on_whichever_thread_it_does() {
    for flavour in ["the writer's", "the caller's"] {
        let mut runtime = match flavour {
            "the writer's" => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = runtime.enable_all().build().expect("a runtime");
        let gives_up = async {
            let (directory, store) = fresh(Options::default());
            create(&store, "/a", "").await;
            let mut watch = store.watch("/", None).await.expect("a watch");
            let raw = rusqlite::Connection::open(directory.path().join("state.db")).expect("opens");
            raw.execute_batch("ALTER TABLE log RENAME TO lost").expect("changed");
            let ended = tokio::time::timeout(Duration::from_millis(20), store.ended()).await;
            assert!(ended.is_err(), "nothing has happened yet");
            let refused = store.put("/b", Bytes::new(), Precondition::Absent).await;
            assert!(matches!(refused, Err(Error::Backend { .. })), "{refused:?}");
            tokio::time::timeout(Duration::from_secs(10), store.ended()).await.expect("is told");
            let closed = store.put("/c", Bytes::new(), Precondition::Absent).await;
            assert!(matches!(closed, Err(Error::Closed)), "{closed:?}");
            while watch.next().await.is_ok() {}
            assert!(store.get("/a").await.expect("read").is_some());
        };
        std::thread::spawn(move || runtime.block_on(gives_up)).join().expect(flavour);
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_encrypted_is_refused_alone() {
    let (_directory, store) = fresh(Options { encryption: sealing(vec![]), ..Options::default() });
    let puts = (0..64).map(|number| {
        let key = if number == 31 { "/s".to_string() } else { format!("/{number}") };
        let store = &store;
        async move { store.put(&key, Bytes::new(), Precondition::Absent).await.map(drop).map_err(|_| number) }
    });
    let refused: Vec<i32> = futures::future::join_all(puts).await.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused, [31]);
    assert_eq!(store.revision().await.expect("a revision"), 64, "no revision is left out");
}

#[tokio::test]
async fn a_bit_that_flipped_in_an_encrypted_value_is_damage_and_no_missing_key() {
    let options = Options { encryption: sealing(vec![aesgcm()]), ..Options::default() };
    let (directory, store) = fresh(options.clone());
    create(&store, "/s", "secret").await;
    drop(store);
    let raw = rusqlite::Connection::open(directory.path().join("state.db")).expect("opens");
    raw.execute_batch("UPDATE log SET value = zeroblob(length(value))").expect("changed");
    drop(raw);
    let damaged = Embedded::open(&directory.path().join("state.db"), options).map(drop);
    assert!(matches!(damaged, Err(Error::Corrupt { .. })), "{damaged:?}");
}

#[tokio::test]
async fn pages_are_put_in_their_place_all_together_or_not_at_all() {
    let (directory, store) = fresh(Options { log_bytes: 64 << 10, ..Options::default() });
    let path = directory.path().join("state.db");
    let fill = async |name: &str| {
        for number in 0..60 {
            let value = Bytes::from(vec![7; 3000]);
            store.put(&format!("/{name}/{number}"), value, Precondition::Absent).await.expect("is new");
        }
    };
    fill("first").await;
    let reader = rusqlite::Connection::open(&path).expect("opens");
    reader.execute_batch("BEGIN; SELECT count(*) FROM log").expect("reads");
    fill("second").await;
    let seen = std::fs::read(&path).expect("readable");
    fill("third").await;
    assert!(
        std::fs::read(&path).expect("readable") == seen,
        "the file is as it was while somebody reads what was before"
    );
    reader.execute_batch("COMMIT").expect("has read");
    fill("fourth").await;
    assert!(std::fs::read(&path).expect("readable") != seen);
    drop(reader);
    drop(store);
    let found = check(&path).expect("readable");
    assert_eq!((found.wrong.len(), found.keys), (0, 240), "{found:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    Delete(u8),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0u8..20).prop_map(Step::Put),
        4 => (0u8..20).prop_map(Step::Delete),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_earlier_revision_reads_as_it_was(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let directory = tempfile::tempdir().expect("a temporary folder");
        let mut store = open(&directory, Options::default());
        let mut states: BTreeMap<u64, BTreeMap<String, u64>> = BTreeMap::from([(1, BTreeMap::new())]);
        for step in steps {
            let (newest, mut state) = states.last_key_value().map(|(k, v)| (*k, v.clone())).expect("never empty");
            match step {
                Step::Put(key) => {
                    let key = format!("/{key}");
                    let precondition = state.get(&key).map_or(Precondition::Absent, |at| Precondition::Revision(*at));
                    let entry = runtime.block_on(store.put(&key, Bytes::new(), precondition)).expect("holds");
                    prop_assert_eq!(entry.mod_revision, newest + 1);
                    state.insert(key, entry.mod_revision);
                }
                Step::Delete(key) => {
                    let key = format!("/{key}");
                    let Some(at) = state.remove(&key) else { continue };
                    prop_assert_eq!(runtime.block_on(store.delete(&key, at)).expect("holds"), newest + 1);
                }
                Step::Reopen => {
                    store.close();
                    store = open(&directory, Options::default());
                    continue;
                }
            }
            states.insert(newest + 1, state);
        }
        for (revision, state) in states {
            let options = RangeOptions { at_revision: Some(revision), ..Default::default() };
            let range = runtime.block_on(store.range("/", options)).expect("readable");
            let found: BTreeMap<String, u64> =
                range.entries.into_iter().map(|entry| (entry.key.to_string(), entry.mod_revision)).collect();
            prop_assert_eq!(found, state);
        }
    }
}
