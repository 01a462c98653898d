//! Whose work comes next: start-time fair queueing of the processor's time between flows. Pure.
//!
//! Each flow has a tag: how much time it was given, counted from the floor, which is the tag of whoever was last let in
//! from among those who waited. Who is at most a quantum above the floor works at once; who is further ahead waits until
//! all others that are ready have been seen. A flow that rested starts from the floor: nothing is saved up.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// A flow: a hash of its schema and what tells it from others there.
pub type FlowId = u64;

/// So much more than others a flow may have had before it waits for them: so long everybody else waits for it at most,
/// and so seldom is anything decided.
pub const QUANTUM: Duration = Duration::from_micros(500);

/// So many flows are known before those are forgotten that are not ahead of anybody.
const FLOWS_KEPT: usize = 128;

#[derive(Debug)]
struct Flow<W> {
    tag: Duration,
    /// By number, in the order in which they came.
    waiting: VecDeque<(u64, W)>,
}

/// See the module; `W` is what is kept of work that waits.
#[derive(Debug)]
pub struct Tags<W> {
    floor: Duration,
    flows: HashMap<FlowId, Flow<W>>,
    /// Those that have work waiting, by their tags.
    order: BTreeSet<(Duration, FlowId)>,
    last_number: u64,
}

impl<W> Default for Tags<W> {
    fn default() -> Self {
        Self { floor: Duration::ZERO, flows: HashMap::new(), order: BTreeSet::new(), last_number: 0 }
    }
}

impl<W> Tags<W> {
    /// Whether work of a flow that has just become ready may be done at once.
    pub fn may_begin(&self, id: FlowId) -> bool {
        self.flows.get(&id).is_none_or(|flow| flow.waiting.is_empty() && self.is_near(flow.tag))
    }

    fn is_near(&self, tag: Duration) -> bool {
        tag <= self.floor + QUANTUM
    }

