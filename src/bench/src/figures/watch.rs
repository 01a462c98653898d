//! How long a change takes to reach a thousand watchers, a thousand times a second.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::bench::Bench;
use crate::drive;
use crate::http::Access;
use crate::objects::{Same, write_request};
use crate::proc::Process;
use crate::report::{Measured, Row, Target};
use crate::server::Server;
use crate::stats::Samples;

const WATCHERS: usize = 1_000;
/// Who changes objects; each has one of its own, and divides the rate. Many, so that a slow disk does not slow them down.
const WRITERS: usize = 100;
const EVENTS_PER_S: u64 = 1_000;
/// What has not come by then will not.
const LATE: Duration = Duration::from_secs(2);
const P99_MS: f64 = 50.0;
const COLLECTION: &str = "/api/v1/namespaces/default/configmaps";
/// Stands around the moment a change was due, and nowhere else in an object.
const MARK: u8 = b'~';

/// What the watchers have seen.
#[derive(Default)]
struct Seen {
    delivered_ms: Vec<f64>,
    bytes: u64,
    /// Watches that ended.
    ended: usize,
}

/// A run.
struct Outcome {
    seen: Seen,
    /// How long each change took.
    changes_ms: Vec<f64>,
    server_cpus: f64,
    own_cpus: f64,
}

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let lasts = Duration::from_secs(if bench.quick { 3 } else { 10 });
    let mut server = Server::prepare(&bench.rkctl, &bench.file("watch")).await?;
    server.start().await?;
    let access = server.user("bench").await?;
    let process = server.process()?;
    let before_mb = server.resident_mb()?;
    let mut rows = Vec::new();
    // A tenth first: what it is where the machine is not the limit.
    for watchers in [WATCHERS / 10, WATCHERS] {
        let own = access.clone();
        let outcome = drive::on_one_thread(move || run(own, process, watchers, lasts)).await?;
        rows.extend(told(watchers, outcome)?);
    }
    let after_mb = server.resident_mb()?;
    server.stop().await?;
    rows.push(Row::new("resident after it", after_mb, "MB").detail(format!("{before_mb:.0} MB before")));
    let how = format!(
        "each watcher on a connection of its own (HTTP/1.1, TLS 1.3) watches the ConfigMaps of a namespace as JSON; \
         {WRITERS} writers change an object of about 400 bytes each by merge patches, {EVENTS_PER_S} a second together; \
         delivery is from the moment a change was due, so it holds the write itself with its fsync, until a watcher has \
         read it; all watchers and writers are one thread on the machine of the server"
    );
    Ok(Measured { how, rows, parts: vec![] })
}

fn told(watchers: usize, outcome: Outcome) -> anyhow::Result<[Row; 3]> {
    let Outcome { seen, changes_ms, server_cpus, own_cpus } = outcome;
    let changes = Samples::new(changes_ms).context("nothing was changed")?;
    let samples = Samples::new(seen.delivered_ms).context("nothing was delivered")?;
    let (expected, count) = ((changes.count() * watchers) as f64, samples.count() as f64);
    let detail = format!(
        "p50 {:.1} ms, max {:.0} ms; processors: server {server_cpus:.2}, load {own_cpus:.2}",
        samples.median(),
        samples.max()
    );
    let lost = format!("{count:.0} of {expected:.0}, {:.0} MB; {} watches ended", seen.bytes as f64 / 1e6, seen.ended);
    Ok([
        Row::new(format!("p99 of delivery to {watchers} watchers"), samples.percentile(99.0), "ms")
            .target(Target::AtMost(P99_MS))
            .detail(detail),
        Row::new(format!("delivered to {watchers} watchers"), count / expected * 100.0, "%")
            .target(Target::AtLeast(100.0))
            .detail(lost),
        Row::new(format!("p99 of the changes, with {watchers} watchers"), changes.percentile(99.0), "ms")
            .detail(format!("from when each was due until it was answered; p50 {:.1} ms", changes.median())),
    ])
}

