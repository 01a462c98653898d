//! Which events are sent, and as what: pure, the clock is in the events themselves.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;

use super::EventType;

/// Objects and events that are remembered; the oldest half is forgotten beyond that.
const REMEMBERED: usize = 4096;
/// Different messages of one reason within [`SIMILAR_WINDOW`] before they are combined into one event.
const SIMILAR_MESSAGES: usize = 10;
const SIMILAR_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// Events that one object may have at once, and how long until one more is allowed.
const BURST: f64 = 25.0;
const REFILL_SECONDS: f64 = 300.0;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Occurrence {
    pub involved: ObjectReference,
    pub type_: EventType,
    pub reason: String,
    pub message: String,
    pub at: Timestamp,
}

/// What tells events apart once their message is left out; with the message, what makes them equal.
type Group = String;

/// Names an event that was sent, for [`Correlator::created`].
pub type EventKey = String;

#[derive(Debug, PartialEq)]
pub enum Decision {
    /// Over the object's budget.
    Drop,
    /// Count the event `name`, or create one where there is none.
    Send { message: String, name: Option<String>, count: i32, first: Timestamp, key: EventKey },
}

#[derive(Default)]
pub struct Correlator {
    groups: HashMap<Group, (HashSet<String>, Timestamp)>,
    events: HashMap<EventKey, Sent>,
    budgets: HashMap<String, (f64, Timestamp)>,
}

struct Sent {
    name: Option<String>,
    count: i32,
    first: Timestamp,
    last: Timestamp,
}

fn object(involved: &ObjectReference) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    [&involved.kind, &involved.namespace, &involved.name, &involved.uid, &involved.api_version].map(part).join("\0")
}

impl Correlator {
    pub fn observe(&mut self, occurrence: &Occurrence) -> Decision {
        let object = object(&occurrence.involved);
        if !self.spend(&object, occurrence.at) {
            return Decision::Drop;
        }
        let field = occurrence.involved.field_path.as_deref().unwrap_or_default();
        let group = format!("{object}\0{field}\0{}\0{}", occurrence.type_.as_str(), occurrence.reason);
        let (message, key) = self.combine(group, occurrence);
        trim(&mut self.events, |sent| sent.last);
        let sent = self.events.entry(key.clone()).or_insert(Sent {
            name: None,
            count: 0,
            first: occurrence.at,
            last: occurrence.at,
        });
        sent.count = sent.count.saturating_add(1);
        sent.last = occurrence.at;
        Decision::Send { message, name: sent.name.clone(), count: sent.count, first: sent.first, key }
    }

    /// Remembers the name under which an event was created.
    pub fn created(&mut self, key: EventKey, name: Option<String>) {
        if let Some(sent) = self.events.get_mut(&key) {
            sent.name = name;
        }
    }

    fn combine(&mut self, group: Group, occurrence: &Occurrence) -> (String, EventKey) {
        trim(&mut self.groups, |(_, last)| *last);
        let (messages, last) = self.groups.entry(group.clone()).or_insert((HashSet::new(), occurrence.at));
        if occurrence.at.duration_since(*last) > SIMILAR_WINDOW {
            messages.clear();
        }
        *last = occurrence.at;
        if messages.len() < SIMILAR_MESSAGES {
            messages.insert(occurrence.message.clone());
        }
        if messages.len() < SIMILAR_MESSAGES {
            return (occurrence.message.clone(), format!("{group}\0{}", occurrence.message));
        }
        (format!("(combined from similar events): {}", occurrence.message), group)
    }

    fn spend(&mut self, object: &str, at: Timestamp) -> bool {
        trim(&mut self.budgets, |(_, last)| *last);
        let (budget, last) = self.budgets.entry(object.to_string()).or_insert((BURST, at));
        let seconds = at.duration_since(*last).as_secs_f64().max(0.0);
        *budget = (*budget + seconds / REFILL_SECONDS).min(BURST);
        *last = at;
        if *budget < 1.0 {
            return false;
        }
        *budget -= 1.0;
        true
    }
}

/// Forgets the older half where a map has grown to its bound.
fn trim<V>(map: &mut HashMap<String, V>, last: impl Fn(&V) -> Timestamp) {
    if map.len() < REMEMBERED {
        return;
    }
    let mut times: Vec<Timestamp> = map.values().map(&last).collect();
    let (_, median, _) = times.select_nth_unstable(REMEMBERED / 2);
    let median = *median;
    map.retain(|_, value| last(value) > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64, name: &str, message: &str) -> Occurrence {
        Occurrence {
            involved: ObjectReference { name: Some(name.to_string()), ..ObjectReference::default() },
            type_: EventType::Warning,
            reason: "Failed".to_string(),
            message: message.to_string(),
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn equal_events_are_counted_on_the_first() {
        let mut correlator = Correlator::default();
        let Decision::Send { key, count: 1, name: None, .. } = correlator.observe(&at(0, "a", "x")) else { panic!() };
        correlator.created(key, Some("a.1".to_string()));
        let Decision::Send { name, count, first, .. } = correlator.observe(&at(5, "a", "x")) else { panic!() };
        assert_eq!((name.as_deref(), count, first.as_second()), (Some("a.1"), 2, 0));
        let Decision::Send { name: None, count: 1, .. } = correlator.observe(&at(6, "b", "x")) else { panic!() };
    }

    #[test]
    fn many_similar_events_become_one() {
        let mut correlator = Correlator::default();
        let texts: Vec<(String, String)> = (0..12)
            .map(|n| match correlator.observe(&at(n, "a", &format!("message {n}"))) {
                Decision::Send { message, key, .. } => (message, key),
                Decision::Drop => panic!("within the budget"),
            })
            .collect();
        assert_eq!(texts[8].0, "message 8");
        assert_eq!(texts[11].0, "(combined from similar events): message 11");
        assert_eq!(texts[10].1, texts[11].1, "counted on the same event");
    }

    #[test]
    fn an_object_has_a_budget_that_refills() {
        let mut correlator = Correlator::default();
        let dropped = (0..30).filter(|_| correlator.observe(&at(0, "a", "x")) == Decision::Drop).count();
        assert_eq!(dropped, 5);
        assert!(correlator.observe(&at(0, "b", "x")) != Decision::Drop, "another object has its own");
        assert!(correlator.observe(&at(301, "a", "x")) != Decision::Drop);
        assert!(correlator.observe(&at(302, "a", "x")) == Decision::Drop);
    }

    #[test]
    fn memory_is_bounded() {
        let mut correlator = Correlator::default();
        for n in 0..10_000 {
            correlator.observe(&at(n, &format!("pod-{n}"), "x"));
        }
        assert!(correlator.events.len() <= REMEMBERED && correlator.budgets.len() <= REMEMBERED);
    }
}
