//! All priority levels of a server, and whose turn it is among them. Pure, as [`super::queues`].
//!
//! Beside seats, which bound what a server has in hand, there are turns. Most requests are answered from memory: they
//! never wait for anything, so that seats alone would hold back nobody, and hundreds of requests of one flow would
//! stand before the processor where nobody can overtake. A request has its turn from when it is dispatched until it
//! waits for something itself or has ended. There are a few more turns than processors, and they go round the levels
//! in proportion to their seats: the queue that counts is the fair one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::queues::{Id, QueueSet, Refusal, Response, Width};
use super::shares::{self, Bounds, Claim, Want};

/// How slowly a level's expected demand falls from one division to the next; Kubernetes' figure.
const SMOOTHING: f64 = 0.977;

/// What is configured of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelConfig {
    /// What happens beyond its seats.
    pub response: Response,
    /// Its part of the seats.
    pub claim: Claim,
}

/// One level.
#[derive(Debug)]
pub struct Level {
    /// Its queues.
    pub set: QueueSet,
    /// Its bounds.
    pub bounds: Bounds,
    /// It is configured no more and goes when it is empty.
    pub quiescing: bool,
    /// What it was found to want when seats were last divided.
    pub want: Want,
    /// Mean and deviation of that.
    pub wanted: super::demand::Wanted,
    config: LevelConfig,
    /// When, in turns of its own weight, it has its next turn.
    next_turn: f64,
}

impl Level {
    fn is_exempt(&self) -> bool {
        self.config.response == Response::Exempt
    }

    /// Turns cost a level less the more seats it has by its shares.
    fn turn_cost(&self) -> f64 {
        1.0 / f64::from(self.bounds.nominal.max(1))
    }
}

/// See the module.
#[derive(Debug)]
pub struct Dispatcher {
    total: u32,
    turns: usize,
    levels: BTreeMap<Arc<str>, Level>,
    at: HashMap<Id, Arc<str>>,
    /// The requests that have their turn.
    out: HashSet<Id>,
    turn_time: f64,
    last_id: Id,
    /// Which part of what they want levels get that no bound holds.
    pub fair_fraction: f64,
}

impl Dispatcher {
    /// A server with this many seats and turns.
    pub fn new(total: u32, turns: usize) -> Self {
        Self {
            total,
            turns: turns.max(1),
            levels: BTreeMap::new(),
            at: HashMap::new(),
            out: HashSet::new(),
            turn_time: 0.0,
            last_id: 0,
            fair_fraction: 1.0,
        }
    }

    /// The levels by their names.
    pub fn levels(&self) -> &BTreeMap<Arc<str>, Level> {
        &self.levels
    }

    /// Whether a level's requests are never asked to wait.
    pub fn is_exempt(&self, level: &str) -> bool {
        self.levels.get(level).is_some_and(Level::is_exempt)
    }

    /// Takes a configuration in. Levels that are gone stay until they are empty.
    pub fn configure(&mut self, now: Duration, configs: &[(Arc<str>, LevelConfig)]) {
        let claims: Vec<Claim> = configs.iter().map(|(_, config)| config.claim).collect();
        let bounds = shares::bounds(self.total, &claims);
        for level in self.levels.values_mut() {
            level.quiescing = true;
        }
        for ((name, config), bounds) in configs.iter().zip(bounds) {
            let level = self.levels.entry(name.clone()).or_insert_with(|| Level {
                set: QueueSet::new(config.response, bounds.nominal),
                bounds,
                quiescing: false,
                want: Want::default(),
                wanted: super::demand::Wanted::default(),
                config: *config,
                next_turn: 0.0,
            });
            level.quiescing = false;
            level.set.configure(now, config.response);
            (level.bounds, level.config) = (bounds, *config);
        }
        self.divide(now);
    }

