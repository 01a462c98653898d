//! The queues of one priority level: fair queuing for server requests, as KEP-1040 has it. No clock, no tasks and no
//! locks: whoever uses this says what time it is and does what is decided.
//!
//! A request takes seats for as long as it is served. Virtual time runs with the seat-seconds that each queue with
//! something to do has had, so that the queue whose next request would have ended first, had all been served evenly,
//! is the next. How long a request takes is not known beforehand: it is taken for [`SERVICE_EXPECTED_S`], and put right
//! when it has ended.

mod view;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::demand::{Demand, Wanted};
use super::shuffle;
pub use view::QueueView;

/// How long a request is taken to last until it has ended, in seconds; Kubernetes' guess.
pub const SERVICE_EXPECTED_S: f64 = 0.003;

/// How far behind virtual time a queue begins that has had less than its part, in seat-seconds: its first request comes
/// before those of queues that always want more, not after one of each. Kubernetes gives no such credit; with hundreds
/// of requests waiting it is what keeps a light flow as quick as it was.
const CREDIT_S: f64 = 0.01;

/// This part of the seats is for narrow requests of queues of which nothing is served: a light flow is served at once beside one that holds
/// what it can get, for as long as its answers take to be read. Kubernetes has it wait for one of these.
const RESERVED_PART: u32 = 10;

/// What a request is called as long as it waits or is served.
pub type Id = u64;

/// How much of a server a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width {
    /// Seats while it is served.
    pub seats: u32,
    /// Seats afterwards, while watchers hear of it.
    pub final_seats: u32,
    /// For how long.
    pub final_for: Duration,
}

impl Width {
    /// Seats, and nothing afterwards.
    pub fn of(seats: u32) -> Self {
        Self { seats, final_seats: 0, final_for: Duration::ZERO }
    }

    /// The most at any time.
    pub fn most(&self) -> u32 {
        self.seats.max(self.final_seats)
    }

    /// What it is expected to take, in seat-seconds.
    fn expected_work(&self) -> f64 {
        f64::from(self.seats) * SERVICE_EXPECTED_S + f64::from(self.final_seats) * self.final_for.as_secs_f64()
    }
}

/// What happens to requests beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// There is no limit.
    Exempt,
    /// They are refused.
    Reject,
    /// They wait in queues.
    Queue {
        /// How many there are.
        queues: usize,
        /// How many of them one flow uses.
        hand: usize,
        /// How many requests wait in one.
        length_limit: usize,
    },
}

impl Response {
    fn queues(self) -> usize {
        match self {
            Self::Queue { queues, .. } => queues.max(1),
            Self::Exempt | Self::Reject => 1,
        }
    }
}

/// Why a request is refused, as Kubernetes' metrics call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No seats, and the level has no queues.
    ConcurrencyLimit,
    /// Its queue is as long as it may be.
    QueueFull,
    /// It has waited too long.
    TimedOut,
    /// The client went away while it waited.
    Cancelled,
}

impl Refusal {
    /// The value of the label `reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::QueueFull => "queue-full",
            Self::TimedOut => "time-out",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    id: Id,
    width: Width,
    /// Virtual time when it came.
    arrived: f64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Virtual time at which the next request begins.
    next_start: f64,
    executing: usize,
    seats_in_use: u32,
    /// Expected work of what waits.
    work: f64,
}

impl Queue {
    fn is_active(&self) -> bool {
        !self.waiting.is_empty() || self.executing > 0
    }

