//! The queues of a level as the debug pages show them.

use super::{Id, Queue, QueueSet, Width};

/// One queue, as the debug pages show it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueView {
    /// The requests that wait, oldest first.
    pub waiting: Vec<(Id, Width)>,
    /// How many are served.
    pub executing: usize,
    /// Their seats.
    pub seats_in_use: u32,
    /// Virtual time at which the next begins.
    pub next_start: f64,
    /// Expected work of what waits, in seat-seconds.
    pub work: f64,
}

impl QueueSet {
    /// Every queue.
    pub fn view(&self) -> Vec<QueueView> {
        let one = |queue: &Queue| QueueView {
            waiting: queue.waiting.iter().map(|waiting| (waiting.id, waiting.width)).collect(),
            executing: queue.executing,
            seats_in_use: queue.seats_in_use,
            next_start: queue.next_start,
            work: queue.work,
        };
        self.queues.iter().map(one).collect()
    }
}
