//! API priority and fairness (KEP-1040): which requests are served now, which wait and which are refused, so that a
//! flood of one flow leaves the others their share. FlowSchemas and PriorityLevelConfigurations are followed as they
//! are stored.
//!
//! What is decided is decided by the pure modules below; here is the lock around them, the waiting and the clock.
//! Requests of this process's own components are not asked: they bound what they want themselves.

mod config;
mod demand;
mod dispatcher;
mod dump;
mod estimate;
mod figures;
mod objects;
mod queues;
pub mod sending;
mod shares;
mod shuffle;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use store::Store;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::follow::Followed;
use crate::processor;
use crate::request::{Query, RequestInfo, User};
use crate::served::Served;
use crate::status::{Result, Status};
use config::{Config, Schema};
use dispatcher::Dispatcher;
use estimate::Estimator;
pub use estimate::Watching;
use figures::{Figures, Pair};
pub use objects::Objects;
use queues::{Id, Refusal, Width};

/// How often seats are divided anew by what is wanted; Kubernetes' period.
const DIVIDE_EVERY: Duration = Duration::from_secs(10);
/// Turns for each processor: one that is served, and one that is ready when it ends.
const TURNS_PER_PROCESSOR: usize = 2;
/// Also on the smallest machine, so that a long one leaves others a turn.
const TURNS_MIN: usize = 4;

const SCHEMA_HEADER: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_HEADER: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// See the module.
pub struct Flow {
    began: Instant,
    hasher: RandomState,
    objects: Followed<Objects>,
    config: RwLock<Arc<Config>>,
    estimator: Estimator,
    inner: Mutex<Inner>,
}

struct Inner {
    dispatcher: Dispatcher,
    waiters: HashMap<Id, Waiter>,
    figures: Figures,
}

/// A request that waits.
struct Waiter {
    wake: oneshot::Sender<()>,
    details: Details,
}

/// What the debug pages tell of a request that waits.
struct Details {
    pair: Pair,
    flow: String,
    arrived: Timestamp,
    user: String,
    info: RequestInfo,
}

/// Who asks what of which server.
pub struct Asked<'a> {
    /// Who asks.
    pub user: &'a User,
    /// What for.
    pub info: &'a RequestInfo,
    /// The query parameters.
    pub query: &'a Query,
    /// What is served.
    pub served: &'a Served,
    /// Where objects are counted.
    pub store: &'a dyn Store,
}

/// Which schema and level a request belongs to: told to the client by their uids, which give no names away.
#[derive(Debug, Clone)]
pub struct Marks {
    schema: Arc<str>,
    level: Arc<str>,
}

impl Marks {
    /// Writes the headers of an answer.
    pub fn write(&self, headers: &mut HeaderMap) {
        for (name, uid) in [(SCHEMA_HEADER, &self.schema), (LEVEL_HEADER, &self.level)] {
            if let Ok(value) = HeaderValue::from_str(uid) {
                headers.insert(name, value);
            }
        }
    }
}

/// What became of a request.
pub struct Admission {
    /// Where it belongs.
    pub marks: Option<Marks>,
    /// Its seat, or why it has none.
    pub seat: Result<Seat>,
}

