//! What the API server does in a second for clients that each wait for their answers: single objects of 1 KB over HTTPS,
//! every request judged by roles.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::bench::Bench;
use crate::drive::{self, Drive, Driven};
use crate::http::Access;
use crate::load::Until;
use crate::nginx::Nginx;
use crate::objects::{ConfigMaps, DATA_BYTES, Same, Verb};
use crate::report::{Measured, Row, Target};
use crate::server::Server;

const CONNECTIONS: usize = 50;
/// Objects of each connection that are read and changed.
const KEPT: u64 = 100;
/// Ten times what Kubernetes 1.20.2 does on the machine this was first measured on, with 50 connections: 1,100 to 1,700
/// writes and 2,200 to 3,400 gets.
const WRITES_PER_S: f64 = 10_000.0;
const GETS_PER_S: f64 = 25_000.0;
/// Those rates are of two processors.
const PROCESSORS: f64 = 2.0;
/// What a get does beyond sending a file: it is routed, authorized and found.
const GET_TO_FILE: f64 = 0.5;

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let until = Until::Elapsed(Duration::from_millis(if bench.quick { 1000 } else { 8000 }));
    let mut server = Server::prepare(&bench.rkctl, &bench.file("api")).await?;
    server.start().await?;
    let fresh_mb = server.resident_mb()?;
    let access = server.user("bench").await?;
    let drive = Drive { access: access.clone(), connections: CONNECTIONS, until, server: server.process()? };
    let requests = |verb, kept| ConfigMaps { host: access.host(), namespace: "default".into(), verb, kept };
    let fill = Drive { until: Until::Calls(KEPT), ..drive.clone() };
    drive::run(&fill, Arc::new(requests(Verb::Create, 0))).await.context("make what is read")?;
    let mut rows = Vec::new();
    for verb in [Verb::Create, Verb::Update, Verb::Merge, Verb::Strategic, Verb::Apply] {
        let driven = drive::run(&drive, Arc::new(requests(verb, KEPT))).await.with_context(|| verb.label())?;
        let detail = format!("{}; resident {:.0} MB", driven.detail(), server.resident_mb()?);
        rows.extend(judged(verb.label(), &driven, WRITES_PER_S, detail));
    }
    let (gets, files) = beside_files(bench, &server, &drive, &requests(Verb::Get, KEPT)).await?;
    let detail = format!("{}; resident {:.0} MB", gets.detail(), server.resident_mb()?);
    rows.extend(judged(Verb::Get.label(), &gets, GETS_PER_S, detail));
    rows.extend(compare(&gets, &files));
    rows.push(Row::new("resident when nothing had been asked", fresh_mb, "MB"));
    server.stop().await?;
    let how = format!(
        "a server on loopback with its data on this disk, fsync on; {CONNECTIONS} connections (HTTP/1.1, TLS 1.3, client \
         certificates) of a user with one role, each waiting for its answer; ConfigMaps with {DATA_BYTES} bytes in \
         them; each connection changes and reads {KEPT} of its own in turns and every write changes something; the load \
         is one thread on the same {} processors, which is why answers are counted for each second of the server's \
         processor time too: half of what two processors are to do; Debian's nginx with TLS, the same certificate and \
         as many processes as there are processors serves one answer of a get as a file",
        std::thread::available_parallelism().map_or(1, |cores| cores.get())
    );
    Ok(Measured { how, rows, parts: vec![] })
}

fn judged(label: &str, driven: &Driven, per_s: f64, detail: String) -> [Row; 2] {
    let [rate, cost] = driven.rows(label);
    let cost = cost.target(Target::AtLeast(per_s / PROCESSORS));
    [rate.target(Target::AtLeast(per_s)).detail(detail), cost]
}

/// Gets, and the same bytes as a file from nginx, in turns.
async fn beside_files(
    bench: &Bench,
    server: &Server,
    drive: &Drive,
    gets: &ConfigMaps,
) -> anyhow::Result<(Driven, Driven)> {
    let folder = bench.file("api-nginx");
    let one = format!("/api/v1/namespaces/default/configmaps/bench-000-{:07}", 0);
    let body = drive.access.wire().await?.body(&Same::get(&gets.host, &one, "application/json").0).await?;
    let nginx = nginx_with(&folder, "object", &body, server, &drive.access).await?;
    let file = Same::get(&nginx.access.host(), "/object", "application/json");
    let peer = Drive { access: nginx.access.clone(), server: nginx.process()?, ..drive.clone() };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds(3, 1) {
        ours.push(drive::run(drive, Arc::new(gets.clone())).await.context("get")?);
        theirs.push(drive::run(&peer, Arc::new(file.clone())).await.context("get a file from nginx")?);
    }
    Ok((middle(ours)?, middle(theirs)?))
}

/// Serves `body` as the file `name`.
pub async fn nginx_with(
    folder: &std::path::Path,
    name: &str,
    body: &[u8],
    server: &Server,
    access: &Access,
) -> anyhow::Result<Nginx> {
    let files = folder.join("files");
    std::fs::create_dir_all(&files).with_context(|| format!("make {}", files.display()))?;
    std::fs::write(files.join(name), body).with_context(|| format!("write {}", files.join(name).display()))?;
    Nginx::start(folder, &server.pki(), access).await
}

/// The round with the median cost.
fn middle(mut rounds: Vec<Driven>) -> anyhow::Result<Driven> {
    rounds.sort_by(|a, b| a.per_cpu_s.total_cmp(&b.per_cpu_s));
    let at = (rounds.len().max(1) - 1) / 2;
    (at < rounds.len()).then(|| rounds.swap_remove(at)).context("there were no rounds")
}

fn compare(gets: &Driven, files: &Driven) -> [Row; 2] {
    let target = Target::AtLeast(GET_TO_FILE);
    let detail = format!("nginx {:.0}/s, {}", files.per_s, files.detail());
    let costs = format!("nginx {:.0}/s for each CPU-second", files.per_cpu_s);
    [
        Row::new("gets/s to nginx's files/s", gets.per_s / files.per_s, "x").target(target).detail(detail),
        Row::new("gets per CPU-second to nginx's", gets.per_cpu_s / files.per_cpu_s, "x").target(target).detail(costs),
    ]
}
