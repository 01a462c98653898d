//! The clock, passed in wherever a test wants to turn it.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};

/// Where a component reads the time of day.
pub trait Clock: Send + Sync + 'static {
    /// The present moment in UTC.
    fn now(&self) -> Timestamp;
}

/// `by` after `at`; the first or the last moment that there is where it would be beyond. How long something takes is
/// often for users to say, who may say any number of seconds: the sum of two times panics then.
pub fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    let end = if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    at.checked_add(by).unwrap_or(end)
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that moves only when told to; for tests.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Timestamp>>);

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(start)))
    }

    /// Moves the clock on by `step`.
    pub fn advance(&self, step: SignedDuration) {
        let mut now = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *now += step;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_later_than_the_last() {
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(later(at, SignedDuration::from_secs(5)).as_second(), 5);
        assert_eq!(later(at, SignedDuration::from_secs(-5)).as_second(), -5);
        assert_eq!(later(at, SignedDuration::MAX), Timestamp::MAX);
        assert_eq!(later(Timestamp::MAX, SignedDuration::from_secs(1)), Timestamp::MAX);
        assert_eq!(later(at, SignedDuration::MIN), Timestamp::MIN);
    }
}
