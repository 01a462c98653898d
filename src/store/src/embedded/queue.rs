//! Writes that wait, and who does them: a thread that takes as many as there are at a time, or, where nobody else
//! writes, whoever asks. Nothing waits here once the store has given up.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, oneshot, watch};

use super::Done;
use super::writer::{Outcome, Writer};
use crate::memory::Memory;
use crate::{Error, Precondition};

/// Most bytes of values in one transaction, so that one fsync stays short.
const BATCH_BYTES: usize = 8 << 20;
/// What part of the last transaction's time the writer waits at most for those that it has just answered to ask again:
/// two transactions of half as many cost twice.
const WAIT_PART: u32 = 4;

/// A write that waits.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) operation: Operation,
    /// `None` where the store itself asks.
    pub(super) reply: Option<Reply>,
}

/// Who waits for the answer of a write.
#[derive(Debug)]
pub(super) struct Reply {
    answer: oneshot::Sender<Result<Done, Error>>,
    runtime: Option<Handle>,
}

#[derive(Debug)]
pub(super) enum Operation {
    Put { key: Arc<str>, value: Bytes, precondition: Precondition, ttl: Option<Duration> },
    Delete { key: Arc<str>, revision: u64 },
}

impl Operation {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Put { value, .. } => value.len(),
            Self::Delete { .. } => 0,
        }
    }
}

/// The last transaction.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    writes: usize,
    took: Duration,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: Vec<Request>,
    /// No more are taken in; those that wait are done.
    closed: bool,
    /// The thread sleeps until so many wait; 0 where it does not.
    wanted: usize,
    last: Last,
    /// When the thread has something to do though nobody writes.
    due: Option<Instant>,
}

impl Waiting {
    fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }
}

/// What those who write share with the thread.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// Writes that wait at most; more wait outside.
    room: Semaphore,
    /// `None` once the disk is closed.
    writer: Mutex<Option<Writer>>,
    batch_writes: usize,
    /// Writes that have begun and not ended.
    under_way: AtomicUsize,
    memory: Arc<Memory>,
    /// Set when nothing can be written any more.
    ended: watch::Sender<bool>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A write that has begun, until it is answered or given up.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ends the store where it is dropped before it is told that all went well, by a panic too.
struct EndsUnlessWell<'a>(&'a Queue, bool);

impl Drop for EndsUnlessWell<'_> {
    fn drop(&mut self) {
        if !self.1 {
            tracing::error!("the store gives up: what is on disk may not be what was committed");
            self.0.end();
        }
    }
}

impl Queue {
    pub(super) fn new(writer: Writer, memory: Arc<Memory>, write_queue: usize, batch_writes: usize) -> Self {
        let waiting = Waiting { due: writer.next_due(), ..Waiting::default() };
        Self {
            waiting: Mutex::new(waiting),
            arrived: Condvar::new(),
            room: Semaphore::new(write_queue.clamp(1, Semaphore::MAX_PERMITS)),
            writer: Mutex::new(Some(writer)),
            batch_writes: batch_writes.max(1),
            under_way: AtomicUsize::new(0),
            memory,
            ended: watch::Sender::new(false),
        }
    }

