//! Load over HTTPS from one thread: so many connections, each sending its next request when the one before is answered,
//! with what that costs the processes that answer and, apart, the one that asks.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::http::Access;
use crate::load::Until;
use crate::proc::Process;
use crate::report::Row;
use crate::stats::Samples;
use crate::wire::Wire;

/// What is asked: the same for the same worker and number in every run.
pub trait Requests: Send + Sync + 'static {
    /// Writes a worker's request whole, head and body. `sequence` counts from 0.
    fn write(&self, worker: usize, sequence: u64, out: &mut Vec<u8>);
}

/// A load.
#[derive(Clone)]
pub struct Drive {
    /// Who asks, and whom.
    pub access: Access,
    /// How many ask.
    pub connections: usize,
    /// How long.
    pub until: Until,
    /// Who answers; its processor time is counted, and that of the processes it started.
    pub server: Process,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Driven {
    /// Answers for each second.
    pub per_s: f64,
    /// Answers for each second of the server's processor time.
    pub per_cpu_s: f64,
    /// How long each answer took.
    pub latencies_ms: Samples,
    /// Processor time of the server for each second that went by.
    pub server_cpus: f64,
    /// Processor time of this process, likewise.
    pub own_cpus: f64,
}

/// This process.
pub fn own() -> anyhow::Result<Process> {
    Ok(Process(i32::try_from(std::process::id())?))
}

/// Runs `work` on a thread of its own, with everything it waits for.
pub async fn on_one_thread<T, W>(work: impl FnOnce() -> W + Send + 'static) -> anyhow::Result<T>
where
    T: Send + 'static,
    W: Future<Output = anyhow::Result<T>>,
{
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        tokio::task::LocalSet::new().block_on(&runtime, work())
    };
    tokio::task::spawn_blocking(run).await.context("the load panicked")?
}

/// Runs a load; the first failure ends it.
///
/// # Errors
/// Answers that are no success.
pub async fn run(drive: &Drive, requests: Arc<dyn Requests>) -> anyhow::Result<Driven> {
    let drive = drive.clone();
    on_one_thread(move || answer(drive, requests)).await
}

async fn answer(drive: Drive, requests: Arc<dyn Requests>) -> anyhow::Result<Driven> {
    let mut wires = Vec::new();
    for _ in 0..drive.connections {
        wires.push(drive.access.wire().await?);
    }
    let (server, own) = (drive.server, own()?);
    let (server_before_s, own_before_s, began) = (server.family_cpu_s()?, own.cpu_s()?, Instant::now());
    let all_ms = Rc::new(RefCell::new(Vec::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for (worker, wire) in wires.into_iter().enumerate() {
        let (requests, all_ms) = (requests.clone(), all_ms.clone());
        tasks.spawn_local(async move { work(worker, wire, &*requests, drive.until, began, &all_ms).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a worker panicked")??;
    }
    let elapsed_s = began.elapsed().as_secs_f64();
    let (server_s, own_s) = (server.family_cpu_s()? - server_before_s, own.cpu_s()? - own_before_s);
    let latencies_ms = Samples::new(all_ms.take()).context("nothing was answered")?;
    let count = latencies_ms.count() as f64;
    Ok(Driven {
        per_s: count / elapsed_s,
        // The kernel counts in ticks; less than one is none.
        per_cpu_s: count / server_s.max(0.01),
        latencies_ms,
        server_cpus: server_s / elapsed_s,
        own_cpus: own_s / elapsed_s,
    })
}

async fn work(
    worker: usize,
    mut wire: Wire,
    requests: &dyn Requests,
    until: Until,
    began: Instant,
    all_ms: &RefCell<Vec<f64>>,
) -> anyhow::Result<()> {
    let mut request = Vec::new();
    for sequence in 0.. {
        if until.is_over(began, sequence) {
            break;
        }
        request.clear();
        requests.write(worker, sequence, &mut request);
        let asked = Instant::now();
        wire.exchange(&request).await?;
        let took: Duration = asked.elapsed();
        all_ms.borrow_mut().push(took.as_secs_f64() * 1000.0);
    }
    Ok(())
}

impl Driven {
    /// Latencies and where the processors' time went, for a row's detail.
    pub fn detail(&self) -> String {
        let (p50, p99) = (self.latencies_ms.median(), self.latencies_ms.percentile(99.0));
        let (server, own) = (self.server_cpus, self.own_cpus);
        format!("p50 {p50:.1} ms, p99 {p99:.1} ms; processors: server {server:.2}, load {own:.2}")
    }

    /// The rate, and the rate for each second of the server's processor time.
    pub fn rows(&self, label: &str) -> [Row; 2] {
        [
            Row::new(label, self.per_s, "/s").detail(self.detail()),
            Row::new(format!("{label}, per CPU-second of the server"), self.per_cpu_s, "/s"),
        ]
    }
}
