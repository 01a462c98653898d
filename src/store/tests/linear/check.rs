//! Whether a concurrent history could have come from a store that does one thing after the other.
//!
//! The store numbers its states, so no search is needed: the log of changes says what each revision was, and every
//! call must fit to one revision such that whoever began after another had ended sees no older one. Writes stand at
//! their own revision, lists at the one they name; gets and refused writes may stand at any at which the key was as
//! they saw it, and are given the oldest that is not too old. Calls without an answer may have happened or not. A
//! deletion that nobody asked for is that of a value whose time is over, and several of them may be one revision.

use std::collections::BTreeMap;

/// A value with the revision that put it; `None` where there is no such key.
pub type Seen = Option<(String, u64)>;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// `expected` is the revision of the last change; `None` for a key that must not be there. With a time to live the
    /// value goes by itself after it.
    Put {
        key: String,
        value: String,
        expected: Option<u64>,
        ttl_ms: Option<u64>,
    },
    Delete {
        key: String,
        expected: u64,
    },
    Get {
        key: String,
    },
    List,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Written(u64),
    Conflict(Seen),
    Read(Seen),
    Listed(u64, BTreeMap<String, (String, u64)>),
    /// Nothing; it may happen at any time from the beginning on, or never.
    Unknown,
}

/// One call, with when it began and ended on a clock that all callers share and that never shows a time twice.
#[derive(Debug, Clone)]
pub struct Call {
    /// On a clock that goes as the world's does.
    pub begin_ms: u64,
    pub begin: u64,
    pub end: u64,
    pub op: Op,
    pub answer: Answer,
}

/// A change, as watches show it; `value` is `None` for a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub revision: u64,
    pub key: String,
    pub value: Option<String>,
}

/// The log, indexed.
struct States<'a> {
    log: &'a [Change],
    first: u64,
    /// Of each key, every state it was in: from when, and what.
    keys: BTreeMap<&'a str, Vec<(u64, Seen)>>,
}

impl<'a> States<'a> {
    /// The log must have every revision after `first`, at which there was nothing.
    fn new(first: u64, log: &'a [Change]) -> Result<Self, String> {
        let mut keys: BTreeMap<&str, Vec<(u64, Seen)>> = BTreeMap::new();
        let (mut last, mut together) = (first, false);
        for change in log {
            // What goes by itself at the same moment does so in one revision.
            let along = together && change.value.is_none() && change.revision == last;
            if change.revision != last + 1 && !along {
                return Err(format!("revision {} should come, {change:?} does", last + 1));
            }
            (last, together) = (change.revision, change.value.is_none());
            let states = keys.entry(&change.key).or_insert_with(|| vec![(0, None)]);
            if change.value.is_none() && states.last().is_none_or(|(_, state)| state.is_none()) {
                return Err(format!("{change:?} deletes what is not there"));
            }
            states.push((change.revision, change.value.clone().map(|value| (value, change.revision))));
        }
        Ok(Self { log, first, keys })
    }

    fn newest(&self) -> u64 {
        self.log.last().map_or(self.first, |change| change.revision)
    }

    /// The place of a change in the log.
    fn place(&self, revision: u64, key: &str) -> Option<usize> {
        let from = self.log.partition_point(|change| change.revision < revision);
        let together = self.log[from..].iter().take_while(|change| change.revision == revision);
        together.zip(from..).find(|(change, _)| change.key == key).map(|(_, at)| at)
    }

    fn at(&self, key: &str, revision: u64) -> &Seen {
        let Some(states) = self.keys.get(key) else { return &None };
        &states[states.partition_point(|(from, _)| *from <= revision) - 1].1
    }

    /// The oldest revision from `from` on at which the key is as it was seen.
    fn oldest(&self, key: &str, seen: &Seen, from: u64) -> Option<u64> {
        let Some(states) = self.keys.get(key) else { return seen.is_none().then_some(from) };
        let ends = states.iter().skip(1).map(|(next, _)| next - 1).chain([self.newest()]);
        let spans = states.iter().zip(ends);
        spans.filter(|((_, state), end)| state == seen && *end >= from).map(|((begin, _), _)| from.max(*begin)).next()
    }
}

