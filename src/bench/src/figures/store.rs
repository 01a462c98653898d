//! Durable writes of the embedded store beside etcd's, on the same disk with the same keys, values and writers.

use std::sync::Arc;
use std::time::Duration;

use ::store::embedded::{Embedded, Options};
use ::store::{Precondition, Store as _};
use anyhow::Context as _;
use bytes::Bytes;

use crate::bench::Bench;
use crate::etcd::Etcd;
use crate::load::{self, Load, Outcome, Until};
use crate::report::{Measured, Row, Target};
use crate::stats::Samples;

/// A small object of Kubernetes.
const VALUE_BYTES: usize = 1024;
/// One who waits for each write, as many as an API server has at work, and more than fit into a group.
const WRITERS: [usize; 3] = [1, 64, 512];

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

/// What the rounds of one side with one number of writers gave.
#[derive(Default)]
struct Rounds {
    per_s: Vec<f64>,
    p99_ms: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, outcome: &Outcome) {
        self.per_s.push(outcome.per_s);
        self.p99_ms.push(outcome.latencies_ms.percentile(99.0));
    }

    fn medians(self) -> anyhow::Result<(f64, f64)> {
        let median = |values: Vec<f64>| anyhow::Ok(Samples::new(values).context("there were no rounds")?.median());
        Ok((median(self.per_s)?, median(self.p99_ms)?))
    }
}

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let rounds = bench.rounds(3, 1);
    let until = Until::Elapsed(Duration::from_secs(if bench.quick { 2 } else { 5 }));
    // Bytes that do not compress; both sides write the same.
    let value: Bytes = (0..VALUE_BYTES).map(|index| (index.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    let mut rows = Vec::new();
    for writers in WRITERS {
        let (mut ours, mut theirs) = (Rounds::default(), Rounds::default());
        // One after the other and in turns: what disturbs the machine disturbs both.
        for round in 0..rounds {
            let folder = bench.file(&format!("etcd-{writers}-{round}"));
            let etcd = Arc::new(Etcd::start(&folder, value.clone()).await?);
            theirs.add(&load::run(etcd.clone(), writers, until).await.context("write to etcd")?);
            drop(etcd);
            let folder = bench.file(&format!("store-{writers}-{round}"));
            std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
            let store = Embedded::open(&folder.join("state.db"), Options::default())?;
            let load = Arc::new(Ours { store: store.clone(), value: value.clone() });
            ours.add(&load::run(load, writers, until).await.context("write to the store")?);
            tokio::task::spawn_blocking(move || store.close()).await?;
        }
        let ((ours, ours_p99_ms), (theirs, theirs_p99_ms)) = (ours.medians()?, theirs.medians()?);
        let detail = format!("{ours:.0}/s, p99 {ours_p99_ms:.1} ms; etcd {theirs:.0}/s, p99 {theirs_p99_ms:.1} ms");
        let of = |words: &str| format!("{words}, {writers} writer{}", if writers == 1 { "" } else { "s" });
        rows.push(Row::new(of("writes/s to etcd's"), ours / theirs, "x").target(Target::AtLeast(1.0)).detail(detail));
        rows.push(Row::new(of("p99 to etcd's"), ours_p99_ms / theirs_p99_ms, "x").target(Target::AtMost(1.0)));
    }
    let how = format!(
        "new keys with values of {VALUE_BYTES} bytes, each writer waiting until its write is durable; the store as the \
         API server has it, in its own process; etcd as Debian ships it, one member, over gRPC on loopback with 8 \
         connections, plain puts; in turns on the same disk, {rounds} rounds each, medians"
    );
    Ok(Measured { how, rows, parts: vec![] })
}
