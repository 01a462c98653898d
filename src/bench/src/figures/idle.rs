//! What an idle cluster costs its hosts: memory and processor of server and agents.

use std::time::Duration;

use crate::bench::Bench;
use crate::lab::HOSTS;
use crate::proc::{Memory, Process};
use crate::report::{Measured, Row, Target};

/// After this nothing is left to do from what was done before.
const SETTLE: Duration = Duration::from_secs(30);
const WATCHED: Duration = Duration::from_secs(30);
const SERVER_MB: f64 = 50.0;
const AGENT_MB: f64 = 20.0;

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let lab = bench.cluster().await?;
    let server = ("server on cp1".to_owned(), lab.process("cp1", "server")?, SERVER_MB);
    let mut faces = vec![server];
    for host in HOSTS {
        faces.push((format!("agent on {host}"), lab.process(host, "agent")?, AGENT_MB));
    }
    tokio::time::sleep(SETTLE).await;
    let before = cpu(&faces)?;
    tokio::time::sleep(WATCHED).await;
    let after = cpu(&faces)?;
    let mut rows = Vec::new();
    for (label, process, limit_mb) in &faces {
        let memory = process.memory()?;
        let row = Row::new(format!("{label}, resident"), memory.rss_bytes as f64 / 1e6, "MB");
        rows.push(row.target(Target::AtMost(*limit_mb)).detail(detail(memory)));
    }
    for ((label, ..), (before, after)) in faces.iter().zip(before.iter().zip(&after)) {
        let percent = (after - before) / WATCHED.as_secs_f64() * 100.0;
        rows.push(Row::new(format!("{label}, processor"), percent, "%").detail("of one core"));
    }
    let how = format!(
        "VmRSS from /proc of the processes in the lab's hosts, {} s after the cluster was last touched; processor time \
         (user and system) over the next {} s; the addons' pods are running",
        SETTLE.as_secs(),
        WATCHED.as_secs()
    );
    Ok(Measured { how, rows, parts: vec![] })
}

fn cpu(faces: &[(String, Process, f64)]) -> anyhow::Result<Vec<f64>> {
    faces.iter().map(|(_, process, _)| process.cpu_s()).collect()
}

fn detail(memory: Memory) -> String {
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let file = memory.rss_bytes.saturating_sub(memory.anonymous_bytes);
    let (own, file, share) = (mb(memory.anonymous_bytes), mb(file), mb(memory.pss_bytes));
    format!("{own:.1} MB its own, {file:.1} MB of the program's file; {share:.1} MB by share (Pss)")
}