    /// A queue that got little for what it wanted has no claim from before its oldest request came.
    fn bound(&mut self) {
        if let Some(oldest) = self.waiting.front() {
            self.next_start = self.next_start.max(oldest.arrived - CREDIT_S);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Waiting,
    Served {
        since: Duration,
    },
    /// Watchers hear of it.
    Final,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    queue: usize,
    width: Width,
    phase: Phase,
}

/// See the module.
#[derive(Debug)]
pub struct QueueSet {
    response: Response,
    limit: u32,
    queues: Vec<Queue>,
    requests: HashMap<Id, Request>,
    /// Virtual time in seat-seconds. A double counts 0.2 µs at 30 years' worth of 600 seats.
    virtual_time: f64,
    last: Duration,
    /// Where the last request came from: equals take turns.
    robin: usize,
    active: usize,
    waiting: usize,
    executing: usize,
    seats_in_use: u32,
    seats_waiting: u32,
    demand: Demand,
}

impl QueueSet {
    /// Empty queues with this many seats.
    pub fn new(response: Response, limit: u32) -> Self {
        let queues = (0..response.queues()).map(|_| Queue::default()).collect();
        Self {
            response,
            limit,
            queues,
            requests: HashMap::new(),
            virtual_time: 0.0,
            last: Duration::ZERO,
            robin: 0,
            active: 0,
            waiting: 0,
            executing: 0,
            seats_in_use: 0,
            seats_waiting: 0,
            demand: Demand::default(),
        }
    }

    /// Changes what happens beyond the limit. What waits stays where it is, and queues too many go when they are empty.
    pub fn configure(&mut self, now: Duration, response: Response) {
        self.advance(now);
        self.response = response;
        while self.queues.len() < response.queues() {
            self.queues.push(Queue::default());
        }
        self.shrink();
    }

    /// Changes the number of seats.
    pub fn set_limit(&mut self, now: Duration, limit: u32) {
        self.advance(now);
        self.limit = limit;
    }

    /// The number of seats.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Takes a request in. It waits until [`QueueSet::next`] names it, even where there is room.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn arrive(&mut self, now: Duration, id: Id, hash: u64, width: Width) -> Result<(), Refusal> {
        self.advance(now);
        let at = match self.response {
            Response::Exempt => 0,
            Response::Reject if self.seats_waiting == 0 && self.fits(width) => 0,
            Response::Reject if self.seats_in_use + self.seats_waiting + width.most() <= self.limit => 0,
            Response::Reject => return Err(Refusal::ConcurrencyLimit),
            Response::Queue { queues, hand, length_limit } => {
                let at = self.shortest(&shuffle::deal(hash, queues.max(1), hand.max(1)));
                // What has a seat and waits for its turn alone is still in its queue.
                let taken = self.seats_in_use.saturating_add(self.seats_waiting);
                if taken >= self.limit && self.queues[at].waiting.len() >= length_limit {
                    return Err(Refusal::QueueFull);
                }
                at
            }
        };
        let arrived = self.virtual_time;
        let queue = &mut self.queues[at];
        if !queue.is_active() {
            queue.next_start = queue.next_start.clamp(arrived - CREDIT_S, arrived);
            self.active += 1;
        }
        queue.waiting.push_back(Waiting { id, width, arrived });
        queue.work += width.expected_work();
        queue.bound();
        self.waiting += 1;
        self.seats_waiting += width.most();
        self.requests.insert(id, Request { queue: at, width, phase: Phase::Waiting });
        self.note_demand(now);
        Ok(())
    }

    /// The queue of a hand in which a request waits least: by the work that waits and is being done.
    fn shortest(&self, hand: &[usize]) -> usize {
        let load = |at: usize| {
            let queue = &self.queues[at];
            queue.work + f64::from(queue.seats_in_use) * SERVICE_EXPECTED_S
        };
        let better = |best: usize, at: usize| if load(at) < load(best) { at } else { best };
        hand.iter().copied().reduce(better).unwrap_or(0)
    }

    /// Whether [`QueueSet::next`] would name a request, in virtual time that may be a little behind.
    pub fn is_ready(&self) -> bool {
        self.waiting > 0 && self.ready().is_some()
    }

    /// The next request that is to be served; `None` where none waits or has room. One that is wide and has come to be
    /// the next waits until its seats are free, and nobody of its level overtakes it, its turn would never come: but for
    /// those who take seats that are not for it.
    pub fn next(&mut self, now: Duration) -> Option<Id> {
        if self.waiting == 0 {
            return None;
        }
        self.advance(now);
        let at = self.ready()?;
        self.robin = at;
        let queue = &mut self.queues[at];
        let Waiting { id, width, .. } = queue.waiting.pop_front()?;
        queue.work = if queue.waiting.is_empty() { 0.0 } else { queue.work - width.expected_work() };
        queue.next_start += width.expected_work();
        queue.bound();
        queue.executing += 1;
        queue.seats_in_use += width.most();
        self.waiting -= 1;
        self.executing += 1;
        self.seats_waiting -= width.most();
        self.seats_in_use += width.most();
        if let Some(request) = self.requests.get_mut(&id) {
            request.phase = Phase::Served { since: now };
        }
        self.note_demand(now);
        Some(id)
    }

    /// The queue whose turn it is, where its oldest request has room, or else one that has room in the reserved seats.
    fn ready(&self) -> Option<usize> {
        let next = self.choose(|_| true)?;
        if self.head_fits(next) {
            return Some(next);
        }
        self.choose(|queue| self.is_reserved_for(queue)).filter(|at| self.head_fits(*at))
    }

    /// The queue whose oldest request would end first, of these.
    fn choose(&self, of: impl Fn(&Queue) -> bool) -> Option<usize> {
        let count = self.queues.len();
        let mut best: Option<(usize, f64)> = None;
        for step in 1..=count {
            let at = (self.robin + step) % count;
            let queue = &self.queues[at];
            let Some(oldest) = queue.waiting.front().filter(|_| of(queue)) else { continue };
            let end = queue.next_start + oldest.width.expected_work();
            if best.is_none_or(|(_, least)| end < least) {
                best = Some((at, end));
            }
        }
        best.map(|(at, _)| at)
    }

    fn head_fits(&self, at: usize) -> bool {
        let queue = &self.queues[at];
        let limit = if self.is_reserved_for(queue) { self.limit } else { self.limit - self.reserved() };
        queue.waiting.front().is_some_and(|oldest| self.fits_within(oldest.width, limit))
    }

    fn reserved(&self) -> u32 {
        match self.response {
            Response::Queue { .. } => self.limit / RESERVED_PART,
            Response::Exempt | Response::Reject => 0,
        }
    }

    /// Whether the oldest request of a queue may have seats that are reserved.
    fn is_reserved_for(&self, queue: &Queue) -> bool {
        queue.executing == 0 && queue.waiting.front().is_some_and(|oldest| oldest.width.most() <= self.reserved())
    }

    fn fits(&self, width: Width) -> bool {
        self.fits_within(width, self.limit)
    }

    /// One that is wider than there are seats has them all.
    fn fits_within(&self, width: Width, limit: u32) -> bool {
        self.response == Response::Exempt || self.seats_in_use == 0 && self.limit > 0 || {
            self.seats_in_use.saturating_add(width.most()) <= limit
        }
    }

    /// A request has been served. Where it keeps seats while watchers hear of it, answers for how long; then
    /// [`QueueSet::release`] is due.
    pub fn finish(&mut self, now: Duration, id: Id) -> Option<Duration> {
        self.advance(now);
        let request = self.requests.get_mut(&id)?;
        let Phase::Served { since } = request.phase else { return None };
        let Request { queue: at, width, .. } = *request;
        let more = width.final_seats > 0 && !width.final_for.is_zero();
        if more {
            request.phase = Phase::Final;
        }
        // It was taken to last as long as any; now it is known.
        let took_s = now.saturating_sub(since).as_secs_f64();
        let queue = &mut self.queues[at];
        queue.next_start += f64::from(width.seats) * (took_s - SERVICE_EXPECTED_S);
        queue.bound();
        if more {
            self.give_back(at, width.most() - width.final_seats);
        } else {
            self.leave(id, at, width.most());
        }
        self.note_demand(now);
        more.then_some(width.final_for)
    }

    /// Watchers have heard of a request.
    pub fn release(&mut self, now: Duration, id: Id) {
        self.advance(now);
        let Some(&Request { queue: at, width, phase: Phase::Final }) = self.requests.get(&id) else { return };
        self.leave(id, at, width.final_seats);
        self.note_demand(now);
    }

    /// A request waits no longer; says whether it did. One that is served by now is to be finished.
    pub fn cancel(&mut self, now: Duration, id: Id) -> bool {
        self.advance(now);
        let Some(&Request { queue: at, width, phase: Phase::Waiting }) = self.requests.get(&id) else { return false };
        let queue = &mut self.queues[at];
        queue.waiting.retain(|waiting| waiting.id != id);
        queue.work = if queue.waiting.is_empty() { 0.0 } else { queue.work - width.expected_work() };
        queue.bound();
        if !queue.is_active() {
            self.active -= 1;
        }
        self.waiting -= 1;
        self.seats_waiting -= width.most();
        self.requests.remove(&id);
        self.note_demand(now);
        self.shrink();
        true
    }

    fn give_back(&mut self, at: usize, seats: u32) {
        self.queues[at].seats_in_use -= seats;
        self.seats_in_use -= seats;
    }

    fn leave(&mut self, id: Id, at: usize, seats: u32) {
        self.give_back(at, seats);
        self.queues[at].executing -= 1;
        self.executing -= 1;
        if !self.queues[at].is_active() {
            self.active -= 1;
        }
        self.requests.remove(&id);
        self.shrink();
    }

    /// Queues beyond what is configured go once they are empty; nothing is dealt to them any more.
    fn shrink(&mut self) {
        let wanted = self.response.queues();
        while self.queues.len() > wanted && self.queues.last().is_some_and(|queue| !queue.is_active()) {
            self.queues.pop();
        }
        self.robin %= self.queues.len();
    }

    /// Virtual time runs as fast as active queues are served: by the seats that are taken, not by those there are, for
    /// a request may wait for more than a seat.
    fn advance(&mut self, now: Duration) {
        let passed_s = now.saturating_sub(self.last).as_secs_f64();
        self.last = self.last.max(now);
        if self.active > 0 {
            self.virtual_time += passed_s * f64::from(self.seats_in_use) / self.active as f64;
        }
    }

    fn note_demand(&mut self, now: Duration) {
        self.demand.set(now, self.seats_in_use.saturating_add(self.seats_waiting));
    }

    /// How many seats were wanted since the last time this was asked.
    pub fn take_demand(&mut self, now: Duration) -> Wanted {
        self.demand.take(now)
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many are served.
    pub fn executing(&self) -> usize {
        self.executing
    }

    /// Seats that are taken.
    pub fn seats_in_use(&self) -> u32 {
        self.seats_in_use
    }

    /// Nothing waits and nothing is served.
    pub fn is_idle(&self) -> bool {
        self.waiting == 0 && self.executing == 0
    }

    /// Virtual time.
    pub fn virtual_time(&self) -> f64 {
        self.virtual_time
    }

    /// How many wait in the queue of a request that waits.
    pub fn queue_length(&self, id: Id) -> usize {
        self.requests.get(&id).map_or(0, |request| self.queues[request.queue].waiting.len())
    }
}

#[cfg(test)]
mod tests;