/// Checks a history against the log of every change after revision `first`; `gone_ms` says of deletions when somebody
/// first knew of their revision.
///
/// # Errors
/// Which call cannot be, and why.
pub fn check(first: u64, log: &[Change], calls: &[Call], gone_ms: &BTreeMap<u64, u64>) -> Result<(), String> {
    let states = States::new(first, log)?;
    let mut moments: Vec<(u64, bool, usize)> = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        moments.push((call.begin, true, at));
        if call.answer != Answer::Unknown {
            moments.push((call.end, false, at));
        }
    }
    moments.sort_unstable();
    let mut known = first;
    let mut known_at_begin = vec![first; calls.len()];
    let mut explained = vec![false; log.len()];
    for (_, begins, at) in moments {
        if begins {
            known_at_begin[at] = known;
            continue;
        }
        let place = place(&states, &calls[at], known_at_begin[at])?;
        if let Answer::Written(revision) = calls[at].answer {
            let at_log = key_of(&calls[at].op).and_then(|key| states.place(revision, key));
            if at_log.is_none_or(|place| std::mem::replace(&mut explained[place], true)) {
                return Err(format!("{:?} has the revision of another write", calls[at]));
            }
        }
        known = known.max(place);
    }
    // What nobody was told of must have been asked for, after everything that was known then.
    for (change, _) in log.iter().zip(&explained).filter(|(_, explained)| !**explained) {
        let before = states.at(&change.key, change.revision - 1);
        let asked = calls.iter().zip(&known_at_begin).any(|(call, known)| {
            let fits = match &call.op {
                Op::Put { key, value, expected, .. } => {
                    *key == change.key
                        && Some(value) == change.value.as_ref()
                        && *expected == before.as_ref().map(|(_, revision)| *revision)
                }
                Op::Delete { key, expected } => {
                    *key == change.key
                        && change.value.is_none()
                        && before.as_ref().is_some_and(|(_, revision)| revision == expected)
                }
                _ => false,
            };
            fits && call.answer == Answer::Unknown && change.revision > *known
        });
        if !asked && !has_lived(change, before, calls, gone_ms) {
            return Err(format!("nobody asked for {change:?}"));
        }
    }
    Ok(())
}

/// What a call is about.
fn key_of(op: &Op) -> Option<&str> {
    match op {
        Op::Put { key, .. } | Op::Delete { key, .. } | Op::Get { key } => Some(key),
        Op::List => None,
    }
}

/// Whether a change is the end of a value whose time was over.
fn has_lived(change: &Change, before: &Seen, calls: &[Call], gone_ms: &BTreeMap<u64, u64>) -> bool {
    let (None, Some((put, _))) = (&change.value, before) else { return false };
    let gone_ms = gone_ms.get(&change.revision).copied().unwrap_or(u64::MAX);
    // No value is put twice.
    calls.iter().any(|call| match &call.op {
        Op::Put { key, value, ttl_ms: Some(ttl_ms), .. } => {
            *key == change.key && value == put && gone_ms >= call.begin_ms + ttl_ms
        }
        _ => false,
    })
}

/// Where a call stands among the states, no older than `known`.
fn place(states: &States<'_>, call: &Call, known: u64) -> Result<u64, String> {
    let wrong = |why: &str| format!("{call:?}: {why} (revision {known} was known when it began)");
    let oldest = |key: &str, seen: &Seen| {
        states.oldest(key, seen, known).ok_or_else(|| wrong("the key was not so at any revision that it may show"))
    };
    match (&call.op, &call.answer) {
        (Op::Put { .. } | Op::Delete { .. }, Answer::Written(revision)) => {
            let (key, value, expected) = match &call.op {
                Op::Put { key, value, expected, .. } => (key, Some(value), *expected),
                Op::Delete { key, expected } => (key, None, Some(*expected)),
                _ => return Err(wrong("reads are not written")),
            };
            let place = states.place(*revision, key).ok_or_else(|| wrong("the revision is not of this key"))?;
            let change = &states.log[place];
            if change.value.as_ref() != value {
                return Err(wrong(&format!("the revision is {change:?}")));
            }
            if states.at(key, revision - 1).as_ref().map(|(_, revision)| *revision) != expected {
                return Err(wrong("its precondition did not hold"));
            }
            if *revision <= known {
                return Err(wrong("it is older than what was known"));
            }
            Ok(*revision)
        }
        (Op::Put { key, expected, .. }, Answer::Conflict(seen)) => {
            if seen.as_ref().map(|(_, revision)| *revision) == *expected {
                return Err(wrong("its precondition held"));
            }
            oldest(key, seen)
        }
        (Op::Delete { key, expected }, Answer::Conflict(seen)) => {
            if seen.as_ref().is_some_and(|(_, revision)| revision == expected) {
                return Err(wrong("its precondition held"));
            }
            oldest(key, seen)
        }
        (Op::Get { key }, Answer::Read(seen)) => oldest(key, seen),
        (Op::List, Answer::Listed(revision, entries)) => {
            if *revision < known || *revision > states.newest() {
                return Err(wrong("it shows another time"));
            }
            let there = states.keys.keys().filter_map(|key| {
                states.at(key, *revision).clone().map(|(value, revision)| ((*key).to_string(), (value, revision)))
            });
            if there.ne(entries.iter().map(|(key, entry)| (key.clone(), entry.clone()))) {
                return Err(wrong("it is not what was there"));
            }
            Ok(*revision)
        }
        _ => Err(wrong("this is no answer to that")),
    }
}
