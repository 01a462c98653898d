//! Pods that wait for a node: the most important first, those that did not fit after a pause or a change.
//!
//! The queue knows no clock: the caller says what time it is.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::filter::{self, Reason};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// The pods that wait.
#[derive(Debug)]
pub struct Queue {
    items: HashMap<String, Item>,
    active: BinaryHeap<Ready>,
    /// Void where the item's due time is another.
    paused: BinaryHeap<Reverse<(Instant, String)>>,
    backoff: (Duration, Duration),
    retry_after: Duration,
    order: u64,
    /// How many changes there were that could let pods in.
    changes: u64,
}

#[derive(Debug)]
struct Item {
    pod: Arc<PodInfo>,
    order: u64,
    failures: u32,
    /// Earliest next attempt.
    not_before: Option<Instant>,
    state: State,
}

#[derive(Debug)]
enum State {
    Active,
    InFlight,
    Paused(Instant),
    /// Did not fit; what was against it.
    Unschedulable(Vec<Reason>),
}

#[derive(Debug, PartialEq, Eq)]
struct Ready {
    priority: i32,
    order: u64,
    uid: String,
}

impl Ord for Ready {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.priority, Reverse(self.order), &self.uid).cmp(&(other.priority, Reverse(other.order), &other.uid))
    }
}

impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What changed in the cluster.
#[derive(Debug, Clone, Copy)]
pub enum Happened<'a> {
    /// A node came or changed.
    Node(&'a NodeInfo),
    /// A pod left this node.
    PodLeft(&'a NodeInfo),
    /// A pod came to some node, or changed its labels there.
    PodCame,
}

impl Happened<'_> {
    fn may_help(&self, pod: &PodInfo, reasons: &[Reason]) -> bool {
        match self {
            Self::Node(node) => node.known && filter::refuses(pod, node).is_none(),
            Self::PodLeft(node) => {
                let waits = reasons.iter().any(Reason::helped_by_preemption);
                waits && (pod.looks_at_pods() || node.known && filter::refuses(pod, node).is_none())
            }
            Self::PodCame => reasons.iter().any(Reason::helped_by_new_pod),
        }
    }
}

/// A pod to be scheduled, and the changes that it has seen.
#[derive(Debug, Clone)]
pub struct Popped {
    pub pod: Arc<PodInfo>,
    pub changes: u64,
}

impl Queue {
    /// An empty queue.
    pub fn new(backoff: (Duration, Duration), retry_after: Duration) -> Self {
        Self {
            items: HashMap::new(),
            active: BinaryHeap::new(),
            paused: BinaryHeap::new(),
            backoff,
            retry_after,
            order: 0,
            changes: 0,
        }
    }

    /// Takes in a pod without a node, or what changed of it.
    pub fn put(&mut self, pod: Arc<PodInfo>, now: Instant) {
        self.order += 1;
        let order = self.order;
        let Some(item) = self.items.get_mut(&pod.uid) else {
            self.active.push(Ready { priority: pod.priority, order, uid: pod.uid.clone() });
            let item = Item { pod: pod.clone(), order, failures: 0, not_before: None, state: State::Active };
            self.items.insert(pod.uid.clone(), item);
            return;
        };
        let old = std::mem::replace(&mut item.pod, pod.clone());
        let changed =
            old.labels != pod.labels || old.requests != pod.requests || old.tolerations.len() != pod.tolerations.len();
        if changed && matches!(item.state, State::Unschedulable(_)) {
            self.release(&pod.uid, now);
        }
    }

    /// Forgets a pod: it has a node, or is gone.
    pub fn remove(&mut self, uid: &str) {
        self.items.remove(uid);
    }

    /// The most important pod that may be tried now. It is in flight until it is removed, failed or put off.
    pub fn pop(&mut self, now: Instant) -> Option<Popped> {
        while let Some(Reverse((due, uid))) = self.paused.peek().cloned() {
            let current = matches!(self.items.get(&uid), Some(Item { state: State::Paused(at), .. }) if *at == due);
            if current && due > now {
                break;
            }
            self.paused.pop();
            if current {
                self.activate(&uid);
            }
        }
        while let Some(ready) = self.active.pop() {
            if let Some(item) = self.items.get_mut(&ready.uid)
                && matches!(item.state, State::Active)
            {
                item.state = State::InFlight;
                return Some(Popped { pod: item.pod.clone(), changes: self.changes });
            }
        }
        None
    }

    /// The pod did not fit. It waits for a change that may help, and comes back at `retry_after` at the latest.
    pub fn did_not_fit(&mut self, popped: &Popped, reasons: Vec<Reason>, now: Instant) {
        let uid = &popped.pod.uid;
        let changes = self.changes;
        let retry_after = self.retry_after;
        let Some(pause) = self.fail(uid) else { return };
        let Some(item) = self.items.get_mut(uid) else { return };
        item.not_before = Some(now + pause);
        if changes != popped.changes {
            // What happened meanwhile may have helped.
            return self.pause(uid, now + pause);
        }
        item.state = State::Unschedulable(reasons);
        self.paused.push(Reverse((now + retry_after, uid.clone())));
    }

    /// The attempt failed for a reason that has nothing to do with fitting; it is made again after a pause.
    pub fn put_off(&mut self, uid: &str, now: Instant) {
        if let Some(pause) = self.fail(uid) {
            self.pause(uid, now + pause);
        }
    }

