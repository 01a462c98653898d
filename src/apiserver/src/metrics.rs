//! `/metrics`: counters and histograms of this server in Prometheus' text format, under kube-apiserver's names
//! where there is one, so that existing dashboards read them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// Upper bounds of the latency buckets in seconds.
const BUCKETS_S: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 10.0, 30.0];

/// What a request is counted under. Only resources that are served are named, so that nobody can make series.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// `LIST`, `GET`, `WATCH`.
    pub verb: String,
    /// Empty for the core group.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// `pods`; empty for paths that are no resource.
    pub resource: String,
    /// `status`.
    pub subresource: String,
    /// `cluster`, `namespace`, `resource`; empty for paths that are no resource.
    pub scope: &'static str,
}

impl Labels {
    fn text(&self) -> String {
        let Self { verb, group, version, resource, subresource, scope } = self;
        format!(
            "group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
        )
    }
}

#[derive(Debug, Default)]
struct Histogram {
    counts: [u64; BUCKETS_S.len()],
    count: u64,
    sum_s: f64,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        for (bucket, bound) in self.counts.iter_mut().zip(BUCKETS_S) {
            *bucket += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum_s += seconds;
    }
}

/// The figures of one server.
#[derive(Debug)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(Labels, u16), u64>>,
    latencies: Mutex<BTreeMap<Labels, Histogram>>,
    watches: Mutex<BTreeMap<Labels, i64>>,
    watch_events: AtomicU64,
    /// Requests that read and are being answered.
    pub reads_in_flight: AtomicI64,
    /// Requests that write and are being answered.
    pub writes_in_flight: AtomicI64,
    /// Requests refused because too many were in flight.
    pub refused: AtomicU64,
    /// Open connections.
    pub connections: AtomicI64,
    /// Connections refused since their address had too many.
    pub refused_connections: AtomicU64,
    /// Answers that ended since their client did not read.
    pub stalled: AtomicU64,
    started: Timestamp,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Mutex::default(),
            latencies: Mutex::default(),
            watches: Mutex::default(),
            watch_events: AtomicU64::new(0),
            reads_in_flight: AtomicI64::new(0),
            writes_in_flight: AtomicI64::new(0),
            refused: AtomicU64::new(0),
            connections: AtomicI64::new(0),
            refused_connections: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            started: Timestamp::now(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Metrics {
    /// Counts a finished request; `took` is `None` for watches and streams, whose length says nothing.
    pub fn count(&self, labels: Labels, code: u16, took: Option<Duration>) {
        if let Some(took) = took {
            let seconds = took.as_secs_f64();
            let mut latencies = lock(&self.latencies);
            // Nearly all have been counted before: what is counted under is copied for the first of its kind alone.
            match latencies.get_mut(&labels) {
                Some(histogram) => histogram.add(seconds),
                None => latencies.entry(labels.clone()).or_default().add(seconds),
            }
        }
        *lock(&self.requests).entry((labels, code)).or_default() += 1;
    }

    /// A watch or stream begins (+1) or ends (-1).
    pub fn long_running(&self, labels: &Labels, change: i64) {
        *lock(&self.watches).entry(labels.clone()).or_default() += change;
    }

    /// An event was sent to a watcher.
    pub fn watch_event(&self) {
        self.watch_events.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything as text; `objects` are (resource, how many are stored) and `revision` the store's newest.
    pub fn render(&self, objects: &[(String, u64)], revision: u64) -> String {
        let mut out = String::with_capacity(16 * 1024);
        self.render_requests(&mut out);
        head(&mut out, "apiserver_longrunning_requests", "gauge", "Watches and streams that are open.");
        for (labels, count) in lock(&self.watches).iter() {
            let _ = writeln!(out, "apiserver_longrunning_requests{{{}}} {count}", labels.text());
        }
        head(&mut out, "apiserver_current_inflight_requests", "gauge", "Requests being answered.");
        let reads = self.reads_in_flight.load(Ordering::Relaxed);
        let writes = self.writes_in_flight.load(Ordering::Relaxed);
        let _ = writeln!(out, "apiserver_current_inflight_requests{{request_kind=\"readOnly\"}} {reads}");
        let _ = writeln!(out, "apiserver_current_inflight_requests{{request_kind=\"mutating\"}} {writes}");
        let singles = [
            (
                "apiserver_dropped_requests_total",
                "counter",
                "Requests refused with 429.",
                self.refused.load(Ordering::Relaxed),
            ),
            (
                "apiserver_watch_events_total",
                "counter",
                "Events sent to watchers.",
                self.watch_events.load(Ordering::Relaxed),
            ),
            ("apiserver_store_revision", "gauge", "The newest revision of the store.", revision),
            (
                "rkctl_apiserver_connections_refused_total",
                "counter",
                "Connections refused since their address had too many.",
                self.refused_connections.load(Ordering::Relaxed),
            ),
            (
                "rkctl_apiserver_answers_stalled_total",
                "counter",
                "Answers that ended since their client did not read.",
                self.stalled.load(Ordering::Relaxed),
            ),
        ];
        for (name, kind, help, value) in singles {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
        head(&mut out, "rkctl_apiserver_connections", "gauge", "Open connections.");
        let _ = writeln!(out, "rkctl_apiserver_connections {}", self.connections.load(Ordering::Relaxed));
        head(&mut out, "apiserver_storage_objects", "gauge", "Stored objects by resource.");
        for (resource, count) in objects {
            let _ = writeln!(out, "apiserver_storage_objects{{resource=\"{resource}\"}} {count}");
        }
        self.render_process(&mut out);
        out
    }

    fn render_requests(&self, out: &mut String) {
        head(out, "apiserver_request_total", "counter", "Requests by verb, resource and code.");
        for ((labels, code), count) in lock(&self.requests).iter() {
            let _ = writeln!(out, "apiserver_request_total{{code=\"{code}\",{}}} {count}", labels.text());
        }
        head(out, "apiserver_request_duration_seconds", "histogram", "How long requests took.");
        for (labels, histogram) in lock(&self.latencies).iter() {
            let text = labels.text();
            let name = "apiserver_request_duration_seconds";
            for (bound, count) in BUCKETS_S.iter().zip(histogram.counts) {
                let _ = writeln!(out, "{name}_bucket{{{text},le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(out, "{name}_bucket{{{text},le=\"+Inf\"}} {}", histogram.count);
            let _ = writeln!(out, "{name}_sum{{{text}}} {}", histogram.sum_s);
            let _ = writeln!(out, "{name}_count{{{text}}} {}", histogram.count);
        }
    }

    fn render_process(&self, out: &mut String) {
        let (resident_bytes, cpu_s, files) = process_figures();
        let figures = [
            ("process_resident_memory_bytes", "gauge", "Resident memory in bytes.", resident_bytes as f64),
            ("process_cpu_seconds_total", "counter", "CPU time in seconds.", cpu_s),
            ("process_open_fds", "gauge", "Open file descriptors.", files as f64),
            (
                "process_start_time_seconds",
                "gauge",
                "When the server started.",
                self.started.as_millisecond() as f64 / 1e3,
            ),
        ];
        for (name, kind, help, value) in figures {
            head(out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Resident bytes, CPU seconds and open files of this process from /proc; zeros where it cannot be read.
fn process_figures() -> (u64, f64, usize) {
    // Linux counts CPU time in hundredths of a second on every architecture (USER_HZ).
    const TICKS_PER_S: f64 = 100.0;
    let resident_bytes = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(0, |kib| kib * 1024);
    let cpu_s = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| {
            // The command may hold spaces; what follows its closing bracket does not.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
            let user: f64 = fields.next()?.parse().ok()?;
            let system: f64 = fields.next()?.parse().ok()?;
            Some((user + system) / TICKS_PER_S)
        })
        .unwrap_or(0.0);
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    (resident_bytes, cpu_s, files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_appear_with_count_and_buckets() {
        let metrics = Metrics::default();
        let labels = Labels { verb: "LIST".into(), version: "v1".into(), resource: "pods".into(), ..Labels::default() };
        metrics.count(labels, 200, Some(Duration::from_millis(30)));
        let text = metrics.render(&[("pods".to_string(), 3)], 7);
        assert!(text.contains("apiserver_request_total{code=\"200\",group=\"\",resource=\"pods\""), "{text}");
        assert!(text.contains("le=\"0.025\"} 0\n") && text.contains("le=\"0.05\"} 1\n"), "{text}");
        assert!(text.contains("apiserver_storage_objects{resource=\"pods\"} 3\n"), "{text}");
    }
}
