//! Seats of requests whose answers are still on their way. Most answers are small, and their seats are given back
//! before they are sent. A large one keeps its seats until little of it is left, and a watch until its first objects
//! are told: so nobody makes more of them than there are seats by not reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Response;
use http_body::Body as _;

use super::Seat;
use crate::body::Body;

/// Answers of which no more than this is left to send keep no seats.
const SMALL_BYTES: u64 = 128 << 10;
/// Seats are given back after this at the latest, so that slow lines do not take them from others: a request's own
/// time, after which Kubernetes breaks an answer off.
const HELD_AT_MOST: Duration = Duration::from_secs(60);

/// The mark of a watch's answer that begins with the objects there are: true once they are told.
#[derive(Debug, Clone, Default)]
pub struct Beginning(Arc<AtomicBool>);

impl Beginning {
    /// All are told.
    pub fn ended(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The seats of an answer that is on its way, for whoever sends it.
#[derive(Clone)]
pub struct Held {
    _seat: Arc<Seat>,
    beginning: Option<Beginning>,
    until: Instant,
}

impl Held {
    /// Whether the seats are to be kept where so much is left to send; `None` where nobody knows.
    pub fn holds(&self, left: Option<u64>) -> bool {
        let is_large = match &self.beginning {
            Some(beginning) => !beginning.0.load(Ordering::Acquire),
            None => left.is_none_or(|left| left > SMALL_BYTES),
        };
        is_large && Instant::now() < self.until
    }
}

/// Leaves the seats with an answer that is large, or else gives them back.
pub fn hold(mut seat: Seat, response: &mut Response<Body>, is_long_running: bool) {
    let beginning = response.extensions_mut().remove::<Beginning>();
    if is_long_running && beginning.is_none() {
        return;
    }
    let left = response.body().size_hint().exact();
    if beginning.is_none() && left.is_some_and(|left| left <= SMALL_BYTES) {
        return;
    }
    seat.end_turn();
    let until = Instant::now() + HELD_AT_MOST;
    response.extensions_mut().insert(Held { _seat: Arc::new(seat), beginning, until });
}
