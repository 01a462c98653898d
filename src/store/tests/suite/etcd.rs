//! What only a store that several servers share does: certificates, members that come and go, writes of others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::etcd::{Etcd, Options};
use store::{Error, Precondition, RangeOptions, Store, WatchItem};

use crate::member::Member;
use crate::proxy::Proxy;

async fn create(store: &Etcd, key: &str) -> u64 {
    let put = store.put(key, Bytes::from_static(b"v"), Precondition::Absent).await;
    put.expect("the key is new").mod_revision
}

/// Opens once, without waiting for a member that does not answer.
async fn refusal(options: Options) -> String {
    let refused = tokio::time::timeout(Duration::from_secs(30), Etcd::open(options)).await.expect("an answer");
    stdx::error::chain(&refused.expect_err("is refused"))
}

#[tokio::test]
async fn members_and_servers_show_each_other_certificates() {
    let (member, other) = (Member::start(true), Member::start(true));
    let store = member.open(member.options()).await;
    create(&store, "/a").await;
    assert_eq!(store.count("/").await.expect("a count"), 1);
    let own = member.options();
    let foreign = other.options().tls.expect("has certificates");
    let mut wrong = own.clone();
    wrong.tls = own.tls.clone().map(|tls| store::etcd::Tls {
        certificate: foreign.certificate.clone(),
        key: foreign.key.clone(),
        ..tls
    });
    assert!(refusal(wrong).await.contains("while reading etcd"), "a client of another authority");
    let mut wrong = own.clone();
    wrong.tls = own.tls.clone().map(|tls| store::etcd::Tls { ca: foreign.ca.clone(), ..tls });
    assert!(refusal(wrong).await.contains("while reading etcd"), "a member of another authority");
    let mut missing = own.clone();
    missing.tls = own.tls.clone().map(|tls| store::etcd::Tls { ca: "/nowhere/ca.crt".into(), ..tls });
    assert!(refusal(missing).await.contains("/nowhere/ca.crt"));
    let plain = Options { endpoints: vec![member.url().replace("https", "http")], ..own };
    assert!(refusal(plain).await.contains("is not https"));
}

#[tokio::test]
async fn what_one_server_writes_every_other_reads_at_once_and_watches() {
    let member = Member::start(false);
    let one = member.open(member.options()).await;
    let two = member.open(member.options()).await;
    let mut watch = two.watch("/k/", None).await.expect("a watch");
    for number in 0..60 {
        let (writer, reader) = if number % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let key = format!("/k/{number:02}");
        let revision = create(writer, &key).await;
        // On the server that wrote it and on the other, each way of reading.
        for store in [writer, reader] {
            match number % 3 {
                0 => assert!(store.get(&key).await.expect("read").is_some()),
                1 => assert_eq!(store.count("/k/").await.expect("a count"), number + 1),
                _ => {
                    let list = store.range("/k/", RangeOptions::default()).await.expect("a list");
                    assert_eq!((list.entries.len() as u64, list.revision), (number + 1, revision));
                }
            }
            assert!(store.revision().await.expect("a revision") >= revision);
        }
        let event = loop {
            if let WatchItem::Event(event) = watch.next().await.expect("the watch goes on") {
                break event;
            }
        };
        assert_eq!(event.revision, revision);
        // A revision that one server gave out is known on the other.
        assert!(reader.watch("/k/", Some(revision)).await.is_ok());
    }
}

#[tokio::test]
async fn a_list_goes_on_at_its_revision_on_a_server_that_started_later() {
    let member = Member::start(false);
    let one = member.open(member.options()).await;
    for number in 0..5 {
        create(&one, &format!("/k/{number}")).await;
    }
    let page = RangeOptions { limit: Some(2), ..Default::default() };
    let first = one.range("/k/", page).await.expect("a page");
    create(&one, "/k/25").await;
    let two = member.open(member.options()).await;
    let page = RangeOptions { at_revision: Some(first.revision), after: Some("/k/1".into()), limit: Some(2) };
    let next = two.range("/k/", page.clone()).await.expect("the next page");
    let keys: Vec<&str> = next.entries.iter().map(|entry| &*entry.key).collect();
    assert_eq!((keys, next.remaining, next.revision), (vec!["/k/2", "/k/3"], 1, first.revision));
    // Every key of a store is below the empty prefix, and of a neighbour whose name begins alike none.
    let ours = Options { prefix: "/own".into(), ..member.options() };
    let first = create(&*member.open(ours.clone()).await, "/k/0").await;
    let others = member.open(Options { prefix: "/own-other".into(), ..member.options() }).await;
    let last = create(&others, "/k/0").await;
    create(&others, "/k/1").await;
    for (options, at, count) in [(member.options(), first, 7), (ours, last, 1)] {
        let store = member.open(options).await;
        let page = RangeOptions { at_revision: Some(at), limit: Some(1), after: None };
        let list = store.range("", page).await.expect("a page");
        assert_eq!((list.entries.len() as u64, list.remaining, list.revision), (1, count - 1, at));
    }
}

