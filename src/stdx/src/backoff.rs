//! Retry delays: exponential with a ceiling and jitter.

use std::time::Duration;

/// Delays that double from `initial` to `ceiling`, each shortened by up to `jitter` of itself.
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    ceiling: Duration,
    jitter: f64,
    attempt: u32,
}

impl Backoff {
    /// Delays of `initial`, 2 × `initial`, … up to `ceiling`, without jitter.
    pub fn new(initial: Duration, ceiling: Duration) -> Self {
        Self { initial, ceiling, jitter: 0.0, attempt: 0 }
    }

    /// Shortens each delay by a random share of it between 0 and `jitter` (0.0 to 1.0).
    pub fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter.clamp(0.0, 1.0);
        self
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let doubled = self.initial.saturating_mul(1u32.checked_shl(self.attempt).unwrap_or(u32::MAX));
        self.attempt = (self.attempt + 1).min(31);
        let delay = doubled.min(self.ceiling);
        delay.mul_f64(1.0 - self.jitter * rand::random::<f64>())
    }

    /// Begins again at `initial`; call it after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_ceiling_and_start_again_after_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let delays: Vec<u64> = (0..5).map(|_| backoff.next_delay().as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 5, 5]);
        backoff.reset();
        assert_eq!(backoff.next_delay().as_secs(), 1);
    }

    #[test]
    fn jitter_only_shortens() {
        let mut backoff = Backoff::new(Duration::from_secs(8), Duration::from_secs(8)).with_jitter(0.5);
        for _ in 0..100 {
            let delay = backoff.next_delay();
            assert!(delay <= Duration::from_secs(8) && delay >= Duration::from_secs(4), "{delay:?}");
        }
    }
}
