use std::collections::BTreeMap;
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

fn keys(range: &Range) -> Vec<&str> {
    range.entries.iter().map(|entry| &*entry.key).collect()
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
async fn a_write_happens_only_where_its_precondition_holds() {
    let (_directory, store) = fresh(Options::default());
    assert_eq!(store.revision().await.expect("a revision"), 1);
    let first = create(&store, "/a", "1").await;
    assert_eq!((first.create_revision, first.mod_revision), (2, 2));
    let again = store.put("/a", Bytes::from("2"), Precondition::Absent).await;
    assert!(matches!(again, Err(Error::Conflict { current: Some(entry) }) if entry == first));
    let stale = store.put("/a", Bytes::from("2"), Precondition::Revision(1)).await;
    assert!(matches!(stale, Err(Error::Conflict { current: Some(_) })));
    let gone = store.put("/b", Bytes::from("2"), Precondition::Revision(2)).await;
    assert!(matches!(gone, Err(Error::Conflict { current: None })));
    let second = store.put("/a", Bytes::from("2"), Precondition::Revision(2)).await.expect("holds");
    assert_eq!((second.create_revision, second.mod_revision), (2, 3));
    assert!(matches!(store.delete("/a", 2).await, Err(Error::Conflict { current: Some(_) })));
    assert_eq!(store.delete("/a", 3).await.expect("deleted"), 4);
    assert!(matches!(store.delete("/a", 3).await, Err(Error::Conflict { current: None })));
    assert_eq!(store.get("/a").await.expect("read"), None);
    assert_eq!(store.revision().await.expect("a revision"), 4);
}

#[tokio::test]
async fn of_writers_that_race_exactly_one_wins_each_revision() {
    let (_directory, store) = fresh(Options::default());
    create(&store, "/n", "0").await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut done = 0;
            while done < 10 {
                let entry = store.get("/n").await.expect("read").expect("is there");
                let number: u64 = std::str::from_utf8(&entry.value).expect("text").parse().expect("a number");
                let value = Bytes::from((number + 1).to_string());
                match store.put("/n", value, Precondition::Revision(entry.mod_revision)).await {
                    Ok(_) => done += 1,
                    Err(Error::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("a writer");
    }
    let entry = store.get("/n").await.expect("read").expect("is there");
    assert_eq!(entry.value, "80");
}

#[tokio::test]
async fn pages_of_a_list_show_one_revision_while_the_store_changes() {
    let (_directory, store) = fresh(Options::default());
    for number in 0..10 {
        create(&store, &format!("/pods/{number}"), "old").await;
    }
    create(&store, "/podsecurity", "").await;
    let page = RangeOptions { limit: Some(4), ..Default::default() };
    let first = store.range("/pods/", page.clone()).await.expect("a page");
    assert_eq!((keys(&first), first.remaining), (vec!["/pods/0", "/pods/1", "/pods/2", "/pods/3"], 6));
    let five = store.get("/pods/5").await.expect("read").expect("is there");
    store.delete("/pods/5", five.mod_revision).await.expect("deleted");
    let six = store.get("/pods/6").await.expect("read").expect("is there");
    store.put("/pods/6", Bytes::from("new"), Precondition::Revision(six.mod_revision)).await.expect("changed");
    create(&store, "/pods/55", "new").await;
    for _ in 0..2 {
        let page = RangeOptions { at_revision: Some(first.revision), after: Some("/pods/3".into()), limit: None };
        let rest = store.range("/pods/", page).await.expect("the rest");
        assert_eq!(keys(&rest), ["/pods/4", "/pods/5", "/pods/6", "/pods/7", "/pods/8", "/pods/9"]);
        assert_eq!((rest.revision, rest.remaining), (first.revision, 0));
        assert!(rest.entries.iter().all(|entry| entry.value == "old"));
    }
    assert_eq!(store.count("/pods/").await.expect("a count"), 10);
    assert_eq!(store.count("").await.expect("a count"), 11);
    let future = RangeOptions { at_revision: Some(1000), ..Default::default() };
    assert!(matches!(store.range("/", future).await, Err(Error::Future { requested: 1000, current: 15 })));
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
async fn the_ring_is_bounded_in_bytes_too() {
    let (_directory, store) = fresh(Options { ring_bytes: 10_000, ..Options::default() });
    for number in 0..20 {
        create(&store, &format!("/{number}"), &"x".repeat(1000)).await;
    }
    assert!(matches!(store.watch("/", Some(2)).await, Err(Error::Compacted { .. })));
    assert!(store.watch("/", Some(18)).await.is_ok());
}

#[tokio::test]
async fn a_watch_shows_every_change_of_its_prefix_in_order_and_resumes_anywhere() {
    let (_directory, store) = fresh(Options::default());
    let mut live = store.watch("/pods/", None).await.expect("a watch");
    assert!(matches!(live.next().await, Ok(WatchItem::Progress(1))), "a watch begins by saying where it is");
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let store = store.clone();
        writers.spawn(async move {
            for number in 0..25 {
                let entry = create(&store, &format!("/pods/{writer}-{number}"), "").await;
                create(&store, &format!("/other/{writer}-{number}"), "").await;
                if number % 3 == 0 {
                    store.delete(&entry.key, entry.mod_revision).await.expect("deleted");
                }
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.expect("a writer");
    }
    let total = 4 * (25 + 9);
    let mut seen = Vec::new();
    for _ in 0..total {
        seen.push(next_event(&mut live).await.revision);
    }
    assert!(seen.is_sorted_by(|a, b| a < b));
    let newest = store.revision().await.expect("a revision");
    assert!(matches!(live.next().await, Ok(WatchItem::Progress(revision)) if revision == newest));
    for from in [0, 1, total / 2, total - 1] {
        let mut resumed = store.watch("/pods/", Some(seen[from])).await.expect("a watch");
        for expected in &seen[from + 1..] {
            assert_eq!(next_event(&mut resumed).await.revision, *expected);
        }
        assert!(matches!(resumed.next().await, Ok(WatchItem::Progress(revision)) if revision == newest));
    }
}

#[tokio::test]
async fn watches_of_keys_and_prefixes_of_any_length_get_only_what_is_theirs() {
    let (_directory, store) = fresh(Options::default());
    let mut all = store.watch("", None).await.expect("a watch");
    let mut one = store.watch("/p/a/1", None).await.expect("a watch");
    let mut namespace = store.watch("/p/b/", None).await.expect("a watch");
    for key in ["/p/a/0", "/p/b/1", "/p/a/1", "/q"] {
        create(&store, key, "").await;
    }
    for key in ["/p/a/0", "/p/b/1", "/p/a/1", "/q"] {
        let event = next_event(&mut all).await;
        assert_eq!(event.current.as_ref().map(|entry| &*entry.key), Some(key));
    }
    assert_eq!(next_event(&mut one).await.revision, 4);
    assert_eq!(next_event(&mut namespace).await.revision, 3);
}

#[tokio::test]
async fn a_silent_watch_says_how_far_it_is_from_time_to_time() {
    let (_directory, store) = fresh(Options { progress_every: Duration::from_millis(20), ..Options::default() });
    let mut watch = store.watch("/quiet/", None).await.expect("a watch");
    assert!(matches!(watch.next().await, Ok(WatchItem::Progress(1))));
    create(&store, "/loud/1", "").await;
    let next = tokio::time::timeout(Duration::from_secs(10), watch.next()).await.expect("within ten seconds");
    assert!(matches!(next, Ok(WatchItem::Progress(2))), "{next:?}");
}

#[tokio::test]
async fn a_slow_watcher_is_cut_off_after_what_it_holds_and_the_others_go_on() {
    let (_directory, store) = fresh(Options { watch_queue: 5, ..Options::default() });
    let mut slow = store.watch("/", None).await.expect("a watch");
    let mut quick = store.watch("/", None).await.expect("a watch");
    for number in 0..8u64 {
        create(&store, &format!("/{number}"), "").await;
        assert_eq!(next_event(&mut quick).await.revision, number + 2);
    }
    for revision in 2..7 {
        assert_eq!(next_event(&mut slow).await.revision, revision);
    }
    assert!(matches!(slow.next().await, Err(Error::Slow)));
    let mut resumed = store.watch("/", Some(6)).await.expect("the ring still has it");
    assert_eq!(next_event(&mut resumed).await.revision, 7);
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
    assert_eq!((event.revision, &event.current, &event.previous), (4, &None, &Some(dropped)));
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
