//! Work queues: a key waits once however often it is added, and is never worked on twice at a time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// First and longest pause before a key that failed comes back.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));
/// Failures in a row before a key's errors are warnings: conflicts with other writers go away by themselves.
const QUIET_FAILURES: u32 = 3;

/// A queue of keys with delays and per-key back-off. Cheap to clone; clones share the queue.
pub struct WorkQueue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

struct Shared<T> {
    name: &'static str,
    retry: (Duration, Duration),
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    ready: VecDeque<T>,
    /// Keys in `ready`, and keys being worked on that must come again.
    dirty: HashSet<T>,
    working: HashSet<T>,
    /// Due times, earliest first; entries that `due_at` does not confirm are void.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    due_keys: HashMap<u64, T>,
    due_at: HashMap<T, (Instant, u64)>,
    next_id: u64,
    failures: HashMap<T, u32>,
    shut: bool,
}

/// What a reconcile answers when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more until something changes.
    Done,
    /// Look again after this long.
    After(Duration),
}

impl<T: Clone + Eq + Hash + Send + Sync + 'static> WorkQueue<T> {
    /// An empty queue; `name` is for logs and metrics.
    pub fn new(name: &'static str) -> Self {
        Self::with_retry(name, RETRY.0, RETRY.1)
    }

    /// A queue whose keys come back after `initial` when they fail, then twice that, up to `ceiling`.
    pub fn with_retry(name: &'static str, initial: Duration, ceiling: Duration) -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            due: BinaryHeap::new(),
            due_keys: HashMap::new(),
            due_at: HashMap::new(),
            next_id: 0,
            failures: HashMap::new(),
            shut: false,
        };
        let shared = Shared { name, retry: (initial, ceiling), state: Mutex::new(state), changed: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Adds a key; at once where it is not waiting already.
    pub fn add(&self, key: T) {
        let mut state = self.lock();
        if state.add(key) {
            self.shared.changed.notify_one();
        }
    }

    /// Adds a key after a while. Where it is to be added later already, the earlier time counts.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.lock();
        if state.add_at(key, Instant::now() + delay) {
            self.shared.changed.notify_one();
        }
    }

    /// Keys that wait to be worked on now.
    pub fn len(&self) -> usize {
        self.lock().ready.len()
    }

    /// Whether no key waits to be worked on now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs `workers` tasks that call `reconcile` for each key until the queue is shut down.
    /// An error is logged and the key comes back after its back-off.
    pub async fn run<F, Fut, E>(&self, workers: usize, reconcile: F)
    where
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome, E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let reconcile = Arc::new(reconcile);
        let mut tasks = JoinSet::new();
        for _ in 0..workers.max(1) {
            let queue = self.clone();
            let reconcile = reconcile.clone();
            tasks.spawn(async move {
                while let Some(key) = queue.next().await {
                    let outcome = AssertUnwindSafe(async { reconcile(key.clone()).await }).catch_unwind().await;
                    queue.finish(key, outcome);
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// [`WorkQueue::run`] that shuts the queue down when `shutdown` is cancelled.
    pub async fn run_until<F, Fut, E>(&self, shutdown: &CancellationToken, workers: usize, reconcile: F)
    where
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome, E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let close = async {
            shutdown.cancelled().await;
            self.shut_down();
        };
        tokio::join!(close, self.run(workers, reconcile));
    }

    /// Ends the workers once what they are doing is done.
    pub fn shut_down(&self) {
        self.lock().shut = true;
        self.shared.changed.notify_waiters();
        self.shared.changed.notify_one();
    }

    /// The next key to work on; `None` once shut down.
    async fn next(&self) -> Option<T> {
        loop {
            let changed = self.shared.changed.notified();
            let due = {
                let mut state = self.lock();
                if state.shut {
                    // Pass it on: notify_waiters reaches only those that wait already.
                    self.shared.changed.notify_one();
                    return None;
                }
                state.promote(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.working.insert(key.clone());
                    if !state.ready.is_empty() {
                        self.shared.changed.notify_one();
                    }
                    return Some(key);
                }
                state.due.peek().map(|Reverse((at, _))| *at)
            };
            match due {
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    fn finish<E: std::error::Error>(&self, key: T, outcome: Result<Result<Outcome, E>, Box<dyn std::any::Any + Send>>) {
        let mut state = self.lock();
        state.working.remove(&key);
        let again = state.dirty.contains(&key);
        if again {
            state.ready.push_back(key.clone());
        }
        match outcome {
            Ok(Ok(outcome)) => {
                state.failures.remove(&key);
                if let Outcome::After(delay) = outcome {
                    state.add_at(key, Instant::now() + delay);
                }
            }
            Ok(Err(error)) => {
                let failures = state.fail(key, self.shared.retry);
                let error = stdx::error::chain(&error);
                if failures <= QUIET_FAILURES {
                    tracing::debug!(queue = self.shared.name, failures, error, "failed; will retry");
                } else {
                    tracing::warn!(queue = self.shared.name, failures, error, "failed; will retry");
                }
            }
            Err(_) => {
                let failures = state.fail(key, self.shared.retry);
                tracing::error!(queue = self.shared.name, failures, "panicked; will retry");
            }
        }
        drop(state);
        self.shared.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    /// Whether a worker must be woken.
    fn add(&mut self, key: T) -> bool {
        if self.shut || !self.dirty.insert(key.clone()) || self.working.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    fn add_at(&mut self, key: T, at: Instant) -> bool {
        if self.shut || self.due_at.get(&key).is_some_and(|(earlier, _)| *earlier <= at) {
            return false;
        }
        let id = self.next_id;
        self.next_id += 1;
        if let Some((_, void)) = self.due_at.insert(key.clone(), (at, id)) {
            self.due_keys.remove(&void);
        }
        self.due_keys.insert(id, key);
        self.due.push(Reverse((at, id)));
        true
    }

    /// Adds the keys whose time has come.
    fn promote(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.due.peek().copied() {
            if at > now && self.due_keys.contains_key(&id) {
                return;
            }
            self.due.pop();
            if let Some(key) = self.due_keys.remove(&id) {
                self.due_at.remove(&key);
                self.add(key);
            }
        }
    }

    /// Puts a failed key off; its failures in a row.
    fn fail(&mut self, key: T, (initial, ceiling): (Duration, Duration)) -> u32 {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let delay = initial.saturating_mul(1u32.checked_shl(*failures).unwrap_or(u32::MAX)).min(ceiling);
        *failures = failures.saturating_add(1);
        let failures = *failures;
        self.add_at(key, Instant::now() + delay);
        failures
    }
}

#[cfg(test)]
mod tests;
