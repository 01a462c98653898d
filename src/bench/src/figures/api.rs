//! What the API server does in a second, over TLS, for clients that each wait for their answers.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use http::Method;
use tokio::sync::Mutex;

use crate::bench::Bench;
use crate::http::{Access, Connection};
use crate::load::{self, Load, Until};
use crate::proc::Process;
use crate::report::{Measured, Row};
use crate::server::Server;
use crate::stats::Samples;

const CONNECTIONS: usize = 50;
const COLLECTION: &str = "/api/v1/namespaces/default/configmaps";
/// Beside names and labels an object has this much in it.
const DATA_BYTES: usize = 1024;

#[derive(Clone, Copy)]
enum Verb {
    Create,
    Get,
    Update,
}

struct Client {
    verb: Verb,
    connections: Vec<Mutex<Connection>>,
}

impl Client {
    async fn new(access: &Access, verb: Verb) -> anyhow::Result<Arc<Self>> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Mutex::new(access.connect().await?));
        }
        Ok(Arc::new(Self { verb, connections }))
    }
}

fn object(name: &str, filling: char) -> Bytes {
    let data = filling.to_string().repeat(DATA_BYTES);
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "bench"}},
        "data": {"value": data},
    });
    Bytes::from(object.to_string())
}

impl Load for Client {
    async fn call(&self, worker: usize, sequence: u64) -> anyhow::Result<()> {
        let name = format!("bench-{worker:03}-{sequence:05}");
        let (method, path, body) = match self.verb {
            Verb::Create => (Method::POST, COLLECTION.to_owned(), object(&name, 'a')),
            Verb::Get => (Method::GET, format!("{COLLECTION}/{name}"), Bytes::new()),
            Verb::Update => (Method::PUT, format!("{COLLECTION}/{name}"), object(&name, 'b')),
        };
        self.connections[worker].lock().await.ok(method, &path, body).await.map(drop)
    }
}

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let each = bench.rounds(100, 20) as u64;
    let mut server = Server::prepare(&bench.rkctl, &bench.file("api")).await?;
    server.start().await?;
    let mut rows = Vec::new();
    for (verb, label) in [(Verb::Create, "create"), (Verb::Get, "get"), (Verb::Update, "update")] {
        let client = Client::new(&server.access, verb).await?;
        let outcome = load::run(client, CONNECTIONS, Until::Calls(each)).await.with_context(|| label.to_owned())?;
        let (p50, p99) = (outcome.latencies_ms.median(), outcome.latencies_ms.percentile(99.0));
        rows.push(Row::new(label, outcome.per_s, "/s").detail(format!("p50 {p50:.1} ms, p99 {p99:.1} ms")));
    }
    let count = each * CONNECTIONS as u64;
    rows.push(list(&server.access, count, bench.rounds(20, 5)).await?);
    if let Some(process) = server.process_id() {
        let memory = Process(process).memory()?;
        rows.push(Row::new("resident after it", memory.rss_bytes as f64 / 1e6, "MB"));
    }
    server.stop().await?;
    let again_ms = server.start().await?.as_secs_f64() * 1000.0;
    rows.push(Row::new(format!("start with {count} objects"), again_ms, "ms").detail("from exec to /readyz, one run"));
    server.stop().await?;
    let how = format!(
        "a server on loopback with its data on this disk; {CONNECTIONS} connections (HTTP/1.1, TLS), each waiting for \
         its answer; ConfigMaps with {DATA_BYTES} bytes in them, {count} in all; lists plain JSON, not compressed; no \
         peer is packaged for this system, so these figures stand alone"
    );
    Ok(Measured { how, rows, parts: vec![] })
}

async fn list(access: &Access, count: u64, rounds: usize) -> anyhow::Result<Row> {
    let mut connection = access.connect().await?;
    let (mut times, mut size_bytes) = (Vec::new(), 0);
    for _ in 0..rounds {
        let asked = Instant::now();
        size_bytes = connection.ok(Method::GET, COLLECTION, Bytes::new()).await?.len();
        times.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
    let samples = Samples::new(times).context("there were no lists")?;
    let label = format!("list of {count}");
    let row = Row::median(label, &samples, "ms");
    let detail = format!("{}; {:.1} MB", row.detail, size_bytes as f64 / 1e6);
    Ok(row.detail(detail))
}
