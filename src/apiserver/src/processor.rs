//! The processor's time, shared between flows.
//!
//! A request that has its turn and its seats still costs time again and again: to be read and decrypted, judged,
//! answered, encrypted and sent. With hundreds of connections all of that stands in the runtime's queue, where nobody
//! can overtake. Here each task of a connection asks before it works: one whose flow is ahead of the others waits until
//! all that is ready has been looked at, which costs less than a microsecond each, and until it is its flow's turn.
//! Nothing is held while a task waits for anything, so that there is nothing to be locked up in.
//!
//! Who comes next is decided by [`tags`]; components of this process and requests of exempt levels are not asked.

mod tags;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tags::{FlowId, QUANTUM, Tags};

thread_local! {
    /// The work that this thread does now.
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

struct Current {
    began: Instant,
    account: Arc<Account>,
}

/// Who pays for the work of a connection, or of one stream on it.
#[derive(Debug)]
pub struct Account {
    flow: AtomicU64,
    is_exempt: AtomicBool,
    /// That of a stream's connection, which goes over to whoever asked last.
    connection: Option<Arc<Account>>,
}

impl Account {
    fn new(flow: FlowId, connection: Option<Arc<Account>>) -> Arc<Self> {
        Arc::new(Self { flow: AtomicU64::new(flow), is_exempt: AtomicBool::new(false), connection })
    }

    /// One for a stream of this connection.
    pub fn of_stream(self: &Arc<Self>) -> Arc<Self> {
        Self::new(self.flow(), Some(self.clone()))
    }

    fn flow(&self) -> FlowId {
        self.flow.load(Ordering::Relaxed)
    }

    fn is_exempt(&self) -> bool {
        self.is_exempt.load(Ordering::Relaxed)
    }

    fn charge(&self, flow: Option<FlowId>) {
        self.is_exempt.store(flow.is_none(), Ordering::Relaxed);
        if let Some(flow) = flow {
            self.flow.store(flow, Ordering::Relaxed);
        }
        if let Some(connection) = &self.connection {
            connection.charge(flow);
        }
    }
}

/// From here on the work of this task is of a flow; `None` where it is exempt. Outside of connections nothing happens.
pub fn charge(flow: Option<FlowId>) {
    CURRENT.with_borrow(|current| {
        if let Some(current) = current {
            current.account.charge(flow);
        }
    });
}

/// Whether this task has worked for so long that others are to have a look in.
fn is_overdue() -> Option<bool> {
    CURRENT.with_borrow(|current| current.as_ref().map(|current| current.began.elapsed() >= QUANTUM))
}

/// Lets others work where this task has worked for long: to be awaited a few times in each millisecond of long work.
pub async fn pause() {
    match is_overdue() {
        Some(true) => {
            let mut has_waited = false;
            poll_fn(|cx| if std::mem::replace(&mut has_waited, true) { Poll::Ready(()) } else { again(cx) }).await;
        }
        Some(false) => {}
        // A component's of this process, which shares its thread with connections.
        None => tokio::task::yield_now().await,
    }
}

/// As [`pause`], where there is nothing but a context.
pub fn poll_pause(cx: &Context<'_>) -> Poll<()> {
    if is_overdue() == Some(true) { again(cx) } else { Poll::Ready(()) }
}

fn again(cx: &Context<'_>) -> Poll<()> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// See the module.
pub struct Processor {
    inner: Mutex<Inner>,
    /// So many are let in at once from among those who wait: as many as there are threads to work.
    places: usize,
    hasher: RandomState,
}

#[derive(Default)]
struct Inner {
    tags: Tags<Waker>,
    /// Those who were let in and have not worked yet.
    let_in: usize,
    /// Somebody will look who comes next.
    is_looking: bool,
}

impl Processor {
    /// That of so many threads.
    pub fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), places: threads.max(1), hasher: RandomState::new() })
    }

    /// Of a connection of which no more is known than where it comes from.
    pub fn account(&self, address: IpAddr) -> Arc<Account> {
        Account::new(self.hasher.hash_one(address.to_canonical()), None)
    }

    /// Has work share the processor's time.
    pub fn share<F: Future>(self: &Arc<Self>, account: Arc<Account>, work: F) -> Sharing<F> {
        let place = Place { processor: self.clone(), account, waits: None };
        Sharing { work, place }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has somebody look who comes next, once all that is ready had its look in and the kernel was asked what else is:
    /// that is what the runtime does for one that steps back.
    fn look(self: &Arc<Self>, inner: &mut Inner) {
        if inner.is_looking || !inner.tags.has_waiting() || inner.let_in >= self.places {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        inner.is_looking = true;
        let own = self.clone();
        runtime.spawn(async move {
            tokio::task::yield_now().await;
            own.let_in();
        });
    }

    fn let_in(&self) {
        let mut inner = self.lock();
        inner.is_looking = false;
        inner.tags.rise();
        while inner.let_in < self.places
            && let Some(next) = inner.tags.next()
        {
            inner.let_in += 1;
            next.wake();
        }
    }
}

/// A task's place among those who share.
struct Place {
    processor: Arc<Processor>,
    account: Arc<Account>,
    /// The flow with which it waits, and its number there.
    waits: Option<(FlowId, u64)>,
}

impl Place {
    /// Asks to work. Answers whether the place was waited for.
    fn ask(&mut self, cx: &Context<'_>) -> Poll<bool> {
        let mut inner = self.processor.lock();
        if let Some((flow, number)) = self.waits {
            if let Some(waker) = inner.tags.waiting(flow, number) {
                waker.clone_from(cx.waker());
                return Poll::Pending;
            }
            self.waits = None;
            return Poll::Ready(true);
        }
        let flow = self.account.flow();
        if inner.tags.may_begin(flow) {
            return Poll::Ready(false);
        }
        self.waits = Some((flow, inner.tags.wait(flow, cx.waker().clone())));
        self.processor.look(&mut inner);
        Poll::Pending
    }

    /// One who was let in leaves.
    fn leave(&self, inner: &mut Inner) {
        inner.let_in -= 1;
        match inner.tags.next_near() {
            Some(next) => {
                inner.let_in += 1;
                next.wake();
            }
            None => self.processor.look(inner),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((flow, number)) = self.waits else { return };
        let mut inner = self.processor.lock();
        // Who was let in in the same moment makes room.
        if !inner.tags.cancel(flow, number) {
            self.leave(&mut inner);
        }
    }
}

/// One time of work: counted when it ends, by a panic too.
struct Working<'a> {
    place: &'a Place,
    was_let_in: bool,
}

impl<'a> Working<'a> {
    fn begin(place: &'a Place, was_let_in: bool) -> Self {
        let current = Current { began: Instant::now(), account: place.account.clone() };
        CURRENT.set(Some(current));
        Self { place, was_let_in }
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let took = CURRENT.take().map_or_else(Default::default, |current| current.began.elapsed());
        let is_exempt = self.place.account.is_exempt();
        if is_exempt && !self.was_let_in {
            return;
        }
        let mut inner = self.place.processor.lock();
        if !is_exempt {
            inner.tags.spend(self.place.account.flow(), took);
        }
        if self.was_let_in {
            self.place.leave(&mut inner);
        }
    }
}

pin_project_lite::pin_project! {
    /// Work that shares the processor's time.
    pub struct Sharing<F> {
        place: Place,
        #[pin]
        work: F,
    }
}

impl<F: Future> Future for Sharing<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let (place, work) = (this.place, this.work);
        let is_free = place.waits.is_none() && place.account.is_exempt();
        let was_let_in = match is_free {
            true => false,
            false => std::task::ready!(place.ask(cx)),
        };
        let _working = Working::begin(place, was_let_in);
        work.poll(cx)
    }
}

#[cfg(test)]
mod tests;
