//! Work queues: a key waits once however often it is added, and is never worked on twice at a time.

use std::future::Future;
use std::hash::Hash;
use std::time::Duration;

/// A queue of keys with delays and per-key back-off. Cheap to clone; clones share the queue.
#[derive(Clone)]
pub struct WorkQueue<T> {
    _keys: std::marker::PhantomData<fn() -> T>,
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
    pub fn new(_name: &'static str) -> Self {
        unimplemented!()
    }

    /// Adds a key; at once where it is not waiting already.
    pub fn add(&self, _key: T) {
        unimplemented!()
    }

    /// Adds a key after a while.
    pub fn add_after(&self, _key: T, _delay: Duration) {
        unimplemented!()
    }

    /// Runs `workers` tasks that call `reconcile` for each key until the queue is shut down.
    /// An error is logged and the key comes back after its back-off.
    pub async fn run<F, Fut, E>(&self, _workers: usize, _reconcile: F)
    where
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome, E>> + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        unimplemented!()
    }

    /// Ends the workers once what they are doing is done.
    pub fn shut_down(&self) {
        unimplemented!()
    }
}