    /// Brings back the pods that a change may have helped.
    pub fn happened(&mut self, what: Happened<'_>, now: Instant) {
        self.changes += 1;
        let helped: Vec<String> = self
            .items
            .iter()
            .filter(|(_, item)| matches!(&item.state, State::Unschedulable(why) if what.may_help(&item.pod, why)))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in helped {
            self.release(&uid, now);
        }
    }

    /// Brings back pods that waited too long for a change; called now and then.
    pub fn refresh(&mut self, now: Instant) {
        let long = self.items.iter().filter(|(_, item)| {
            let since = item.not_before.is_some_and(|at| at + self.retry_after <= now);
            since && matches!(item.state, State::Unschedulable(_))
        });
        for uid in long.map(|(uid, _)| uid.clone()).collect::<Vec<_>>() {
            self.activate(&uid);
        }
    }

    /// When something is to be looked at again.
    pub fn next_due(&self) -> Option<Instant> {
        self.paused.peek().map(|Reverse((due, _))| *due)
    }

    /// Pods that wait, whatever for.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn fail(&mut self, uid: &str) -> Option<Duration> {
        let item = self.items.get_mut(uid)?;
        let doubled = self.backoff.0.saturating_mul(1u32.checked_shl(item.failures).unwrap_or(u32::MAX));
        item.failures = item.failures.saturating_add(1);
        Some(doubled.min(self.backoff.1))
    }

    fn release(&mut self, uid: &str, now: Instant) {
        match self.items.get(uid).and_then(|item| item.not_before).filter(|at| *at > now) {
            Some(at) => self.pause(uid, at),
            None => self.activate(uid),
        }
    }

    fn pause(&mut self, uid: &str, until: Instant) {
        if let Some(item) = self.items.get_mut(uid) {
            item.state = State::Paused(until);
            self.paused.push(Reverse((until, uid.to_string())));
        }
    }

    fn activate(&mut self, uid: &str) {
        if let Some(item) = self.items.get_mut(uid) {
            item.state = State::Active;
            self.active.push(Ready { priority: item.pod.priority, order: item.order, uid: uid.to_string() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{cluster, cpu_pod, node};
    use serde_json::json;

    fn queue() -> Queue {
        Queue::new((Duration::from_secs(1), Duration::from_secs(10)), Duration::from_secs(300))
    }

    fn name(popped: Option<Popped>) -> Option<String> {
        popped.map(|popped| popped.pod.name.clone())
    }

    #[test]
    fn important_pods_first_then_in_order_of_arrival() {
        let (mut queue, now) = (queue(), Instant::now());
        for (pod, priority) in [("a", 0), ("b", 10), ("c", 0), ("d", 10)] {
            queue.put(Arc::new(cpu_pod(pod, "1", json!({"priority": priority}))), now);
        }
        queue.remove("uid-d");
        let order: Vec<_> = std::iter::from_fn(|| name(queue.pop(now))).collect();
        assert_eq!(order, ["b", "a", "c"]);
    }

    #[test]
    fn a_pod_that_did_not_fit_waits_for_a_change_that_helps_and_for_its_pause() {
        let (mut queue, now) = (queue(), Instant::now());
        let pod = Arc::new(cpu_pod("a", "1", json!({"nodeSelector": {"disk": "ssd"}})));
        queue.put(pod.clone(), now);
        let popped = queue.pop(now).unwrap();
        queue.did_not_fit(&popped, vec![Reason::NodeAffinity], now);
        let mut cluster = cluster(&[node("n", "4", "8Gi")]);
        queue.happened(Happened::Node(&cluster.nodes["n"]), now);
        queue.happened(Happened::PodCame, now);
        assert_eq!(name(queue.pop(now + Duration::from_secs(5))), None, "neither helps");
        cluster.nodes.get_mut("n").unwrap().labels.insert("disk".into(), "ssd".into());
        queue.happened(Happened::Node(&cluster.nodes["n"]), now);
        assert_eq!(name(queue.pop(now)), None, "its pause is not over");
        assert_eq!(name(queue.pop(now + Duration::from_secs(1))).as_deref(), Some("a"));
    }

    #[test]
    fn a_change_during_the_attempt_is_not_lost_and_long_waits_end() {
        let (mut queue, now) = (queue(), Instant::now());
        queue.put(Arc::new(cpu_pod("a", "1", json!({}))), now);
        let popped = queue.pop(now).unwrap();
        queue.happened(Happened::PodCame, now);
        queue.did_not_fit(&popped, vec![Reason::TooManyPods], now);
        let later = now + Duration::from_secs(1);
        let popped = queue.pop(later).expect("comes back after its pause");
        queue.did_not_fit(&popped, vec![Reason::TooManyPods], later);
        queue.refresh(later + Duration::from_secs(100));
        assert_eq!(name(queue.pop(later + Duration::from_secs(100))), None);
        let much_later = later + Duration::from_secs(303);
        queue.refresh(much_later);
        assert_eq!(name(queue.pop(much_later)).as_deref(), Some("a"));
    }

    #[test]
    fn pauses_double_to_the_ceiling() {
        let (mut queue, mut now) = (queue(), Instant::now());
        queue.put(Arc::new(cpu_pod("a", "1", json!({}))), now);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            queue.pop(now).expect("due");
            queue.put_off("uid-a", now);
            let due = queue.next_due().unwrap();
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
    }
}
