//! The figures of flow control under kube-apiserver's names (`apiserver_flowcontrol_*`), and the debug pages.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::dispatcher::Dispatcher;
use super::queues::{Refusal, Width};

/// Upper bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 14] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0];
/// Upper bounds of the buckets of queue lengths.
const LENGTHS: [f64; 8] = [0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
/// Upper bounds of the buckets of widths.
const SEATS: [f64; 4] = [1.0, 2.0, 4.0, 10.0];
/// Upper bounds of the buckets of watchers.
const WATCHERS: [f64; 6] = [0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0];

#[derive(Debug, Clone)]
struct Histogram<const N: usize> {
    counts: [u64; N],
    count: u64,
    sum: f64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { counts: [0; N], count: 0, sum: 0.0 }
    }
}

impl<const N: usize> Histogram<N> {
    fn add(&mut self, bounds: &[f64; N], value: f64) {
        for (count, bound) in self.counts.iter_mut().zip(bounds) {
            *count += u64::from(value <= *bound);
        }
        self.count += 1;
        self.sum += value;
    }

    fn render(&self, out: &mut String, name: &str, labels: &str, bounds: &[f64; N]) {
        for (bound, count) in bounds.iter().zip(self.counts) {
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", self.sum);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", self.count);
    }
}

/// Which requests a figure is of: their level and their schema.
pub type Pair = (Arc<str>, Arc<str>);

/// The figures of one schema's requests.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    dispatched: u64,
    refused: BTreeMap<Refusal, u64>,
    waiting: u64,
    executing: u64,
    seats: u64,
    waited: Histogram<14>,
    gave_up: Histogram<14>,
    took: Histogram<14>,
    took_watch: Histogram<14>,
    lengths: Histogram<8>,
    widths: Histogram<4>,
    watchers: Histogram<6>,
}

/// All figures.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<Pair, Flow>);