impl Flow {
    /// Flow control by these objects, over this many seats.
    pub fn new(total: usize, objects: Followed<Objects>) -> Arc<Self> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let turns = (processors * TURNS_PER_PROCESSOR).max(TURNS_MIN);
        let dispatcher = Dispatcher::new(u32::try_from(total).unwrap_or(u32::MAX), turns);
        let inner = Inner { dispatcher, waiters: HashMap::new(), figures: Figures::default() };
        let flow = Self {
            began: Instant::now(),
            hasher: RandomState::new(),
            objects,
            config: RwLock::default(),
            estimator: Estimator::default(),
            inner: Mutex::new(inner),
        };
        flow.refresh();
        Arc::new(flow)
    }

    /// Follows the objects and divides seats until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut changes = self.objects.read().changes();
        // What was stored between the beginning and now.
        self.refresh();
        let mut divide = tokio::time::interval(DIVIDE_EVERY);
        divide.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = changes.changed() => {
                    // Objects that are read anew have another sender.
                    if changed.is_err() {
                        changes = self.changes();
                    }
                    self.refresh();
                }
                _ = divide.tick() => {
                    let mut inner = self.lock();
                    inner.dispatcher.divide(self.now());
                    inner.pump(self.now(), None);
                }
            }
        }
    }

    /// Changes of FlowSchemas and PriorityLevelConfigurations.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.objects.read().changes()
    }

    fn refresh(&self) {
        let config = Arc::new(self.objects.read().config());
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config.clone();
        let mut inner = self.lock();
        inner.dispatcher.configure(self.now(), &config.levels);
        inner.figures.retain(config.pairs());
        inner.pump(self.now(), None);
    }

    fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request may be served, at most this long.
    pub async fn admit(self: &Arc<Self>, asked: &Asked<'_>, wait_limit: Duration) -> Admission {
        let config = self.config();
        let Some(schema) = config.classify(asked.user, asked.info) else {
            // Kubernetes' catch-all schema leaves nobody out, and cannot be changed or deleted for long.
            return Admission { marks: None, seat: Err(refused()) };
        };
        // A hash says nothing of other flows, and is hard to meet with: it is made with a key of this process.
        let flow = self.hasher.hash_one((&schema.name, schema.flow(asked.user, asked.info)));
        processor::charge((!self.lock().dispatcher.is_exempt(&schema.level)).then_some(flow));
        let marks = Some(Marks { schema: schema.uid.clone(), level: schema.level_uid.clone() });
        Admission { marks, seat: self.seat((schema, flow), asked, wait_limit).await }
    }

    async fn seat(
        self: &Arc<Self>,
        (schema, hash): (&Schema, u64),
        asked: &Asked<'_>,
        wait_limit: Duration,
    ) -> Result<Seat> {
        let seats_max = self.lock().dispatcher.width_limit(&schema.level);
        let width = self.estimator.width(asked.store, asked.served, (asked.info, asked.query), seats_max).await;
        let is_write = !matches!(asked.info.verb.as_str(), "get" | "list" | "watch");
        let watchers = (is_write && asked.info.is_resource).then(|| self.estimator.watchers_of(asked.info));
        let flow = schema.flow(asked.user, asked.info);
        let pair: Pair = (schema.level.clone(), schema.name.clone());
        let arrived = self.now();
        let mut seat = Seat {
            flow: self.clone(),
            id: 0,
            pair,
            width,
            is_watch: asked.info.verb == "watch",
            since: arrived,
            stage: Stage::Waits,
        };
        let woken = {
            let mut inner = self.lock();
            let came = inner.dispatcher.arrive(arrived, &schema.level, hash, width);
            seat.id = came.map_err(|why| {
                inner.figures.refused(&seat.pair, why);
                // It was never taken in.
                seat.stage = Stage::Gone;
                refused()
            })?;
            let queue_length = inner.dispatcher.queue_length(seat.id);
            inner.figures.arrived(&seat.pair, width, watchers, queue_length);
            if inner.pump(arrived, Some(seat.id)) {
                inner.figures.dispatched(&seat.pair, width, 0.0);
                seat.stage = Stage::HasTurn;
                return Ok(seat);
            }
            let (wake, woken) = oneshot::channel();
            let details = Details {
                pair: seat.pair.clone(),
                flow: flow.to_string(),
                arrived: Timestamp::now(),
                user: asked.user.name.clone(),
                info: asked.info.clone(),
            };
            inner.waiters.insert(seat.id, Waiter { wake, details });
            woken
        };
        match tokio::time::timeout(wait_limit, woken).await {
            Ok(Ok(())) => {
                seat.since = self.now();
                let waited_s = (seat.since - arrived).as_secs_f64();
                self.lock().figures.dispatched(&seat.pair, width, waited_s);
                seat.stage = Stage::HasTurn;
                Ok(seat)
            }
            _ => {
                seat.give_up(Refusal::TimedOut);
                Err(refused())
            }
        }
    }

    /// Counts a watch until what is answered is dropped.
    pub fn watch(&self, info: &RequestInfo) -> Watching {
        self.estimator.watch(info)
    }

    /// The figures in Prometheus' text format.
    pub fn render(&self, out: &mut String) {
        let inner = self.lock();
        inner.figures.render(out, &inner.dispatcher);
    }

    /// A page below `/debug/api_priority_and_fairness/`; `None` for one there is not.
    pub fn debug_page(&self, page: &str, with_details: bool) -> Option<String> {
        dump::page(&self.lock(), page, with_details)
    }
}

