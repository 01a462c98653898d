//! How many seats a priority level has wanted over a while: mean, deviation and the most, weighted by time. What is
//! lent to whom is decided by it.

use std::time::Duration;

/// What was wanted over a while, in seats.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Wanted {
    /// The mean over time.
    pub mean: f64,
    /// The standard deviation over time.
    pub deviation: f64,
    /// The most at any moment.
    pub high: f64,
}

/// Follows a number over time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demand {
    value: f64,
    since: Duration,
    began: Duration,
    sum: f64,
    square_sum: f64,
    high: f64,
}

impl Demand {
    /// The number is this from now on.
    pub fn set(&mut self, now: Duration, value: u32) {
        self.pass(now);
        self.value = f64::from(value);
        self.high = self.high.max(self.value);
    }

    /// What it was since the last time this was asked.
    pub fn take(&mut self, now: Duration) -> Wanted {
        self.pass(now);
        let length_s = now.saturating_sub(self.began).as_secs_f64();
        let wanted = match length_s > 0.0 {
            true => {
                let mean = self.sum / length_s;
                let variance = (self.square_sum / length_s - mean * mean).max(0.0);
                Wanted { mean, deviation: variance.sqrt(), high: self.high }
            }
            false => Wanted { mean: self.value, deviation: 0.0, high: self.high },
        };
        *self = Self { value: self.value, since: now, began: now, sum: 0.0, square_sum: 0.0, high: self.value };
        wanted
    }

    fn pass(&mut self, now: Duration) {
        let passed_s = now.saturating_sub(self.since).as_secs_f64();
        self.sum += self.value * passed_s;
        self.square_sum += self.value * self.value * passed_s;
        self.since = self.since.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_deviation_and_most_are_over_time() {
        let at = Duration::from_secs;
        let mut demand = Demand::default();
        demand.set(at(0), 2);
        demand.set(at(5), 6);
        assert_eq!(demand.take(at(10)), Wanted { mean: 4.0, deviation: 2.0, high: 6.0 });
        // The next while begins with what is wanted now.
        assert_eq!(demand.take(at(20)), Wanted { mean: 6.0, deviation: 0.0, high: 6.0 });
        demand.set(at(20), 0);
        assert_eq!(demand.take(at(20)), Wanted { mean: 0.0, deviation: 0.0, high: 6.0 });
        assert_eq!(demand.take(at(30)), Wanted { mean: 0.0, deviation: 0.0, high: 0.0 });
    }
}
