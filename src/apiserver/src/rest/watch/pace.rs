//! How often a busy watch is written to. A write to a connection costs the processor as much as many events: where events
//! come faster than anybody could tell them apart, they are gathered for a moment and sent together, and a thousand
//! watchers of a busy namespace cost what they read and not how often. A watch that is written to now and then, or in
//! a burst, never waits.

use std::time::Duration;

use tokio::time::Instant;

/// A watch that is always busy is written to this often.
const EVERY: Duration = Duration::from_millis(20);
/// So many writes come before any is held back.
const BURST: u32 = 32;

/// What a watch has been written.
#[derive(Debug)]
pub struct Pace {
    /// When writes at the steady rate would have been as many as there were.
    even_at: Instant,
}

impl Pace {
    /// A watch that begins.
    pub fn new(now: Instant) -> Self {
        Self { even_at: now }
    }

    /// It is written to now. Answers until when to gather what comes next; `None` where it is sent at once.
    pub fn sent(&mut self, now: Instant) -> Option<Instant> {
        self.even_at = self.even_at.max(now) + EVERY;
        let next = self.even_at.checked_sub(EVERY * BURST)?;
        (next > now).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of these many writes happens, where something is to be sent after every `gap`.
    fn writes(count: u32, gap: Duration) -> Vec<Duration> {
        let began = Instant::now();
        let (mut pace, mut now, mut times) = (Pace::new(began), began, Vec::new());
        for _ in 0..count {
            times.push(now - began);
            let until = pace.sent(now).unwrap_or(now);
            now = until.max(now + gap);
        }
        times
    }

    #[test]
    fn who_is_written_to_now_and_then_or_in_a_burst_never_waits() {
        let now_and_then = writes(1000, EVERY);
        assert!(now_and_then.windows(2).all(|two| two[1] - two[0] == EVERY));
        let burst = writes(BURST, Duration::from_micros(10));
        assert!(burst.windows(2).all(|two| two[1] - two[0] == Duration::from_micros(10)));
    }

    #[test]
    fn who_is_always_busy_is_written_to_at_a_steady_rate() {
        let busy = writes(1000, Duration::from_micros(10));
        let late = &busy[BURST as usize + 1..];
        assert!(late.windows(2).all(|two| two[1] - two[0] >= EVERY - Duration::from_millis(1)));
        let took = busy[999];
        assert!(took >= EVERY * (999 - BURST) && took < EVERY * 1000, "{took:?}");
    }

    #[test]
    fn a_pause_is_not_saved_up_beyond_a_burst() {
        let began = Instant::now();
        let mut pace = Pace::new(began);
        let later = began + Duration::from_secs(3600);
        let waits = (0..=BURST).map(|_| pace.sent(later)).filter(Option::is_some).count();
        assert_eq!(waits, 1);
    }
}
