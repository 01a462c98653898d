use bytes::Bytes;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn entry(key: &str, revision: u64, lease: Option<Lease>) -> Arc<Entry> {
    Arc::new(Entry { key: key.into(), value: Bytes::new(), create_revision: 2, mod_revision: revision, lease })
}

fn put(expiry: &mut Expiry, before: Option<&Arc<Entry>>, after: &Arc<Entry>) {
    let revision = after.mod_revision;
    expiry.take(&Event { revision, current: Some(after.clone()), previous: before.cloned() });
}

fn keys(due: Vec<Operation>) -> Vec<String> {
    let key = |operation| match operation {
        Operation::Delete { key, .. } => key.to_string(),
        Operation::Put { key, .. } => panic!("{key} is put"),
    };
    due.into_iter().map(key).collect()
}

#[test]
fn a_value_goes_after_its_time_and_what_was_written_again_later() {
    let start = Instant::now();
    let mut expiry = Expiry::new(500, &Tree::default(), start);
    assert_eq!(expiry.next(), None, "nothing goes by itself");
    let lease = |expiry: &mut Expiry, at| expiry.lease(HOUR, start + at);
    let (a, b) = (lease(&mut expiry, ms(0)), lease(&mut expiry, ms(60_000)));
    assert!(a.is_some() && a == b, "both go together");
    let later = lease(&mut expiry, ms(60_002));
    assert!(later > a, "it would go early with them");
    let (first, second) = (entry("/a", 2, a), entry("/b", 3, b));
    put(&mut expiry, None, &first);
    put(&mut expiry, None, &second);
    let over = start + HOUR + ms(60_000);
    assert_eq!(keys(expiry.due(over)), [""; 0]);
    assert_eq!(keys(expiry.due(over + ms(1))), ["/a", "/b"]);
    put(&mut expiry, Some(&first), &entry("/a", 4, later));
    assert_eq!(keys(expiry.due(over + ms(1))), ["/b"], "its time began anew");
    put(&mut expiry, Some(&second), &entry("/b", 5, None));
    assert_eq!(keys(expiry.due(over + HOUR)), ["/a"], "the other stays now");
    expiry.take(&Event { revision: 6, current: None, previous: Some(entry("/a", 4, later)) });
    assert_eq!((expiry.due(over + HOUR).len(), expiry.next()), (0, None), "it is deleted already");
}

#[test]
fn time_counts_while_the_store_is_open_and_goes_on_where_it_was_noted() {
    let start = Instant::now();
    let mut expiry = Expiry::new(0, &Tree::default(), start);
    let lease = expiry.lease(HOUR, start);
    let kept = entry("/a", 2, lease);
    put(&mut expiry, None, &kept);
    let noted = expiry.to_note_last(start + HOUR / 2).expect("something goes by itself");
    assert_eq!(noted, 1_800_000);
    let mut tree = Tree::default();
    tree.insert(kept);
    // However long it was away.
    let again = start + HOUR * 9;
    let expiry = Expiry::new(noted, &tree, again);
    assert_eq!(keys(expiry.due(again + HOUR / 2)), [""; 0]);
    assert_eq!(keys(expiry.due(again + HOUR / 2 + ms(60_001))), ["/a"]);
}

#[test]
fn after_a_crash_a_value_goes_as_late_as_the_clock_was_not_noted_and_no_later() {
    let start = Instant::now();
    for (open_for, with_writes) in [(NOTE_WITH_WRITES, true), (NOTE_ALONE, false)] {
        let almost = open_for - ms(1);
        let mut expiry = Expiry::new(0, &Tree::default(), start);
        let kept = entry("/a", 2, expiry.lease(ms(5), start + almost));
        put(&mut expiry, None, &kept);
        assert_eq!(expiry.to_note(with_writes, start + almost), None, "it is not time yet");
        let mut tree = Tree::default();
        tree.insert(kept);
        let expiry = Expiry::new(0, &tree, start);
        assert_eq!(keys(expiry.due(start + almost)), [""; 0], "its time may not be over");
        assert_eq!(keys(expiry.due(start + almost + ms(10))), ["/a"]);
        let next = expiry.next().expect("something goes by itself");
        assert!(next <= start + almost + ms(10), "the thread is up then");
    }
}

#[test]
fn the_clock_is_noted_with_writes_sooner_than_alone_and_only_where_something_goes_by_itself() {
    let start = Instant::now();
    let mut expiry = Expiry::new(0, &Tree::default(), start);
    assert_eq!((expiry.to_note(true, start + HOUR), expiry.to_note_last(start + HOUR)), (None, None));
    let lease = expiry.lease(HOUR, start);
    put(&mut expiry, None, &entry("/a", 2, lease));
    for (after_s, with_writes, alone) in [(9, false, false), (10, true, false), (59, true, false), (60, true, true)] {
        let now = start + Duration::from_secs(after_s);
        let due = (expiry.to_note(true, now).is_some(), expiry.to_note(false, now).is_some());
        assert_eq!(due, (with_writes, alone), "after {after_s} s");
    }
    assert_eq!(expiry.next(), Some(start + NOTE_ALONE));
    let now = start + NOTE_ALONE;
    expiry.noted(now);
    assert_eq!((expiry.to_note(true, now), expiry.next()), (None, Some(now + NOTE_ALONE)));
    expiry.failed(now);
    assert_eq!(keys(expiry.due(now)), [""; 0]);
}

#[test]
fn no_transaction_lets_go_more_than_it_may_and_the_oldest_go_first() {
    let start = Instant::now();
    let mut expiry = Expiry::new(0, &Tree::default(), start);
    for number in 0..1300u64 {
        let lease = expiry.lease(ms(100), start);
        put(&mut expiry, None, &entry(&format!("/{number}"), number + 2, lease));
    }
    let due = keys(expiry.due(start + ms(1000)));
    assert_eq!((due.len(), due[0].as_str()), (AT_ONCE, "/0"));
    assert_eq!(expiry.lease(Duration::MAX, start), None, "what outlives the store stays");
}