    /// Divides the seats anew by what each level has wanted since the last time.
    pub fn divide(&mut self, now: Duration) {
        self.levels.retain(|_, level| !level.quiescing || !level.set.is_idle());
        let mut left = self.total;
        let mut wants = Vec::new();
        for level in self.levels.values_mut().filter(|level| !level.quiescing) {
            let wanted = level.set.take_demand(now);
            let envelope = wanted.mean + wanted.deviation;
            let smooth = (SMOOTHING * level.want.smooth + (1.0 - SMOOTHING) * envelope).max(envelope);
            level.wanted = wanted;
            level.want = Want { bounds: level.bounds, high: wanted.high, smooth };
            if level.is_exempt() {
                // The exempt take what they want, and what they lend of their own is divided.
                let own = (wanted.high.ceil() as u32).max(level.bounds.min);
                level.set.set_limit(now, own);
                left = left.saturating_sub(own);
            } else {
                wants.push(level.want);
            }
        }
        let division = shares::divide(left, &wants);
        self.fair_fraction = division.fair_fraction;
        let limited = self.levels.values_mut().filter(|level| !level.quiescing && !level.is_exempt());
        for (level, seats) in limited.zip(division.seats) {
            // Whatever others want, a level that has a share is never without a seat.
            level.set.set_limit(now, seats.max(u32::from(level.bounds.nominal > 0)));
        }
    }