impl Inner {
    /// Wakes whoever may be served; says whether `own` is among them, whom nobody needs to wake.
    fn pump(&mut self, now: Duration, own: Option<Id>) -> bool {
        let mut is_own = false;
        while let Some(id) = self.dispatcher.next(now) {
            is_own |= own == Some(id);
            if let Some(waiter) = self.waiters.remove(&id) {
                // Whoever has gone away gives the seat back when it is dropped.
                let _ = waiter.wake.send(());
            }
        }
        is_own
    }
}

fn refused() -> Status {
    Status::too_many_requests("Too many requests, please try again later.", 1)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waits,
    HasTurn,
    Served,
    Gone,
}

/// The seats of a request; given back when dropped.
pub struct Seat {
    flow: Arc<Flow>,
    id: Id,
    pair: Pair,
    width: Width,
    is_watch: bool,
    since: Duration,
    stage: Stage,
}

impl Seat {
    /// Serves the request. When it waits for something of its own another one has its turn.
    pub async fn serve<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            let polled = work.as_mut().poll(cx);
            if polled.is_pending() {
                self.end_turn();
            }
            polled
        })
        .await
    }

    /// Lets another request have its turn; the seats are kept.
    fn end_turn(&mut self) {
        if self.stage != Stage::HasTurn {
            return;
        }
        self.stage = Stage::Served;
        let mut inner = self.flow.lock();
        if inner.dispatcher.end_turn(self.id) {
            inner.pump(self.flow.now(), None);
        }
    }

    fn give_up(&mut self, why: Refusal) {
        self.stage = Stage::Gone;
        let now = self.flow.now();
        let mut inner = self.flow.lock();
        inner.waiters.remove(&self.id);
        inner.figures.gave_up(&self.pair, why, now.saturating_sub(self.since).as_secs_f64());
        if !inner.dispatcher.cancel(now, self.id) {
            // It was dispatched in the same moment, and there is nothing for watchers to hear of.
            if inner.dispatcher.finish(now, self.id).is_some() {
                inner.dispatcher.release(now, self.id);
            }
        }
        inner.pump(now, None);
    }

    fn finish(&mut self) {
        let now = self.flow.now();
        let more = {
            let mut inner = self.flow.lock();
            let took_s = now.saturating_sub(self.since).as_secs_f64();
            inner.figures.finished(&self.pair, self.width, took_s, self.is_watch);
            let more = inner.dispatcher.finish(now, self.id);
            inner.pump(now, None);
            more
        };
        let Some(more) = more else { return };
        let (flow, id) = (self.flow.clone(), self.id);
        let release = move || {
            let now = flow.now();
            let mut inner = flow.lock();
            inner.dispatcher.release(now, id);
            inner.pump(now, None);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                tokio::time::sleep(more).await;
                release();
            })),
            // The process ends.
            Err(_) => release(),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        match self.stage {
            Stage::Waits => self.give_up(Refusal::Cancelled),
            Stage::HasTurn | Stage::Served => self.finish(),
            Stage::Gone => {}
        }
    }
}

#[cfg(test)]
mod tests;
