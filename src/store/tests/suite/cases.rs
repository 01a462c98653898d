//! What every store does, whatever is below it. Revisions are compared, never named: others may write to an etcd.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::embedded::Options;
use store::encryption::{Encryption, Key, Keys, Provider, Rule};
use store::{Entry, Error, Event, Precondition, Range, RangeOptions, Store, Watch, WatchItem};

use crate::stores::Backend;

pub async fn create(store: &dyn Store, key: &str, value: &str) -> Entry {
    let value = Bytes::copy_from_slice(value.as_bytes());
    store.put(key, value, Precondition::Absent).await.expect("the key is new")
}

fn keys(range: &Range) -> Vec<&str> {
    range.entries.iter().map(|entry| &*entry.key).collect()
}

fn at(revision: u64) -> RangeOptions {
    RangeOptions { at_revision: Some(revision), ..Default::default() }
}

/// The next item within a bound.
async fn next(watch: &mut Box<dyn Watch>) -> Result<WatchItem, Error> {
    tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("an item within twenty seconds")
}

/// The next event within a bound, progress left out.
pub async fn next_event(watch: &mut Box<dyn Watch>) -> Arc<Event> {
    loop {
        if let WatchItem::Event(event) = next(watch).await.expect("the watch goes on") {
            return event;
        }
    }
}

pub async fn a_write_happens_only_where_its_precondition_holds(backend: Backend) {
    let store = backend.open(Options::default()).await;
    let start = store.revision().await.expect("a revision");
    assert!(start >= 1);
    let first = create(&*store, "/a", "1").await;
    assert_eq!((first.create_revision, first.mod_revision), (start + 1, start + 1));
    let again = store.put("/a", Bytes::from("2"), Precondition::Absent).await;
    assert!(matches!(again, Err(Error::Conflict { current: Some(entry) }) if entry == first));
    let stale = store.put("/a", Bytes::from("2"), Precondition::Revision(start)).await;
    assert!(matches!(stale, Err(Error::Conflict { current: Some(_) })));
    for revision in [0, start] {
        let gone = store.put("/b", Bytes::from("2"), Precondition::Revision(revision)).await;
        assert!(matches!(gone, Err(Error::Conflict { current: None })), "{gone:?}");
        assert!(matches!(store.delete("/b", revision).await, Err(Error::Conflict { current: None })));
    }
    let second = store.put("/a", Bytes::from("2"), Precondition::Revision(start + 1)).await.expect("holds");
    assert_eq!((second.create_revision, second.mod_revision), (start + 1, start + 2));
    assert!(matches!(store.delete("/a", start + 1).await, Err(Error::Conflict { current: Some(_) })));
    assert_eq!(store.delete("/a", start + 2).await.expect("deleted"), start + 3);
    assert!(matches!(store.delete("/a", start + 2).await, Err(Error::Conflict { current: None })));
    assert_eq!(store.get("/a").await.expect("read"), None);
    assert_eq!(store.revision().await.expect("a revision"), start + 3);
}