impl Figures {
    /// Forgets schemas that are gone, once nothing of theirs is in hand.
    pub fn retain<'a>(&mut self, pairs: impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)>) {
        let known: std::collections::BTreeSet<Pair> =
            pairs.map(|(level, schema)| (level.clone(), schema.clone())).collect();
        self.0.retain(|pair, flow| known.contains(pair) || flow.waiting + flow.executing > 0);
    }

    fn of(&mut self, pair: &Pair) -> &mut Flow {
        self.0.entry(pair.clone()).or_default()
    }

    /// A request came; `queue_length` is how many wait where it does, it among them.
    pub fn arrived(&mut self, pair: &Pair, width: Width, watchers: Option<u64>, queue_length: usize) {
        let flow = self.of(pair);
        flow.waiting += 1;
        flow.widths.add(&SEATS, f64::from(width.most()));
        flow.lengths.add(&LENGTHS, queue_length as f64);
        if let Some(watchers) = watchers {
            flow.watchers.add(&WATCHERS, watchers as f64);
        }
    }

    /// A request is served, after this many seconds.
    pub fn dispatched(&mut self, pair: &Pair, width: Width, waited_s: f64) {
        let flow = self.of(pair);
        flow.waiting = flow.waiting.saturating_sub(1);
        flow.executing += 1;
        flow.seats += u64::from(width.most());
        flow.dispatched += 1;
        flow.waited.add(&SECONDS, waited_s);
    }

    /// A request has ended, after this many seconds of service.
    pub fn finished(&mut self, pair: &Pair, width: Width, took_s: f64, is_watch: bool) {
        let flow = self.of(pair);
        flow.executing = flow.executing.saturating_sub(1);
        flow.seats = flow.seats.saturating_sub(u64::from(width.most()));
        if is_watch { &mut flow.took_watch } else { &mut flow.took }.add(&SECONDS, took_s);
    }

    /// A request is refused at once.
    pub fn refused(&mut self, pair: &Pair, why: Refusal) {
        *self.of(pair).refused.entry(why).or_default() += 1;
    }

    /// A request that waited is refused.
    pub fn gave_up(&mut self, pair: &Pair, why: Refusal, waited_s: f64) {
        let flow = self.of(pair);
        flow.waiting = flow.waiting.saturating_sub(1);
        flow.gave_up.add(&SECONDS, waited_s);
        *flow.refused.entry(why).or_default() += 1;
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self, out: &mut String, dispatcher: &Dispatcher) {
        self.render_counts(out);
        self.render_histograms(out);
        render_levels(out, dispatcher);
    }

    fn render_counts(&self, out: &mut String) {
        head(out, "rejected_requests_total", "counter", "Requests that were refused.");
        for (pair, flow) in &self.0 {
            for (why, count) in &flow.refused {
                let (labels, reason) = (labels(pair), why.reason());
                let _ = writeln!(out, "{PREFIX}rejected_requests_total{{{labels},reason=\"{reason}\"}} {count}");
            }
        }
        type Count = fn(&Flow) -> u64;
        let counts: [(&str, &str, &str, Count); 4] = [
            ("dispatched_requests_total", "counter", "Requests that were served.", |flow| flow.dispatched),
            ("current_inqueue_requests", "gauge", "Requests that wait.", |flow| flow.waiting),
            ("current_executing_requests", "gauge", "Requests that are served.", |flow| flow.executing),
            ("current_executing_seats", "gauge", "Seats of requests that are served.", |flow| flow.seats),
        ];
        for (name, kind, help, count) in counts {
            head(out, name, kind, help);
            for (pair, flow) in &self.0 {
                let _ = writeln!(out, "{PREFIX}{name}{{{}}} {}", labels(pair), count(flow));
            }
        }
    }

    fn render_histograms(&self, out: &mut String) {
        head(out, "request_wait_duration_seconds", "histogram", "How long requests waited.");
        for (pair, flow) in &self.0 {
            let name = format!("{PREFIX}request_wait_duration_seconds");
            for (execute, histogram) in [("true", &flow.waited), ("false", &flow.gave_up)] {
                if histogram.count > 0 {
                    histogram.render(out, &name, &format!("execute=\"{execute}\",{}", labels(pair)), &SECONDS);
                }
            }
        }
        head(
            out,
            "request_execution_seconds",
            "histogram",
            "How long requests were served; of watches, until they began.",
        );
        for (pair, flow) in &self.0 {
            let name = format!("{PREFIX}request_execution_seconds");
            for (kind, histogram) in [("regular", &flow.took), ("watch", &flow.took_watch)] {
                if histogram.count > 0 {
                    histogram.render(out, &name, &format!("{},type=\"{kind}\"", labels(pair)), &SECONDS);
                }
            }
        }
        head(out, "request_queue_length_after_enqueue", "histogram", "How many waited where a request came.");
        for (pair, flow) in &self.0 {
            flow.lengths.render(out, &format!("{PREFIX}request_queue_length_after_enqueue"), &labels(pair), &LENGTHS);
        }
        head(out, "work_estimated_seats", "histogram", "How many seats requests take.");
        for (pair, flow) in &self.0 {
            flow.widths.render(out, &format!("{PREFIX}work_estimated_seats"), &labels(pair), &SEATS);
        }
        head(out, "watch_count_samples", "histogram", "How many watchers hear of writes.");
        for (pair, flow) in self.0.iter().filter(|(_, flow)| flow.watchers.count > 0) {
            flow.watchers.render(out, &format!("{PREFIX}watch_count_samples"), &labels(pair), &WATCHERS);
        }
    }
}

const PREFIX: &str = "apiserver_flowcontrol_";

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}");
}

fn labels((level, schema): &Pair) -> String {
    format!("flow_schema=\"{schema}\",priority_level=\"{level}\"")
}

