//! `rkctl up` on a cluster that is as it should be.

use anyhow::{Context as _, ensure};

use crate::bench::Bench;
use crate::report::{Measured, Row, Target};
use crate::stats::Samples;

const LIMIT_S: f64 = 1.0;

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let rounds = bench.rounds(10, 3);
    let lab = bench.cluster().await?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let run = lab.up().await?;
        let first = run.steps.first().map(|ended| format!("{}: {}", ended.step.host, ended.step.title));
        ensure!(run.steps.is_empty(), "it did something: {}", first.unwrap_or_default());
        times.push(run.elapsed_ms / 1000.0);
    }
    let samples = Samples::new(times).context("there were no runs")?;
    let row = Row::median("no-op up", &samples, "s").target(Target::AtMost(LIMIT_S));
    let how =
        format!("`rkctl up` from exec to exit on three hosts with nothing to do, each of {rounds} runs without a step");
    Ok(Measured { how, rows: vec![row], parts: vec![] })
}
