//! How long the control plane takes from exec to `/readyz`.

use anyhow::Context as _;

use crate::bench::Bench;
use crate::report::{Measured, Row, Target};
use crate::server::Server;
use crate::stats::Samples;

const LIMIT_MS: f64 = 300.0;

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let rounds = bench.rounds(20, 5);
    let mut server = Server::prepare(&bench.rkctl, &bench.file("start")).await?;
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    // The first run reads the program from disk; it is told, and not counted.
    let first_ms = server.start().await?.as_secs_f64() * 1000.0;
    server.stop().await?;
    for _ in 0..rounds {
        server.forget()?;
        for times in [&mut fresh, &mut again] {
            times.push(server.start().await?.as_secs_f64() * 1000.0);
            server.stop().await?;
        }
    }
    let row = |label: &str, times: Vec<f64>| {
        let samples = Samples::new(times).context("there were no runs")?;
        anyhow::Ok(Row::median(label, &samples, "ms").target(Target::AtMost(LIMIT_MS)))
    };
    let how = format!(
        "a server on loopback with its data on this disk, asked each ms over TLS until /readyz says ok; {rounds} runs \
         on an empty data folder, each followed by one on what it left; certificates were made before; a first run \
         ({first_ms:.0} ms) is not counted"
    );
    Ok(Measured { how, rows: vec![row("fresh data", fresh)?, row("existing data", again)?], parts: vec![] })
}
