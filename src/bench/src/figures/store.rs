//! Durable writes of the embedded store beside etcd's, on the same disk with the same keys, values and writers.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::store::embedded::{Embedded, Options};
use ::store::{Precondition, Store as _};
use anyhow::Context as _;
use bytes::Bytes;

use crate::bench::Bench;
use crate::etcd::Etcd;
use crate::load::{self, Load, Outcome, Until};
use crate::proc::Process;
use crate::report::{Measured, Row, Target};
use crate::stats::Samples;

/// A small object of Kubernetes.
const VALUE_BYTES: usize = 1024;
/// One who waits for each write, as many as an API server has at work, and more than fit into a group.
const WRITERS: [usize; 3] = [1, 64, 1000];
/// From so many writers on, what a write costs the processor is compared.
const MANY: usize = 64;
/// Who fills a store that is opened then; divides their number.
const FILLERS: usize = 500;
/// What a sync of the disk is measured with: one page of the store's log.
const PAGE_BYTES: usize = 4096;
/// Pages of the file that are written in turns, so that no sync changes the file's size.
const PAGES: usize = 256;
/// How long the load is run without a store.
const IDLE_FOR: Duration = Duration::from_secs(1);

/// A key as the API server makes them; no two calls have the same.
pub fn key(worker: usize, sequence: u64) -> String {
    format!("/registry/configmaps/bench/{worker:04}-{sequence:08}")
}

struct Ours {
    store: Arc<Embedded>,
    value: Bytes,
}

impl Load for Ours {
    async fn call(&self, worker: usize, sequence: u64) -> anyhow::Result<()> {
        self.store.put(&key(worker, sequence), self.value.clone(), Precondition::Absent).await?;
        Ok(())
    }
}

/// The writers without a store: what they cost is no part of what a write costs, as etcd's clients are none.
struct Idle(Bytes);

impl Load for Idle {
    async fn call(&self, worker: usize, sequence: u64) -> anyhow::Result<()> {
        std::hint::black_box((key(worker, sequence), self.0.clone()));
        // Whoever waits for a write comes back later, too.
        tokio::task::yield_now().await;
        Ok(())
    }
}

/// What the rounds of one side with one number of writers gave.
#[derive(Default)]
struct Rounds {
    per_s: Vec<f64>,
    per_cpu_s: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
}