async fn run(access: Access, server: Process, watchers: usize, lasts: Duration) -> anyhow::Result<Outcome> {
    let host = access.host();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let mut wire = access.wire().await?;
        let mut request = Vec::new();
        let name = name(watchers, writer);
        let body = format!("{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"{name}\"}}}}");
        write_request(&mut request, "POST", COLLECTION, &host, "application/json", body.as_bytes());
        wire.exchange(&request).await.context("make what is watched")?;
        writers.push(wire);
    }
    // The newest revision: watches begin there.
    let listed = writers[0].body(&Same::get(&host, COLLECTION, "application/json").0).await?;
    let listed: serde_json::Value = serde_json::from_slice(&listed)?;
    let revision = listed["metadata"]["resourceVersion"].as_str().context("a list without a revision")?.to_owned();
    let seen = Rc::new(RefCell::new(Seen::default()));
    let path = format!("{COLLECTION}?watch=true&resourceVersion={revision}");
    let request = Same::get(&host, &path, "application/json").0;
    let began = Instant::now();
    let mut watching = tokio::task::JoinSet::new();
    for _ in 0..watchers {
        let mut wire = access.wire().await?;
        wire.begin(&request).await.context("begin a watch")?;
        let seen = seen.clone();
        watching.spawn_local(async move { follow(&mut wire, began, &seen).await });
    }
    let (server_s, own_s, from) = (server.cpu_s()?, drive::own()?.cpu_s()?, Instant::now());
    let mut changing = tokio::task::JoinSet::new();
    for (writer, wire) in writers.into_iter().enumerate() {
        let (host, name) = (host.clone(), name(watchers, writer));
        let first = from + Duration::from_secs(1).mul_f64(writer as f64 / EVENTS_PER_S as f64);
        changing.spawn_local(change(wire, host, name, began, first, lasts));
    }
    let mut changes_ms = Vec::new();
    while let Some(ended) = changing.join_next().await {
        changes_ms.extend(ended.context("a writer panicked")??);
    }
    let elapsed_s = from.elapsed().as_secs_f64();
    let (server_s, own_s) = (server.cpu_s()? - server_s, drive::own()?.cpu_s()? - own_s);
    let limit = Instant::now() + LATE;
    while seen.borrow().delivered_ms.len() < changes_ms.len() * watchers && Instant::now() < limit {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    watching.abort_all();
    while watching.join_next().await.is_some() {}
    let (server_cpus, own_cpus) = (server_s / elapsed_s, own_s / elapsed_s);
    Ok(Outcome { seen: seen.take(), changes_ms, server_cpus, own_cpus })
}

fn name(watchers: usize, writer: usize) -> String {
    format!("bench-{watchers}-{writer}")
}

/// Changes one object at a steady pace; answers how long each change took from when it was due.
async fn change(
    mut wire: crate::wire::Wire,
    host: String,
    name: String,
    began: Instant,
    first: Instant,
    lasts: Duration,
) -> anyhow::Result<Vec<f64>> {
    let every = Duration::from_secs(1).mul_f64(WRITERS as f64 / EVENTS_PER_S as f64);
    let (mut due, mut all_ms, mut request) = (first, Vec::new(), Vec::new());
    while due < first + lasts {
        tokio::time::sleep_until(due.into()).await;
        let mark = char::from(MARK);
        let at_us = due.saturating_duration_since(began).as_micros();
        let body = format!("{{\"data\":{{\"at\":\"{mark}{at_us:012}{mark}\"}}}}");
        request.clear();
        let path = format!("{COLLECTION}/{name}");
        write_request(&mut request, "PATCH", &path, &host, "application/merge-patch+json", body.as_bytes());
        wire.exchange(&request).await.context("change what is watched")?;
        all_ms.push(due.elapsed().as_secs_f64() * 1000.0);
        due += every;
    }
    Ok(all_ms)
}

/// Reads a watch and notes when each change came.
async fn follow(wire: &mut crate::wire::Wire, began: Instant, seen: &RefCell<Seen>) -> anyhow::Result<()> {
    let mut marks = Marks::default();
    loop {
        let bytes = wire.more().await?;
        let mut seen = seen.borrow_mut();
        if bytes.is_empty() {
            seen.ended += 1;
            return Ok(());
        }
        seen.bytes += bytes.len() as u64;
        let now_us = began.elapsed().as_micros() as f64;
        marks.find(bytes, |at_us| seen.delivered_ms.push((now_us - at_us as f64) / 1000.0));
    }
}

/// Finds the moments between marks in bytes that come in pieces.
#[derive(Default)]
struct Marks {
    within: bool,
    digits: u64,
}

impl Marks {
    fn find(&mut self, mut bytes: &[u8], mut found: impl FnMut(u64)) {
        loop {
            let end = memchr::memchr(MARK, bytes);
            if self.within {
                let digits = &bytes[..end.unwrap_or(bytes.len())];
                // The frame of a chunk may lie between two digits, which then are not those of a moment.
                self.digits = digits.iter().filter(|byte| byte.is_ascii_digit()).fold(self.digits, |number, digit| {
                    number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
                });
            }
            let Some(end) = end else { return };
            if self.within {
                found(std::mem::take(&mut self.digits));
            }
            self.within = !self.within;
            bytes = &bytes[end + 1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_found_in_whatever_pieces_they_come() {
        let text = b"{\"at\":\"~000000000042~\"}\n{\"at\":\"~000000001000~\"}";
        for size in 1..text.len() {
            let (mut marks, mut found) = (Marks::default(), Vec::new());
            text.chunks(size).for_each(|piece| marks.find(piece, |at_us| found.push(at_us)));
            assert_eq!(found, [42, 1000], "in pieces of {size}");
        }
    }
}