    /// Has work wait; answers its number.
    pub fn wait(&mut self, id: FlowId, work: W) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        let flow = self.flow(id);
        flow.waiting.push_back((number, work));
        let tag = flow.tag;
        self.order.insert((tag, id));
        number
    }

    /// What is kept of work that waits still.
    pub fn waiting(&mut self, id: FlowId, number: u64) -> Option<&mut W> {
        let flow = self.flows.get_mut(&id)?;
        let at = flow.waiting.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        flow.waiting.get_mut(at).map(|(_, work)| work)
    }

    /// Forgets work that waits; `false` where it does not any more.
    pub fn cancel(&mut self, id: FlowId, number: u64) -> bool {
        let Some(flow) = self.flows.get_mut(&id) else { return false };
        let Ok(at) = flow.waiting.binary_search_by_key(&number, |(number, _)| *number) else { return false };
        flow.waiting.remove(at);
        if flow.waiting.is_empty() {
            self.order.remove(&(flow.tag, id));
        }
        true
    }

    /// Somebody waits.
    pub fn has_waiting(&self) -> bool {
        !self.order.is_empty()
    }

    /// The floor rises to the first of those who wait.
    pub fn rise(&mut self) {
        if let Some((tag, _)) = self.order.first() {
            self.floor = self.floor.max(*tag);
        }
    }

    /// The first of those who wait, where it is near the floor.
    pub fn next_near(&mut self) -> Option<W> {
        self.order.first().filter(|(tag, _)| self.is_near(*tag))?;
        self.next()
    }

    /// The first of those who wait.
    pub fn next(&mut self) -> Option<W> {
        let &(tag, id) = self.order.first()?;
        let flow = self.flows.get_mut(&id)?;
        let (_, work) = flow.waiting.pop_front()?;
        if flow.waiting.is_empty() {
            self.order.remove(&(tag, id));
        }
        Some(work)
    }

    /// A flow's work took so long.
    pub fn spend(&mut self, id: FlowId, took: Duration) {
        let flow = self.flow(id);
        let before = flow.tag;
        flow.tag += took;
        if !flow.waiting.is_empty() {
            let after = flow.tag;
            self.order.remove(&(before, id));
            self.order.insert((after, id));
        }
    }

    /// The flow, at the floor where it rested.
    fn flow(&mut self, id: FlowId) -> &mut Flow<W> {
        let floor = self.floor;
        if self.flows.len() >= FLOWS_KEPT && !self.flows.contains_key(&id) {
            // Who is at the floor or below it begins there again, known or not.
            self.flows.retain(|_, flow| flow.tag > floor || !flow.waiting.is_empty());
        }
        let flow = self.flows.entry(id).or_insert_with(|| Flow { tag: floor, waiting: VecDeque::new() });
        if flow.waiting.is_empty() {
            flow.tag = flow.tag.max(floor);
        }
        flow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: Duration = Duration::from_micros(100);

    fn risen<W>(tags: &mut Tags<W>) -> Option<W> {
        tags.rise();
        tags.next()
    }

    /// Lets everybody in who may be, until so many pieces were done; which flows they were of.
    fn done(tags: &mut Tags<FlowId>, pieces: usize) -> Vec<FlowId> {
        let mut order = Vec::new();
        while order.len() < pieces {
            let Some(id) = tags.next_near().or_else(|| risen(tags)) else { break };
            tags.spend(id, PIECE);
            order.push(id);
        }
        order
    }

    #[test]
    fn who_is_alone_is_not_held_back_for_more_than_a_look_each_quantum() {
        let mut tags = Tags::default();
        let mut looks = 0;
        for _ in 0..1000 {
            if !tags.may_begin(1) {
                tags.wait(1, 1);
                looks += usize::from(tags.next_near().is_none() && risen(&mut tags).is_some());
            }
            tags.spend(1, PIECE);
        }
        let quanta = 1000 * PIECE.as_micros() / QUANTUM.as_micros();
        assert!(looks > 0 && looks as u128 <= quanta, "{looks} looks in {quanta} quanta");
    }

    #[test]
    fn who_asks_for_little_works_at_once_beside_a_flood() {
        let mut tags = Tags::default();
        let flood = |tags: &mut Tags<FlowId>, count: usize| (0..count).for_each(|_| assert!(tags.wait(1, 1) > 0));
        tags.spend(1, QUANTUM * 10);
        assert!(!tags.may_begin(1), "it is far ahead");
        flood(&mut tags, 200);
        for _ in 0..100 {
            assert_eq!(done(&mut tags, 20), [1; 20]);
            flood(&mut tags, 20);
            assert!(tags.may_begin(2), "the other flow has had less");
            tags.spend(2, PIECE);
        }
    }

    #[test]
    fn two_who_want_everything_get_half_each() {
        let mut tags = Tags::default();
        for _ in 0..400 {
            tags.wait(1, 1);
        }
        for _ in 0..100 {
            tags.wait(2, 2);
        }
        let order = done(&mut tags, 200);
        let of_one = order.iter().filter(|&&id| id == 1).count();
        assert!((95..=105).contains(&of_one), "{of_one} of 200");
        // What rests saves nothing up.
        assert_eq!(done(&mut tags, 100).len(), 100);
        let before = tags.floor;
        tags.wait(3, 3);
        assert!(tags.flows[&3].tag >= before);
    }

    #[test]
    fn what_is_cancelled_is_not_let_in_and_is_told_apart_from_what_was() {
        let mut tags = Tags::default();
        let numbers: Vec<u64> = (0..3).map(|work| tags.wait(1, work)).collect();
        assert!(tags.cancel(1, numbers[1]) && !tags.cancel(1, numbers[1]));
        assert_eq!(tags.waiting(1, numbers[0]).copied(), Some(0));
        assert_eq!(risen(&mut tags), Some(0));
        assert_eq!(tags.waiting(1, numbers[0]), None);
        assert!(!tags.cancel(1, numbers[0]) && tags.cancel(1, numbers[2]));
        assert!(!tags.has_waiting() && risen(&mut tags).is_none());
    }

    #[test]
    fn flows_that_are_not_ahead_are_forgotten() {
        let mut tags: Tags<()> = Tags::default();
        for id in 0..10_000 {
            tags.wait(id, ());
            assert!(risen(&mut tags).is_some());
            tags.spend(id, PIECE);
            // Everybody is as far as this one now.
            tags.wait(0, ());
            while tags.flows[&0].tag < tags.floor + PIECE {
                tags.spend(0, PIECE);
            }
            risen(&mut tags);
        }
        assert!(tags.flows.len() <= FLOWS_KEPT, "{}", tags.flows.len());
    }
}
