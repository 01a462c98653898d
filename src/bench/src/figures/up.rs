//! Cold `rkctl up`: from three fresh hosts to a cluster.

use anyhow::Context as _;

use crate::bench::Bench;
use crate::phases;
use crate::report::{Measured, Row, Target};
use crate::stats::Samples;

const LIMIT_S: f64 = 20.0;

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let rounds = bench.rounds(3, 1);
    let mut runs = Vec::new();
    for round in 0..rounds {
        let run = bench.cold_up().await?;
        eprintln!("bench: up: round {} of {rounds}: {:.1} s", round + 1, run.elapsed_ms / 1000.0);
        runs.push(run);
    }
    runs.sort_by(|a, b| a.elapsed_ms.total_cmp(&b.elapsed_ms));
    let samples = Samples::new(runs.iter().map(|run| run.elapsed_ms / 1000.0)).context("there were no runs")?;
    let middle = &runs[(runs.len() - 1) / 2];
    let mut rows = vec![Row::median("cold up", &samples, "s").target(Target::AtMost(LIMIT_S))];
    for (title, label) in [("copy rkctl", "longest copy of the binary"), ("wait for ", "longest wait")] {
        if let Some(step) = phases::longest(&middle.steps, title) {
            let words = format!("{}: {}", step.step.host, step.step.title);
            rows.push(Row::new(label, step.step.elapsed_ms / 1000.0, "s").detail(words));
        }
    }
    let how = format!(
        "`rkctl up` from exec to exit on hosts just made by `rkctl lab up` (containerd installed and not configured); \
         it ends when all nodes are Ready, the addons are available and DNS answers; {rounds} rounds, each on new \
         hosts; below, the parts of the median one (steps: {})",
        phases::counts(&middle.steps)
    );
    Ok(Measured { how, rows, parts: phases::parts(&middle.steps, middle.elapsed_ms) })
}