/// Medians over the rounds of one side.
struct Medians {
    per_s: f64,
    per_cpu_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Rounds {
    /// Runs the load and adds what came of it; `server` is the process whose processor time is counted.
    async fn run(&mut self, load: Arc<impl Load>, writers: usize, until: Until, server: Process) -> anyhow::Result<()> {
        let before_s = server.cpu_s()?;
        let outcome: Outcome = load::run(load, writers, until).await?;
        let used_s = server.cpu_s()? - before_s;
        self.per_s.push(outcome.per_s);
        self.per_cpu_s.push(outcome.latencies_ms.count() as f64 / used_s);
        self.p50_ms.push(outcome.latencies_ms.median());
        self.p99_ms.push(outcome.latencies_ms.percentile(99.0));
        Ok(())
    }

    fn medians(self) -> anyhow::Result<Medians> {
        Ok(Medians {
            per_s: median(self.per_s)?,
            per_cpu_s: median(self.per_cpu_s)?,
            p50_ms: median(self.p50_ms)?,
            p99_ms: median(self.p99_ms)?,
        })
    }
}

fn median(values: Vec<f64>) -> anyhow::Result<f64> {
    Ok(Samples::new(values).context("there were no rounds")?.median())
}

/// One writer's puts and single pages made durable in turns, one by one: disks are quick and slow by turns, and so both
/// meet the same. Answers the median of each, in ms.
async fn beside_fdatasync(
    store: &Embedded,
    file: PathBuf,
    value: Bytes,
    limit: Duration,
) -> anyhow::Result<(f64, f64)> {
    let file = Arc::new(File::create(&file).with_context(|| format!("make {}", file.display()))?);
    file.write_all_at(&vec![1; PAGE_BYTES * PAGES], 0)?;
    file.sync_all()?;
    let (began, mut puts_ms, mut syncs_ms) = (Instant::now(), Vec::new(), Vec::new());
    for sequence in 0.. {
        if began.elapsed() >= limit {
            break;
        }
        let asked = Instant::now();
        store.put(&key(0, sequence), value.clone(), Precondition::Absent).await?;
        puts_ms.push(asked.elapsed().as_secs_f64() * 1000.0);
        let (file, at) = (file.clone(), (sequence % PAGES as u64) * PAGE_BYTES as u64);
        let sync = move || {
            let asked = Instant::now();
            file.write_all_at(&[2; PAGE_BYTES], at)?;
            file.sync_data()?;
            anyhow::Ok(asked.elapsed().as_secs_f64() * 1000.0)
        };
        syncs_ms.push(tokio::task::spawn_blocking(sync).await??);
    }
    Ok((median(puts_ms)?, median(syncs_ms)?))
}

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let rounds = bench.rounds(3, 1);
    let until = Until::Elapsed(Duration::from_secs(if bench.quick { 2 } else { 5 }));
    // Bytes that do not compress; both sides write the same.
    let value: Bytes = (0..VALUE_BYTES).map(|index| (index.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    let own = Process(i32::try_from(std::process::id())?);
    let mut idle = Rounds::default();
    idle.run(Arc::new(Idle(value.clone())), MANY, Until::Elapsed(IDLE_FOR), own).await.context("run the load alone")?;
    let load_us = 1e6 / median(idle.per_cpu_s)?;
    let mut rows = Vec::new();
    for writers in WRITERS {
        let (mut ours, mut theirs) = (Rounds::default(), Rounds::default());
        // One after the other and in turns: what disturbs the machine disturbs both.
        for round in 0..rounds {
            let folder = bench.file(&format!("etcd-{writers}-{round}"));
            let etcd = Arc::new(Etcd::start(&folder, value.clone()).await?);
            let server = etcd.process()?;
            theirs.run(etcd.clone(), writers, until, server).await.context("write to etcd")?;
            drop(etcd);
            let folder = bench.file(&format!("store-{writers}-{round}"));
            std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
            let store = Embedded::open(&folder.join("state.db"), Options::default())?;
            let load = Arc::new(Ours { store: store.clone(), value: value.clone() });
            ours.run(load, writers, until, own).await.context("write to the store")?;
            tokio::task::spawn_blocking(move || store.close()).await?;
        }
        rows.extend(compare(writers, &ours.medians()?, &theirs.medians()?, load_us));
    }
    let (folder, file) = (bench.file("one"), bench.file("page"));
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let store = Embedded::open(&folder.join("state.db"), Options::default())?;
    let limit = Duration::from_secs(if bench.quick { 4 } else { 15 });
    let (put_ms, sync_ms) = beside_fdatasync(&store, file, value.clone(), limit).await?;
    tokio::task::spawn_blocking(move || store.close()).await?;
    let row = Row::new("one writer's p50 to one fdatasync", put_ms / sync_ms, "x").target(Target::AtMost(1.2));
    rows.push(row.detail(format!("{put_ms:.3} ms; one fdatasync {sync_ms:.3} ms")));
    rows.push(start(bench.file("start"), bench.rounds(100_000, 20_000), value).await?);
    let how = format!(
        "new keys with values of {VALUE_BYTES} bytes, each writer waiting until its write is durable; the store as the \
         API server has it, within the process of those who write, whose own part ({load_us:.2} us a write, measured \
         without a store) is taken off; of etcd its process alone counts, without its start and its clients, but with \
         the gRPC that the store has no need of; both sync their log for each group of writes; one \
         fdatasync is of one page in a file whose size stays, in turns with single puts; etcd as Debian ships it, one \
         member, over gRPC on loopback with 8 connections, plain puts; in turns on the same disk, {rounds} rounds each, \
         medians"
    );
    Ok(Measured { how, rows, parts: vec![] })
}

/// How long a store with `count` values takes to open: all of it is read and checked.
async fn start(folder: PathBuf, count: usize, value: Bytes) -> anyhow::Result<Row> {
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let path = folder.join("state.db");
    let store = Embedded::open(&path, Options::default())?;
    let load = Arc::new(Ours { store: store.clone(), value });
    load::run(load, FILLERS, Until::Calls((count / FILLERS) as u64)).await.context("fill the store")?;
    tokio::task::spawn_blocking(move || store.close()).await?;
    let began = Instant::now();
    let store = tokio::task::spawn_blocking(move || Embedded::open(&path, Options::default())).await??;
    let took_ms = began.elapsed().as_secs_f64() * 1000.0;
    tokio::task::spawn_blocking(move || store.close()).await?;
    let row = Row::new(format!("open with {count} values"), took_ms, "ms").target(Target::AtMost(1000.0));
    Ok(row.detail("read and checked whole, one run"))
}

fn compare(writers: usize, ours: &Medians, theirs: &Medians, load_us: f64) -> Vec<Row> {
    let of = |words: &str| format!("{words}, {writers} writer{}", if writers == 1 { "" } else { "s" });
    let detail = format!(
        "{:.0}/s, p50 {:.2} p99 {:.1} ms; etcd {:.0}/s, p50 {:.2} p99 {:.1} ms",
        ours.per_s, ours.p50_ms, ours.p99_ms, theirs.per_s, theirs.p50_ms, theirs.p99_ms
    );
    let per_cpu_s = 1e6 / (1e6 / ours.per_cpu_s - load_us);
    let costs = format!("{per_cpu_s:.0}, with the load's part {:.0}; etcd {:.0}", ours.per_cpu_s, theirs.per_cpu_s);
    let mut cost = Row::new(of("writes per CPU-second to etcd's"), per_cpu_s / theirs.per_cpu_s, "x").detail(costs);
    if writers >= MANY {
        cost = cost.target(Target::AtLeast(10.0));
    }
    vec![
        Row::new(of("writes/s to etcd's"), ours.per_s / theirs.per_s, "x").target(Target::AtLeast(1.0)).detail(detail),
        cost,
        Row::new(of("p99 to etcd's"), ours.p99_ms / theirs.p99_ms, "x").target(Target::AtMost(1.0)),
    ]
}