pub async fn of_writers_that_race_exactly_one_wins_each_revision(backend: Backend) {
    let store = backend.open(Options::default()).await;
    create(&*store, "/n", "0").await;
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

pub async fn pages_of_a_list_show_one_revision_while_the_store_changes(backend: Backend) {
    let store = backend.open(Options::default()).await;
    for number in 0..10 {
        create(&*store, &format!("/pods/{number}"), "old").await;
    }
    create(&*store, "/podsecurity", "").await;
    let page = RangeOptions { limit: Some(4), ..Default::default() };
    let first = store.range("/pods/", page.clone()).await.expect("a page");
    assert_eq!((keys(&first), first.remaining), (vec!["/pods/0", "/pods/1", "/pods/2", "/pods/3"], 6));
    let five = store.get("/pods/5").await.expect("read").expect("is there");
    store.delete("/pods/5", five.mod_revision).await.expect("deleted");
    let six = store.get("/pods/6").await.expect("read").expect("is there");
    store.put("/pods/6", Bytes::from("new"), Precondition::Revision(six.mod_revision)).await.expect("changed");
    let last = create(&*store, "/pods/55", "new").await;
    for _ in 0..2 {
        let page = RangeOptions { at_revision: Some(first.revision), after: Some("/pods/3".into()), limit: None };
        let rest = store.range("/pods/", page).await.expect("the rest");
        assert_eq!(keys(&rest), ["/pods/4", "/pods/5", "/pods/6", "/pods/7", "/pods/8", "/pods/9"]);
        assert_eq!((rest.revision, rest.remaining), (first.revision, 0));
        assert!(rest.entries.iter().all(|entry| entry.value == "old"));
    }
    assert_eq!(store.count("/pods/").await.expect("a count"), 10);
    assert_eq!(store.count("").await.expect("a count"), 11);
    let future = store.range("/", at(last.mod_revision + 1000)).await;
    assert!(matches!(future, Err(Error::Future { current, .. }) if current == last.mod_revision), "{future:?}");
    assert!(matches!(store.range("/", at(0)).await, Err(Error::Compacted { requested: 0, .. })));
}

pub async fn watches_from_revisions_that_are_too_old_are_refused(backend: Backend) {
    let store = backend.open(Options { ring_events: 3, ..Options::default() }).await;
    let mut newest = 0;
    for number in 0..6 {
        newest = create(&*store, &format!("/{number}"), "").await.mod_revision;
    }
    let oldest = newest - 3;
    let refused = store.watch("/", Some(oldest - 1)).await.err();
    assert!(matches!(refused, Some(Error::Compacted { oldest: found, .. }) if found == oldest), "{refused:?}");
    assert!(matches!(store.watch("/", Some(newest + 2)).await, Err(Error::Future { .. })));
    assert!(store.watch("/", Some(oldest)).await.is_ok());
    assert_eq!(store.range("/", at(oldest)).await.expect("kept").entries.len(), 3);
}

pub async fn the_ring_is_bounded_in_bytes_too(backend: Backend) {
    let store = backend.open(Options { ring_bytes: 10_000, ..Options::default() }).await;
    let first = create(&*store, "/first", "").await.mod_revision;
    for number in 0..20 {
        create(&*store, &format!("/{number}"), &"x".repeat(1000)).await;
    }
    assert!(matches!(store.watch("/", Some(first)).await, Err(Error::Compacted { .. })));
    assert!(store.watch("/", Some(first + 17)).await.is_ok());
    // An event of a change holds what was there before, too.
    let mut entry = create(&*store, "/changed", &"x".repeat(1000)).await;
    for _ in 0..10 {
        let precondition = Precondition::Revision(entry.mod_revision);
        entry = store.put("/changed", Bytes::from("x".repeat(1000)), precondition).await.expect("holds");
    }
    assert!(matches!(store.watch("/", Some(entry.mod_revision - 5)).await, Err(Error::Compacted { .. })));
    assert!(store.watch("/", Some(entry.mod_revision - 4)).await.is_ok());
}

pub async fn a_watch_shows_every_change_of_its_prefix_in_order_and_resumes_anywhere(backend: Backend) {
    let store = backend.open(Options::default()).await;
    let start = store.revision().await.expect("a revision");
    let mut live = store.watch("/pods/", None).await.expect("a watch");
    assert!(matches!(next(&mut live).await, Ok(WatchItem::Progress(at)) if at == start));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let store = store.clone();
        writers.spawn(async move {
            for number in 0..25 {
                let entry = create(&*store, &format!("/pods/{writer}-{number}"), "").await;
                create(&*store, &format!("/other/{writer}-{number}"), "").await;
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
        let event = next_event(&mut live).await;
        assert_eq!(event.current.is_none(), event.previous.is_some());
        seen.push(event.revision);
    }
    assert!(seen.is_sorted_by(|a, b| a < b));
    let newest = store.revision().await.expect("a revision");
    assert!(matches!(next(&mut live).await, Ok(WatchItem::Progress(revision)) if revision == newest));
    for from in [0, 1, total / 2, total - 1] {
        let mut resumed = store.watch("/pods/", Some(seen[from])).await.expect("a watch");
        for expected in &seen[from + 1..] {
            assert_eq!(next_event(&mut resumed).await.revision, *expected);
        }
        assert!(matches!(next(&mut resumed).await, Ok(WatchItem::Progress(revision)) if revision == newest));
    }
}

pub async fn watches_of_keys_and_prefixes_of_any_length_get_only_what_is_theirs(backend: Backend) {
    let store = backend.open(Options::default()).await;
    let mut all = store.watch("", None).await.expect("a watch");
    let mut one = store.watch("/p/a/1", None).await.expect("a watch");
    let mut namespace = store.watch("/p/b/", None).await.expect("a watch");
    let mut made = Vec::new();
    for key in ["/p/a/0", "/p/b/1", "/p/a/1", "/q"] {
        made.push(create(&*store, key, "").await);
    }
    for entry in &made {
        assert_eq!(next_event(&mut all).await.current.as_deref(), Some(entry));
    }
    assert_eq!(next_event(&mut one).await.revision, made[2].mod_revision);
    assert_eq!(next_event(&mut namespace).await.revision, made[1].mod_revision);
}

pub async fn a_silent_watch_says_how_far_it_is_from_time_to_time(backend: Backend) {
    let store = backend.open(Options { progress_every: Duration::from_millis(20), ..Options::default() }).await;
    let mut watch = store.watch("/quiet/", None).await.expect("a watch");
    let loud = create(&*store, "/loud/1", "").await.mod_revision;
    loop {
        match next(&mut watch).await {
            Ok(WatchItem::Progress(revision)) if revision == loud => return,
            Ok(WatchItem::Progress(revision)) => assert!(revision < loud),
            other => panic!("{other:?}"),
        }
    }
}

pub async fn a_slow_watcher_is_cut_off_after_what_it_holds_and_the_others_go_on(backend: Backend) {
    let store = backend.open(Options { watch_queue: 5, ..Options::default() }).await;
    let mut slow = store.watch("/", None).await.expect("a watch");
    let mut quick = store.watch("/", None).await.expect("a watch");
    let mut made = Vec::new();
    for number in 0..8u64 {
        made.push(create(&*store, &format!("/{number}"), "").await.mod_revision);
        assert_eq!(next_event(&mut quick).await.revision, made[number as usize]);
    }
    for revision in &made[..5] {
        assert_eq!(next_event(&mut slow).await.revision, *revision);
    }
    assert!(matches!(next(&mut slow).await, Err(Error::Slow)));
    let mut resumed = store.watch("/", Some(made[4])).await.expect("the ring still has it");
    assert_eq!(next_event(&mut resumed).await.revision, made[5]);
}

pub async fn what_was_written_is_there_when_the_store_is_opened_again(backend: Backend) {
    let store = backend.open(Options::default()).await;
    let kept = create(&*store, "/kept", "v").await;
    let dropped = create(&*store, "/dropped", "v").await;
    let last = store.delete("/dropped", dropped.mod_revision).await.expect("deleted");
    let mut watch = store.watch("/", None).await.expect("a watch");
    assert!(matches!(next(&mut watch).await, Ok(WatchItem::Progress(at)) if at == last));
    drop(store);
    assert!(matches!(next(&mut watch).await, Err(Error::Closed)));
    let store = backend.open(Options::default()).await;
    assert_eq!(store.revision().await.expect("a revision"), last);
    assert_eq!(store.get("/kept").await.expect("read"), Some(kept));
    assert_eq!(store.get("/dropped").await.expect("read"), None);
    assert_eq!(create(&*store, "/next", "").await.mod_revision, last + 1);
}

pub async fn values_of_every_size_come_back_as_they_were(backend: Backend) {
    let store = backend.open(Options::default()).await;
    for size in [0, 1, 4095, 65_537, 1_000_000] {
        let value: Bytes = (0..size).map(|at: u32| (at.wrapping_mul(31) >> 3) as u8).collect();
        let key = format!("/size/{size}");
        let put = store.put(&key, value.clone(), Precondition::Absent).await.expect("is new");
        assert_eq!(put.value, value);
        assert_eq!(store.get(&key).await.expect("read").expect("is there").value, value);
    }
}

fn encrypted(providers: Vec<Provider>) -> Options {
    let rule = Rule { keys: vec![Keys::Prefix("/registry/secrets/".to_string())], providers };
    Options { encryption: Arc::new(Encryption::new(vec![rule])), ..Options::default() }
}

fn key(name: &str, byte: u8) -> Key {
    Key::new(name, vec![byte; 32])
}

pub async fn secrets_are_encrypted_and_their_keys_are_rotated(backend: Backend) {
    let (secret, other) = ("/registry/secrets/default/s", "/registry/configmaps/default/c");
    let store = backend.open(Options::default()).await;
    create(&*store, secret, "plain at first").await;
    create(&*store, other, "never encrypted").await;
    let (hour, going) = (Duration::from_secs(3600), "/registry/secrets/default/t");
    let going = store.put_with_ttl(going, Bytes::from_static(b"v"), Precondition::Absent, Some(hour)).await;
    let going = going.expect("is new");
    drop(store);
    let (old, new) = (key("old", 1), key("new", 2));
    let boxed = || Provider::secretbox(vec![old.clone()]).expect("a key");
    let sealed = |keys: Vec<Key>| Provider::aesgcm(keys).expect("keys");
    let no_identity = encrypted(vec![boxed()]);
    let refused = backend.refusal(no_identity.clone()).await.expect("is not encrypted yet");
    assert!(refused.contains(secret) && refused.contains("identity"), "{refused}");
    // Each step begins with what the one before has written; the last key alone reads it at the end.
    let steps = [
        (encrypted(vec![boxed(), Provider::identity()]), no_identity, "k8s:enc:secretbox:v1:old"),
        (
            encrypted(vec![sealed(vec![new.clone()]), boxed()]),
            encrypted(vec![sealed(vec![new.clone()])]),
            "k8s:enc:aesgcm:v1:new",
        ),
        (
            encrypted(vec![sealed(vec![key("newer", 3), new.clone()])]),
            encrypted(vec![sealed(vec![key("newer", 3)])]),
            "k8s:enc:aesgcm:v1:newer",
        ),
    ];
    for (number, (both, alone, mark)) in steps.into_iter().enumerate() {
        let store = backend.open(both).await;
        let value = store.get(secret).await.expect("read").expect("is there").value;
        assert_eq!(value, "plain at first");
        create(&*store, &format!("/registry/secrets/default/{number}"), "made now").await;
        let began = std::time::Instant::now();
        drop({
            // On etcd values are written anew while the store is served already; one process has the embedded one.
            let held = match &backend {
                Backend::Embedded(_) => {
                    drop(store);
                    None
                }
                Backend::Etcd(_) => Some(store),
            };
            while let Some(refused) = backend.refusal(alone.clone()).await {
                assert!(began.elapsed() < Duration::from_secs(20), "{refused}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            held
        });
        let without = backend.refusal(Options::default()).await.expect("what is encrypted is not handed on");
        assert!(without.contains(mark) && without.contains("encryption configuration"), "{without}");
        let store = backend.open(alone).await;
        assert_eq!(store.count("/registry/secrets/").await.expect("a count"), number as u64 + 3);
        let found = store.get(&going.key).await.expect("read").expect("is there");
        assert_eq!((found.value, found.lease), (going.value.clone(), going.lease), "it goes when it would have");
        assert_eq!(store.get(other).await.expect("read").expect("is there").value, "never encrypted");
    }
    let wrong = encrypted(vec![sealed(vec![key("newer", 9)])]);
    let refused = backend.refusal(wrong).await.expect("another key of that name");
    assert!(refused.contains("cannot be decrypted with key newer"), "{refused}");
}