    /// Waits until nothing can be written any more.
    pub(super) async fn ended(&self) {
        // The sender lives as long as this does.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Takes no more in; the thread does what waits and ends.
    pub(super) fn close(&self) {
        locked(&self.waiting).closed = true;
        self.room.close();
        self.arrived.notify_all();
    }

    /// Closes the disk, ends what waits, every watch, and the thread.
    fn end(&self) {
        let abandoned = {
            let mut waiting = locked(&self.waiting);
            waiting.closed = true;
            std::mem::take(&mut waiting.requests)
        };
        // Whoever waits for one of them is told that the store is closed.
        drop(abandoned);
        self.room.close();
        self.arrived.notify_all();
        self.memory.close();
        self.ended.send_replace(true);
    }

    /// Does a write; answers when it is durable.
    pub(super) async fn write(&self, operation: Operation) -> Result<Done, Error> {
        let (answer, answered) = oneshot::channel();
        let reply = Reply { answer, runtime: Handle::try_current().ok() };
        let request = Request { operation, reply: Some(reply) };
        let _under_way = UnderWay::begin(&self.under_way);
        // Others of the same task begin meanwhile: all of them belong into one transaction.
        tokio::task::yield_now().await;
        if let Err(request) = self.write_here(request) {
            let room = self.room.acquire().await.map_err(|_| Error::Closed)?;
            self.push(request)?;
            // Given back when the thread takes it.
            room.forget();
        }
        answered.await.map_err(|_| Error::Closed)?
    }

    fn push(&self, request: Request) -> Result<(), Error> {
        let mut waiting = locked(&self.waiting);
        if waiting.closed {
            return Err(Error::Closed);
        }
        waiting.requests.push(request);
        let wake = waiting.wanted > 0 && waiting.requests.len() >= waiting.wanted;
        if wake {
            waiting.wanted = 0;
        }
        drop(waiting);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Writes on the caller's own thread where nobody else writes: handing it to another and back takes longer than
    /// all that is done but for the disk. Hands the request back where it is for the thread.
    fn write_here(&self, request: Request) -> Result<(), Request> {
        let runtime = request.reply.as_ref().and_then(|reply| reply.runtime.as_ref());
        let may_block = runtime.is_some_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
        let alone = may_block && self.under_way.load(Ordering::Relaxed) == 1 && {
            let waiting = locked(&self.waiting);
            waiting.requests.is_empty() && !waiting.closed && waiting.last.writes <= 1 && !waiting.is_due()
        };
        if !alone {
            return Err(request);
        }
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => return Err(request),
        };
        let Some(writer) = writer.as_mut() else { return Err(request) };
        tokio::task::block_in_place(|| self.commit(writer, vec![request]));
        Ok(())
    }

    /// Carries a batch out; answers whether the store goes on.
    fn commit(&self, writer: &mut Writer, batch: Vec<Request>) -> bool {
        let mut guard = EndsUnlessWell(self, false);
        let due = writer.next_due();
        let Outcome { answers, mut sound } = writer.commit(batch);
        if writer.next_due() != due {
            self.announce(writer.next_due());
        }
        answer_all(answers);
        // Nobody waits for it who has been written already.
        sound = sound && writer.tidy();
        guard.1 = sound;
        sound
    }

    /// Tells the thread when it has something to do though nobody writes.
    fn announce(&self, due: Option<Instant>) {
        let mut waiting = locked(&self.waiting);
        waiting.due = due;
        drop(waiting);
        // It may be asleep for longer than that.
        self.arrived.notify_one();
    }

    /// Serves requests until the store is closed or gives up, then closes the disk.
    pub(super) fn run(&self) {
        let mut guard = EndsUnlessWell(self, false);
        let mut sound = true;
        while self.wait() {
            let mut writer = locked(&self.writer);
            // Taken while nobody else can write: whoever came meanwhile is in it.
            let mut batch = self.take();
            let Some(writer) = writer.as_mut() else { continue };
            let (began, writes) = (Instant::now(), batch.len());
            // Behind the others: whoever writes a key again in time keeps it.
            batch.extend(writer.due().into_iter().map(|operation| Request { operation, reply: None }));
            sound = self.commit(writer, batch);
            if !sound {
                break;
            }
            if writes > 0 {
                locked(&self.waiting).last = Last { writes, took: began.elapsed() };
            }
        }
        let writer = locked(&self.writer).take();
        if let Some(writer) = writer.filter(|_| sound) {
            writer.close();
        }
        guard.1 = true;
        self.end();
    }

    /// Waits for work, or until something is due; answers false where there will be none.
    fn wait(&self) -> bool {
        let mut waiting = locked(&self.waiting);
        let Last { writes, took } = waiting.last;
        if writes > 1 {
            let until = Instant::now() + took / WAIT_PART;
            let enough = (writes - writes / 8).min(self.batch_writes);
            while waiting.requests.len() < enough && !waiting.closed {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                waiting.wanted = enough;
                waiting = self.arrived.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        while waiting.requests.is_empty() && !waiting.closed && !waiting.is_due() {
            waiting.wanted = 1;
            waiting = match waiting.due {
                None => self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let left = due.saturating_duration_since(Instant::now());
                    self.arrived.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        waiting.wanted = 0;
        !waiting.requests.is_empty() || !waiting.closed
    }

    /// The writes of the next transaction, in the order in which they came.
    fn take(&self) -> Vec<Request> {
        let mut waiting = locked(&self.waiting);
        let (mut count, mut bytes) = (0, 0);
        for request in waiting.requests.iter().take(self.batch_writes) {
            if bytes >= BATCH_BYTES {
                break;
            }
            bytes += request.operation.size_bytes();
            count += 1;
        }
        let rest = waiting.requests.split_off(count);
        let batch = std::mem::replace(&mut waiting.requests, rest);
        drop(waiting);
        self.room.add_permits(count);
        batch
    }
}

pub(super) type Answer = (Reply, Result<Done, Error>);

/// Wakes who waits. Many are woken from within their own runtime, by one task: from outside, each wake is a call of the
/// system's.
fn answer_all(answers: Vec<Answer>) {
    let runtime = match answers.as_slice() {
        [] | [_] => None,
        [first, rest @ ..] => first.0.runtime.clone().filter(|runtime| {
            let same = |other: &Answer| other.0.runtime.as_ref().is_some_and(|other| other.id() == runtime.id());
            rest.iter().all(same)
        }),
    };
    let send = move || {
        for (reply, outcome) in answers {
            // Whoever no longer waits does not need the answer.
            let _ = reply.answer.send(outcome);
        }
    };
    match runtime {
        Some(runtime) => drop(runtime.spawn(async move { send() })),
        None => send(),
    }
}
