//! The checker itself: histories that no store may show are found out.

use std::collections::BTreeMap;

use crate::check::{Answer, Call, Change, Op, check};

fn change(revision: u64, key: &str, value: Option<&str>) -> Change {
    Change { revision, key: key.to_string(), value: value.map(str::to_string) }
}

fn call(begin: u64, end: u64, op: Op, answer: Answer) -> Call {
    Call { begin_ms: begin, begin, end, op, answer }
}

fn put(value: &str, expected: Option<u64>) -> Op {
    Op::Put { key: "a".to_string(), value: value.to_string(), expected, ttl_ms: None }
}

fn get() -> Op {
    Op::Get { key: "a".to_string() }
}

fn read(value: &str, revision: u64) -> Answer {
    Answer::Read(Some((value.to_string(), revision)))
}

fn listed(revision: u64, entries: &[(&str, &str, u64)]) -> Answer {
    let entries = entries.iter().map(|(key, value, at)| (key.to_string(), (value.to_string(), *at)));
    Answer::Listed(revision, entries.collect())
}

#[test]
fn histories_are_told_apart() {
    let two = [change(2, "a", Some("1")), change(3, "a", Some("2"))];
    let gone = [change(2, "a", Some("1")), change(3, "a", None)];
    let first = || call(0, 1, put("1", None), Answer::Written(2));
    let second = || call(2, 3, put("2", Some(2)), Answer::Written(3));
    let conflict = |value: &str, at| Answer::Conflict(Some((value.to_string(), at)));
    let delete = || Op::Delete { key: "a".to_string(), expected: 2 };
    let good: &[(&str, &[Change], Vec<Call>)] = &[
        ("one after the other", &two, vec![first(), second(), call(4, 5, get(), read("2", 3))]),
        (
            "a read during a write sees either",
            &two,
            vec![
                first(),
                call(2, 9, put("2", Some(2)), Answer::Written(3)),
                call(3, 4, get(), read("1", 2)),
                call(5, 6, get(), read("2", 3)),
            ],
        ),
        (
            "an unanswered write that happened",
            &two,
            vec![
                first(),
                call(2, 3, put("2", Some(2)), Answer::Unknown),
                call(4, 5, get(), read("1", 2)),
                call(6, 7, get(), read("2", 3)),
            ],
        ),
        (
            "an unanswered write that did not",
            &two[..1],
            vec![first(), call(2, 3, put("2", Some(2)), Answer::Unknown), call(4, 5, get(), read("1", 2))],
        ),
        (
            "a deletion, and a refusal of what it took",
            &gone,
            vec![
                first(),
                call(2, 3, delete(), Answer::Written(3)),
                call(4, 5, put("3", Some(2)), Answer::Conflict(None)),
                call(6, 7, Op::List, listed(3, &[])),
            ],
        ),
        ("a deletion that nobody was told of", &gone, vec![first(), call(2, 3, delete(), Answer::Unknown)]),
        ("a key that never was", &two, vec![first(), second(), call(0, 1, get(), Answer::Read(None))]),
    ];
    for (name, log, calls) in good {
        assert_eq!(check(1, log, calls, &BTreeMap::new()), Ok(()), "{name}");
    }
    let bad: &[(&str, &[Change], Vec<Call>)] = &[
        ("a stale read", &two, vec![first(), second(), call(4, 5, get(), read("1", 2))]),
        ("a stale list", &two, vec![first(), second(), call(4, 5, Op::List, listed(2, &[("a", "1", 2)]))]),
        ("a list that is torn", &two, vec![first(), second(), call(4, 5, Op::List, listed(3, &[("a", "1", 2)]))]),
        ("a list of the future", &two, vec![first(), second(), call(4, 5, Op::List, listed(4, &[("a", "2", 3)]))]),
        ("a lost write", &two[..1], vec![first(), second()]),
        ("a write that another wrote over", &[change(2, "a", Some("2"))], vec![first()]),
        ("a write that nobody asked for", &two, vec![first()]),
        (
            "a write before it was asked for",
            &two,
            vec![call(0, 1, put("2", Some(2)), Answer::Written(3)), call(2, 3, put("1", None), Answer::Written(2))],
        ),
        (
            "an unanswered write before it was asked for",
            &two,
            vec![first(), call(2, 3, get(), read("2", 3)), call(4, 5, put("2", Some(2)), Answer::Unknown)],
        ),
        ("a precondition that did not hold", &two, vec![first(), call(2, 3, put("2", None), Answer::Written(3))]),
        ("a refusal although it held", &two[..1], vec![first(), call(2, 3, put("2", Some(2)), conflict("1", 2))]),
        ("a refusal by what was never there", &two[..1], vec![first(), call(2, 3, put("2", None), conflict("x", 2))]),
        (
            "reads that go back",
            &two,
            vec![
                first(),
                call(2, 9, put("2", Some(2)), Answer::Written(3)),
                call(3, 4, get(), read("2", 3)),
                call(5, 6, get(), read("1", 2)),
            ],
        ),
        ("two writes of one revision", &two[..1], vec![first(), first()]),
        ("a gap", &[change(2, "a", Some("1")), change(4, "a", Some("2"))], vec![first()]),
        ("a change twice", &[change(2, "a", Some("1")), change(2, "a", Some("1"))], vec![first()]),
        ("a deletion of nothing", &[change(2, "a", None)], vec![]),
    ];
    for (name, log, calls) in bad {
        assert!(check(1, log, calls, &BTreeMap::new()).is_err(), "{name}");
    }
}

#[test]
fn a_value_goes_by_itself_when_its_time_is_over_and_not_before() {
    let ending = |key: &str, value: &str, ttl_ms| {
        let (key, value) = (key.to_string(), value.to_string());
        Op::Put { key, value, expected: None, ttl_ms }
    };
    let calls = |ttl_ms| {
        vec![
            call(10, 11, ending("a", "1", ttl_ms), Answer::Written(2)),
            call(12, 13, ending("b", "2", ttl_ms), Answer::Written(3)),
        ]
    };
    // Both in one revision, as leases of etcd end.
    let log = [
        change(2, "a", Some("1")),
        change(3, "b", Some("2")),
        change(4, "a", None),
        change(4, "b", None),
        change(5, "a", Some("3")),
    ];
    let cases = [
        ("after its time", Some(50), 62, true),
        ("one of them early", Some(50), 61, false),
        ("without a time to live", None, 1000, false),
    ];
    for (name, ttl_ms, at_ms, good) in cases {
        let mut calls = calls(ttl_ms);
        let put = Op::Put { key: "a".to_string(), value: "3".to_string(), expected: None, ttl_ms: None };
        calls.push(call(100, 101, put, Answer::Written(5)));
        assert_eq!(check(1, &log, &calls, &BTreeMap::from([(4, at_ms)])).is_ok(), good, "{name}");
    }
    let both = [change(2, "a", Some("1")), change(2, "b", Some("2"))];
    assert!(check(1, &both, &calls(None), &BTreeMap::new()).is_err(), "two writes are two revisions");
}