fn render_levels(out: &mut String, dispatcher: &Dispatcher) {
    type Value = fn(&super::dispatcher::Level) -> f64;
    let gauges: [(&str, &str, Value); 12] = [
        ("nominal_limit_seats", "Seats by shares.", |level| f64::from(level.bounds.nominal)),
        ("lower_limit_seats", "Seats with everything lent.", |level| f64::from(level.bounds.min)),
        ("upper_limit_seats", "Seats with everything borrowed.", |level| f64::from(level.bounds.max)),
        ("current_limit_seats", "Seats at present.", |level| f64::from(level.set.limit())),
        ("request_concurrency_limit", "Seats by shares.", |level| f64::from(level.bounds.nominal)),
        ("demand_seats_high_watermark", "The most seats that were wanted.", |level| level.wanted.high),
        ("demand_seats_average", "Seats that were wanted.", |level| level.wanted.mean),
        ("demand_seats_stdev", "Their deviation.", |level| level.wanted.deviation),
        ("demand_seats_smoothed", "Seats that are expected to be wanted.", |level| level.want.smooth),
        ("target_seats", "Seats that are to be given.", |level| level.want.smooth.max(f64::from(level.bounds.min))),
        ("current_r", "Virtual time in seat-seconds.", |level| level.set.virtual_time()),
        ("seats_in_use", "Seats that are taken.", |level| f64::from(level.set.seats_in_use())),
    ];
    for (name, help, value) in gauges {
        head(out, name, "gauge", help);
        for (level, state) in dispatcher.levels() {
            let _ = writeln!(out, "{PREFIX}{name}{{priority_level=\"{level}\"}} {}", value(state));
        }
    }
    head(out, "seat_fair_frac", "gauge", "The part of what they want that levels get which no bound holds.");
    let _ = writeln!(out, "{PREFIX}seat_fair_frac {}", dispatcher.fair_fraction);
}

/// Rows under their headers as the debug pages of kube-apiserver show them: columns in line, a comma behind each.
pub fn table(rows: &[Vec<String>]) -> String {
    /// Kubernetes' tab writer.
    const CELL_MIN: usize = 8;
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        let longest = rows.iter().filter(|row| at + 1 < row.len()).map(|row| row[at].chars().count() + 2).max();
        longest.unwrap_or(0).max(CELL_MIN)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            match at + 1 < row.len() {
                true => {
                    let _ = write!(out, "{:<width$}", format!("{cell},"), width = widths[at]);
                }
                false => out.push_str(cell),
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_line() {
        let rows = [["PriorityLevelName", "A"], ["exempt", "12"]].map(|row| row.map(str::to_string).to_vec());
        assert_eq!(table(&rows), "PriorityLevelName, A\nexempt,            12\n");
    }

    #[test]
    fn figures_follow_a_request() {
        let pair: Pair = ("l".into(), "s".into());
        let mut figures = Figures::default();
        let dispatcher = Dispatcher::new(10, 1);
        figures.arrived(&pair, Width::of(2), Some(3), 1);
        let text = |figures: &Figures| {
            let mut out = String::new();
            figures.render(&mut out, &dispatcher);
            out
        };
        let labels = "flow_schema=\"s\",priority_level=\"l\"";
        assert!(text(&figures).contains(&format!("apiserver_flowcontrol_current_inqueue_requests{{{labels}}} 1\n")));
        figures.dispatched(&pair, Width::of(2), 0.01);
        let shown = text(&figures);
        assert!(shown.contains(&format!("apiserver_flowcontrol_current_executing_seats{{{labels}}} 2\n")), "{shown}");
        figures.finished(&pair, Width::of(2), 0.3, false);
        figures.refused(&pair, Refusal::QueueFull);
        let shown = text(&figures);
        for line in [
            format!("rejected_requests_total{{{labels},reason=\"queue-full\"}} 1\n"),
            format!("dispatched_requests_total{{{labels}}} 1\n"),
            format!("current_executing_requests{{{labels}}} 0\n"),
            format!("request_execution_seconds_bucket{{{labels},type=\"regular\",le=\"0.5\"}} 1\n"),
            format!("request_wait_duration_seconds_count{{execute=\"true\",{labels}}} 1\n"),
            format!("work_estimated_seats_bucket{{{labels},le=\"2\"}} 1\n"),
        ] {
            assert!(shown.contains(&line), "{line} is not in {shown}");
        }
        figures.retain(std::iter::empty());
        assert!(!text(&figures).contains("\"s\""));
    }
}