#[tokio::test]
async fn values_are_encrypted_anew_although_etcd_goes_away_meanwhile() {
    use store::encryption::{Encryption, Key, Keys, Provider, Rule};
    let encrypted = |providers| Arc::new(Encryption::new(vec![Rule { keys: vec![Keys::All], providers }]));
    let key = || Provider::aesgcm(vec![Key::new("k", vec![1; 32])]).expect("a key");
    let member = Member::start(false);
    let plain = member.open(member.options()).await;
    for number in 0..300 {
        create(&plain, &format!("/k/{number}")).await;
    }
    drop(plain);
    let proxy = Proxy::start(member.port()).await;
    let encryption = encrypted(vec![key(), Provider::identity()]);
    let store = member.open(Options { endpoints: vec![proxy.url()], encryption, ..member.options() }).await;
    proxy.cut();
    let refused = store.put("/k/cut", Bytes::new(), Precondition::Absent).await;
    assert!(refused.is_err(), "etcd is away");
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.heal();
    let alone = Options { encryption: encrypted(vec![key()]), ..member.options() };
    let began = std::time::Instant::now();
    while let Err(error) = Etcd::open(alone.clone()).await {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", stdx::error::chain(&error));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_store_outlasts_the_death_of_its_member_and_its_watches_miss_nothing() {
    let mut member = Member::start(false);
    let store = member.open(member.options()).await;
    let mut watch = store.watch("/k/", None).await.expect("a watch");
    let mut made = vec![create(&store, "/k/before").await];
    for round in 0..3 {
        member.kill();
        let refused = store.put("/k/dead", Bytes::new(), Precondition::Absent).await;
        assert!(matches!(refused, Err(Error::Backend { .. })), "{refused:?}");
        member.run();
        // A read waits for the member.
        assert_eq!(store.count("/k/").await.expect("a count"), made.len() as u64);
        made.push(create(&store, &format!("/k/{round}")).await);
    }
    for revision in made {
        loop {
            match watch.next().await.expect("the watch goes on") {
                WatchItem::Event(event) => {
                    assert_eq!(event.revision, revision);
                    break;
                }
                WatchItem::Progress(_) => {}
            }
        }
    }
}

#[tokio::test]
async fn clusters_with_prefixes_of_their_own_do_not_see_each_other() {
    let member = Member::start(false);
    let one = member.open(Options { prefix: "/one".into(), ..member.options() }).await;
    let two = member.open(Options { prefix: "/two".into(), ..member.options() }).await;
    create(&one, "/k").await;
    assert_eq!(two.get("/k").await.expect("read"), None);
    let revision = create(&two, "/k").await;
    assert_eq!(one.range("", RangeOptions::default()).await.expect("a list").entries.len(), 1);
    assert_eq!(one.revision().await.expect("a revision"), revision, "revisions are those of all of etcd");
    // A list answers that revision, and whoever lists goes on from there.
    assert!(one.watch("", Some(revision)).await.is_ok(), "the newest change is of another cluster");
}

#[tokio::test]
async fn servers_agree_on_compaction_and_old_revisions_go() {
    let member = Member::start(false);
    let options = Options { history: Duration::from_millis(300), ring_events: 4, ..member.options() };
    let one = member.open(options.clone()).await;
    let _two = member.open(options).await;
    let first = create(&one, "/k/first").await;
    for number in 0..10 {
        create(&one, &format!("/k/{number}")).await;
    }
    let at = RangeOptions { at_revision: Some(first), ..Default::default() };
    let began = std::time::Instant::now();
    loop {
        match one.range("/k/", at.clone()).await {
            Err(Error::Compacted { requested, .. }) => break assert_eq!(requested, first),
            Ok(list) => assert_eq!(list.entries.len(), 1, "until then it is as it was"),
            Err(error) => panic!("{}", stdx::error::chain(&error)),
        }
        assert!(began.elapsed() < Duration::from_secs(20), "nothing is compacted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(one.count("/k/").await.expect("a count"), 11);
}

#[tokio::test]
async fn a_server_that_was_cut_off_while_etcd_was_compacted_reads_everything_again() {
    let member = Member::start(false);
    let proxy = Proxy::start(member.port()).await;
    let behind = Options { endpoints: vec![proxy.url()], ..member.options() };
    let behind = member.open(behind).await;
    let first = create(&behind, "/k/first").await;
    let mut watch = behind.watch("/k/", None).await.expect("a watch");
    proxy.cut();
    let history = Options { history: Duration::from_millis(200), ring_events: 1, ..member.options() };
    let other = member.open(history).await;
    for number in 0..10 {
        create(&other, &format!("/k/{number}")).await;
    }
    let at = RangeOptions { at_revision: Some(first + 5), ..Default::default() };
    while other.range("/k/", at.clone()).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    proxy.heal();
    assert_eq!(behind.count("/k/").await.expect("a count"), 11);
    // What happened meanwhile cannot be told, so the watch ends and cannot be resumed.
    while watch.next().await.is_ok() {}
    assert!(matches!(behind.watch("/k/", Some(first)).await, Err(Error::Compacted { .. })));
    let last = create(&behind, "/k/last").await;
    assert_eq!(behind.revision().await.expect("a revision"), last);
}

#[tokio::test]
async fn another_member_answers_where_one_does_not() {
    let member = Member::start(false);
    let proxy = Proxy::start(member.port()).await;
    let endpoints = vec![proxy.url(), member.url()];
    let store = member.open(Options { endpoints, ..member.options() }).await;
    create(&store, "/k/0").await;
    proxy.cut();
    for number in 1..20 {
        assert_eq!(store.count("/k/").await.expect("a count"), number);
        let key = format!("/k/{number}");
        let put = store.put(&key, Bytes::from_static(b"v"), Precondition::Absent).await;
        if put.is_err() {
            // Whether it had happened is found by reading.
            assert!(matches!(put, Err(Error::Backend { .. })), "{put:?}");
            if store.get(&key).await.expect("read").is_none() {
                create(&store, &key).await;
            }
        }
    }
}

#[tokio::test]
async fn a_cluster_of_three_goes_on_without_any_one_of_its_members() {
    let mut members = Member::start_cluster(3);
    let endpoints: Vec<String> = members.iter().map(Member::url).collect();
    let one = members[0].open(Options { endpoints: endpoints.clone(), ..members[0].options() }).await;
    let endpoints = endpoints.into_iter().rev().collect();
    let two = members[0].open(Options { endpoints, ..members[0].options() }).await;
    let mut watch = two.watch("/k/", None).await.expect("a watch");
    let mut made = 0;
    for round in 0..6 {
        let dead = round % 3;
        members[dead].kill();
        for _ in 0..4 {
            let key = format!("/k/{made:02}");
            // A write to the dead member fails; whether it had happened is found by reading.
            let began = std::time::Instant::now();
            while one.get(&key).await.ok().flatten().is_none() {
                assert!(began.elapsed() < Duration::from_secs(30), "nothing can be written without m{dead}");
                let _ = one.put(&key, Bytes::from_static(b"v"), Precondition::Absent).await;
            }
            made += 1;
            assert_eq!(two.count("/k/").await.expect("a count"), made, "the other server reads it");
        }
        members[dead].run();
    }
    let mut seen = 0;
    while seen < made {
        let item = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("an item");
        if let WatchItem::Event(event) = item.expect("the watch goes on") {
            let key = event.current.as_ref().map(|entry| entry.key.to_string());
            assert_eq!(key, Some(format!("/k/{seen:02}")));
            seen += 1;
        }
    }
}