    /// Takes a request in at a level. It waits until [`Dispatcher::next`] names it.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn arrive(&mut self, now: Duration, name: &Arc<str>, hash: u64, width: Width) -> Result<Id, Refusal> {
        let turn_time = self.turn_time;
        let level = self.levels.get_mut(name).ok_or(Refusal::ConcurrencyLimit)?;
        let was_idle = level.set.waiting() == 0;
        self.last_id += 1;
        level.set.arrive(now, self.last_id, hash, width)?;
        if was_idle {
            // Turns that it did not want are not saved up.
            level.next_turn = level.next_turn.max(turn_time);
        }
        self.at.insert(self.last_id, name.clone());
        Ok(self.last_id)
    }

    /// The next request that is to be served; `None` where there is none, no seat for it or no turn.
    pub fn next(&mut self, now: Duration) -> Option<Id> {
        let has_turn = self.out.len() < self.turns;
        let mut chosen: Option<&mut Level> = None;
        for level in self.levels.values_mut() {
            if !(has_turn || level.is_exempt()) || !level.set.is_ready() {
                continue;
            }
            let is_first = level.is_exempt() || chosen.as_ref().is_none_or(|best| level.next_turn < best.next_turn);
            let is_exempt = level.is_exempt();
            if is_first {
                chosen = Some(level);
            }
            if is_exempt {
                break;
            }
        }
        let level = chosen?;
        let id = level.set.next(now)?;
        if !level.is_exempt() {
            self.turn_time = self.turn_time.max(level.next_turn);
            level.next_turn += level.turn_cost();
            self.out.insert(id);
        }
        Some(id)
    }

    /// A request waits for something: another may have its turn. Says whether it had it.
    pub fn end_turn(&mut self, id: Id) -> bool {
        self.out.remove(&id)
    }

    /// A request has ended. Where it keeps seats while watchers hear of it, answers for how long; then
    /// [`Dispatcher::release`] is due.
    pub fn finish(&mut self, now: Duration, id: Id) -> Option<Duration> {
        self.out.remove(&id);
        let level = self.levels.get_mut(self.at.get(&id)?)?;
        let more = level.set.finish(now, id);
        if more.is_none() {
            self.at.remove(&id);
        }
        more
    }

    /// Watchers have heard of a request.
    pub fn release(&mut self, now: Duration, id: Id) {
        if let Some(level) = self.at.remove(&id).and_then(|name| self.levels.get_mut(&name)) {
            level.set.release(now, id);
        }
    }

    /// A request waits no longer; says whether it did. Otherwise it is served by now, and to be finished.
    pub fn cancel(&mut self, now: Duration, id: Id) -> bool {
        let level = self.at.get(&id).and_then(|name| self.levels.get_mut(name));
        let was_waiting = level.is_some_and(|level| level.set.cancel(now, id));
        if was_waiting {
            self.at.remove(&id);
        }
        was_waiting
    }

    /// How many wait where a request waits.
    pub fn queue_length(&self, id: Id) -> usize {
        let level = self.at.get(&id).and_then(|name| self.levels.get(name));
        level.map_or(0, |level| level.set.queue_length(id))
    }

    /// The most seats that one request of a level may take: a part of them, so that it is not the level's only one.
    pub fn width_limit(&self, name: &str) -> u32 {
        /// Kubernetes' bound.
        const SEATS_MAX: u32 = 10;
        /// One request takes at most this part of its level.
        const PART_MAX: f64 = 0.15;
        let nominal = self.levels.get(name).map_or(0, |level| level.bounds.nominal);
        ((f64::from(nominal) * PART_MAX).ceil() as u32).clamp(1, SEATS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUES: Response = Response::Queue { queues: 8, hand: 2, length_limit: 1000 };

    fn config(response: Response, shares: u32) -> LevelConfig {
        LevelConfig { response, claim: Claim { shares, lendable_percent: 50, borrowing_limit_percent: None } }
    }

    fn dispatcher(turns: usize, levels: &[(&str, LevelConfig)]) -> Dispatcher {
        let mut dispatcher = Dispatcher::new(100, turns);
        let configs: Vec<_> = levels.iter().map(|(name, config)| (Arc::from(*name), *config)).collect();
        dispatcher.configure(Duration::ZERO, &configs);
        dispatcher
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn turns_go_round_the_levels_by_their_shares_and_the_exempt_need_none() {
        let levels = [("a", config(QUEUES, 30)), ("b", config(QUEUES, 10)), ("x", config(Response::Exempt, 0))];
        let mut dispatcher = dispatcher(2, &levels);
        let [a, b, x] = ["a", "b", "x"].map(Arc::from);
        for number in 0..300 {
            dispatcher.arrive(ms(0), &a, number, Width::of(1)).expect("is taken in");
            dispatcher.arrive(ms(0), &b, number, Width::of(1)).expect("is taken in");
        }
        let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for round in 0..100 {
            let served: Vec<Id> = std::iter::from_fn(|| dispatcher.next(ms(round))).collect();
            assert_eq!(served.len(), 2, "as many as there are turns");
            let exempt = dispatcher.arrive(ms(round), &x, 0, Width::of(1)).expect("is exempt");
            assert_eq!(dispatcher.next(ms(round)), Some(exempt));
            dispatcher.finish(ms(round), exempt);
            for id in served {
                *counts.entry(dispatcher.at[&id].clone()).or_default() += 1;
                assert_eq!(dispatcher.finish(ms(round), id), None);
            }
        }
        assert!((145..=155).contains(&counts[&a]), "{counts:?}");
    }

    #[test]
    fn who_waits_for_something_leaves_its_turn_and_keeps_its_seat() {
        let mut dispatcher = dispatcher(1, &[("a", config(QUEUES, 1))]);
        let a = Arc::from("a");
        let [first, second] = [1, 2].map(|hash| dispatcher.arrive(ms(0), &a, hash, Width::of(1)).expect("is taken in"));
        assert_eq!(dispatcher.next(ms(0)), Some(first));
        assert_eq!(dispatcher.next(ms(0)), None);
        assert!(dispatcher.end_turn(first) && !dispatcher.end_turn(first));
        assert_eq!(dispatcher.next(ms(0)), Some(second));
        assert_eq!(dispatcher.levels()["a"].set.seats_in_use(), 2);
        assert!(!dispatcher.cancel(ms(1), second));
        dispatcher.finish(ms(1), first);
        dispatcher.finish(ms(1), second);
        assert!(dispatcher.levels()["a"].set.is_idle() && dispatcher.out.is_empty() && dispatcher.at.is_empty());
    }

    #[test]
    fn a_flood_in_one_level_leaves_another_its_turns() {
        let mut dispatcher = dispatcher(1, &[("high", config(QUEUES, 40)), ("low", config(QUEUES, 100))]);
        let (high, low) = (Arc::from("high"), Arc::from("low"));
        for number in 0..1000 {
            dispatcher.arrive(ms(0), &low, number, Width::of(1)).expect("is taken in");
        }
        for round in 0..50 {
            let own = dispatcher.arrive(ms(round), &high, 1, Width::of(1)).expect("is taken in");
            let mut others = 0;
            loop {
                let id = dispatcher.next(ms(round)).expect("somebody has a turn");
                dispatcher.finish(ms(round), id);
                if id == own {
                    break;
                }
                others += 1;
            }
            assert!(others <= 3, "{others} had their turn before it");
        }
    }

    #[test]
    fn a_flood_in_one_level_leaves_another_flow_of_it_its_turns() {
        // Each request takes a processor for 100 us and there are two of them, so that seats hold back nobody. One flow
        // has 500 requests at any time, another sends its next one 400 us after each answer.
        const QUEUES: Response = Response::Queue { queues: 128, hand: 6, length_limit: 1000 };
        const SERVICE: Duration = Duration::from_micros(100);
        let mut dispatcher = dispatcher(2, &[("a", config(QUEUES, 30))]);
        let a: Arc<str> = Arc::from("a");
        let (flood, light) = (0x1234_5678_9ABC_DEF0, 0x0FED_CBA9_8765_4321);
        let arrive = |dispatcher: &mut Dispatcher, now, hash| {
            dispatcher.arrive(now, &a, hash, Width::of(1)).expect("is taken in")
        };
        for _ in 0..500 {
            arrive(&mut dispatcher, ms(0), flood);
        }
        let mut served: Vec<(Duration, Id)> = Vec::new();
        let (mut own, mut due, mut now) = (None, ms(1), ms(0));
        let mut waits: Vec<Duration> = Vec::new();
        let mut others = 0;
        while waits.len() < 500 {
            served.extend(std::iter::from_fn(|| dispatcher.next(now)).map(|id| (now + SERVICE, id)));
            let end = served.iter().map(|(end, _)| *end).min().expect("something is served");
            if own.is_none() && due <= end {
                now = due;
                own = Some((now, arrive(&mut dispatcher, now, light)));
                continue;
            }
            now = end;
            let at = served.iter().position(|(at, _)| *at == end).expect("it is there");
            let (_, id) = served.swap_remove(at);
            dispatcher.finish(now, id);
            match own {
                Some((came, own_id)) if own_id == id => {
                    waits.push(now - came - SERVICE);
                    (own, due) = (None, now + 4 * SERVICE);
                }
                _ => {
                    others += 1;
                    arrive(&mut dispatcher, now, flood);
                }
            }
        }
        waits.sort();
        // It is the next one when anything ends.
        assert!(waits[499] <= SERVICE, "{:?}", &waits[480..]);
        assert!(others > 2000, "the flood is served with what is left: {others}");
    }

    #[test]
    fn levels_lend_what_they_do_not_want_and_go_when_they_are_empty() {
        let mut dispatcher = dispatcher(1000, &[("a", config(QUEUES, 50)), ("b", config(QUEUES, 50))]);
        let a: Arc<str> = Arc::from("a");
        for number in 0..200 {
            dispatcher.arrive(ms(0), &a, number, Width::of(1)).expect("is taken in");
        }
        // They all come from few queues, and a tenth is for others.
        assert_eq!(std::iter::from_fn(|| dispatcher.next(ms(0))).count(), 45);
        dispatcher.divide(ms(10_000));
        assert_eq!(dispatcher.levels()["a"].set.limit(), 75);
        assert_eq!(std::iter::from_fn(|| dispatcher.next(ms(10_000))).count(), 68 - 45);
        dispatcher.configure(ms(10_001), &[(Arc::from("b"), config(QUEUES, 50))]);
        assert!(dispatcher.levels()["a"].quiescing);
        assert_eq!(dispatcher.width_limit("b"), 10);
        while let Some(id) = dispatcher.at.keys().copied().next() {
            if !dispatcher.cancel(ms(10_002), id) {
                dispatcher.finish(ms(10_002), id);
            }
        }
        dispatcher.divide(ms(20_000));
        assert_eq!(dispatcher.levels().len(), 1);
        assert_eq!(dispatcher.arrive(ms(20_000), &a, 1, Width::of(1)), Err(Refusal::ConcurrencyLimit));
    }
}
