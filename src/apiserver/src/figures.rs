//! Counters and histograms by labels in Prometheus' text format, for whoever counts something of its own.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A counter. Whoever counts sees to it that labels are few.
#[derive(Debug)]
pub struct Counter {
    name: &'static str,
    help: &'static str,
    series: Mutex<BTreeMap<String, u64>>,
}

impl Counter {
    /// A counter of this name.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, series: Mutex::new(BTreeMap::new()) }
    }

    /// Counts one under labels: `result="success"`.
    pub fn add(&self, labels: impl AsRef<str> + Into<String>) {
        let mut series = lock(&self.series);
        match series.get_mut(labels.as_ref()) {
            Some(count) => *count += 1,
            None => drop(series.insert(labels.into(), 1)),
        }
    }

    /// Adds it as text; nothing where nothing was counted.
    pub fn render(&self, out: &mut String) {
        let (series, Self { name, help, .. }) = (lock(&self.series), self);
        if series.is_empty() {
            return;
        }
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        for (labels, count) in series.iter() {
            let _ = writeln!(out, "{name}{{{labels}}} {count}");
        }
    }
}

/// How many were within each bound, how many there were, and their sum in seconds.
#[derive(Debug, Default)]
struct Observed {
    within: Vec<u64>,
    count: u64,
    sum_s: f64,
}

impl Observed {
    fn add(&mut self, bounds_s: &[f64], took: Duration) {
        let seconds = took.as_secs_f64();
        for (within, bound) in self.within.iter_mut().zip(bounds_s) {
            *within += u64::from(seconds <= *bound);
        }
        self.count += 1;
        self.sum_s += seconds;
    }
}

/// A histogram of times.
#[derive(Debug)]
pub struct Histogram {
    name: &'static str,
    help: &'static str,
    bounds_s: &'static [f64],
    series: Mutex<BTreeMap<String, Observed>>,
}

impl Histogram {
    /// A histogram of this name with these upper bounds in seconds.
    pub const fn new(name: &'static str, help: &'static str, bounds_s: &'static [f64]) -> Self {
        Self { name, help, bounds_s, series: Mutex::new(BTreeMap::new()) }
    }

    /// Adds a time under labels.
    pub fn observe(&self, labels: impl AsRef<str> + Into<String>, took: Duration) {
        let mut series = lock(&self.series);
        if let Some(observed) = series.get_mut(labels.as_ref()) {
            return observed.add(self.bounds_s, took);
        }
        let observed = series.entry(labels.into()).or_default();
        observed.within.resize(self.bounds_s.len(), 0);
        observed.add(self.bounds_s, took);
    }

    /// Adds it as text; nothing where nothing was observed.
    pub fn render(&self, out: &mut String) {
        let (series, Self { name, help, .. }) = (lock(&self.series), self);
        if series.is_empty() {
            return;
        }
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (labels, observed) in series.iter() {
            for (bound, within) in self.bounds_s.iter().zip(&observed.within) {
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {within}");
            }
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", observed.count);
            let _ = writeln!(out, "{name}_sum{{{labels}}} {}", observed.sum_s);
            let _ = writeln!(out, "{name}_count{{{labels}}} {}", observed.count);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_and_nothing_else() {
        let (counter, histogram) = (Counter::new("a_total", "As."), Histogram::new("b_seconds", "Bs.", &[0.1, 1.0]));
        let mut text = String::new();
        counter.render(&mut text);
        histogram.render(&mut text);
        assert_eq!(text, "");
        counter.add("x=\"1\"".to_string());
        counter.add("x=\"1\"".to_string());
        histogram.observe("x=\"1\"".to_string(), Duration::from_millis(500));
        counter.render(&mut text);
        histogram.render(&mut text);
        for line in [
            "# TYPE a_total counter",
            "a_total{x=\"1\"} 2",
            "b_seconds_bucket{x=\"1\",le=\"0.1\"} 0",
            "b_seconds_bucket{x=\"1\",le=\"1\"} 1",
            "b_seconds_bucket{x=\"1\",le=\"+Inf\"} 1",
            "b_seconds_sum{x=\"1\"} 0.5",
            "b_seconds_count{x=\"1\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
