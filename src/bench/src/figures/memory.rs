//! What many objects cost: memory while they are kept, and time until a server that has them is ready.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::bench::Bench;
use crate::drive::{self, Drive};
use crate::load::Until;
use crate::objects::{ConfigMaps, DATA_BYTES, Same, Verb};
use crate::report::{Measured, Row, Target};
use crate::server::Server;

const FILLERS: usize = 50;
/// Resident memory is at most so many times the size of the objects as JSON, and `BESIDE_MB` more.
const TIMES: f64 = 1.8;
const BESIDE_MB: f64 = 40.0;
const READY_MS: f64 = 1000.0;
const SETTLE: Duration = Duration::from_secs(3);

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let count = bench.rounds(100_000, 20_000) as u64;
    let mut server = Server::prepare(&bench.rkctl, &bench.file("memory")).await?;
    server.start().await?;
    let fresh_mb = server.resident_mb()?;
    let access = server.user("bench").await?;
    let until = Until::Calls(count / FILLERS as u64);
    let fill = Drive { access: access.clone(), connections: FILLERS, until, server: server.process()? };
    let objects = ConfigMaps { host: access.host(), namespace: "default".into(), verb: Verb::Create, kept: 0 };
    drive::run(&fill, Arc::new(objects)).await.context("make the objects")?;
    let made_mb = server.resident_mb()?;
    let list = Same::get(&access.host(), "/api/v1/namespaces/default/configmaps", "application/json");
    let size_mb = access.wire().await?.exchange(&list.0).await? as f64 / 1e6;
    let listed_mb = server.resident_mb()?;
    server.stop().await?;
    // The first start reads the file from disk as far as the kernel has it no more; the second is the figure.
    server.start().await?;
    server.stop().await?;
    let ready_ms = server.start().await?.as_secs_f64() * 1000.0;
    // Whoever else of the control plane reads objects has read them by then.
    tokio::time::sleep(SETTLE).await;
    let again_mb = server.resident_mb()?;
    server.stop().await?;
    let target = Target::AtMost(TIMES * size_mb + BESIDE_MB);
    let detail =
        |mb: f64| format!("{:.2} times {size_mb:.0} MB of JSON and {BESIDE_MB} MB", (mb - BESIDE_MB) / size_mb);
    let rows = vec![
        Row::new(format!("resident with {count} objects, just made"), made_mb, "MB")
            .target(target)
            .detail(detail(made_mb)),
        Row::new(format!("resident with {count} objects, started anew"), again_mb, "MB")
            .target(target)
            .detail(detail(again_mb)),
        Row::new("resident after a list of all", listed_mb, "MB").detail("right after it was sent"),
        Row::new("resident without objects", fresh_mb, "MB"),
        Row::new(format!("start with {count} objects"), ready_ms, "ms")
            .target(Target::AtMost(READY_MS))
            .detail("from exec to /readyz, one run"),
    ];
    let how = format!(
        "ConfigMaps with {DATA_BYTES} bytes in them, made one by one over HTTPS by {FILLERS} connections; their size is \
         that of a list of all; VmRSS from /proc, which counts the program's own file, the controllers of the same process and \
         what they remember, and recent events, which are bounded; started anew, it is taken {} s after /readyz",
        SETTLE.as_secs()
    );
    Ok(Measured { how, rows, parts: vec![] })
}
