//! What one user's flood does to another: the latency of few requests, alone and beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::bench::Bench;
use crate::drive::{self, Drive, Requests};
use crate::http::Access;
use crate::load::Until;
use crate::objects::{ConfigMaps, Same, Verb};
use crate::report::{Measured, Row, Target};
use crate::server::Server;
use crate::stats::Samples;

/// Objects that are listed: each list is some milliseconds of work.
const LISTED: u64 = 2_000;
const FILLERS: usize = 50;
/// Connections of the flood, each asking again at once.
const FLOOD: usize = 200;
/// How often the other user asks.
const EVERY: Duration = Duration::from_millis(10);
/// The flood is under way by then, and has ended.
const SETTLE: Duration = Duration::from_millis(500);
/// The other user's p99 is at most so many times what it was alone.
const TIMES: f64 = 2.0;

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let watched = Duration::from_secs(if bench.quick { 3 } else { 15 });
    let mut server = Server::prepare(&bench.rkctl, &bench.file("fair")).await?;
    server.start().await?;
    let (quiet, loud) = (server.user("quiet").await?, server.user("loud").await?);
    let each = LISTED / FILLERS as u64;
    let fill =
        Drive { access: loud.clone(), connections: FILLERS, until: Until::Calls(each), server: server.process()? };
    let objects = |verb, kept| ConfigMaps { host: loud.host(), namespace: "default".into(), verb, kept };
    drive::run(&fill, Arc::new(objects(Verb::Create, 0))).await.context("make what is listed")?;
    tokio::time::sleep(SETTLE).await;
    let alone = few(quiet.clone(), watched).await.context("ask alone")?;
    let mut rows = vec![Row::new("p99 of a get, alone", p99(&alone), "ms").detail(words(&alone))];
    let lists = Same::get(&loud.host(), "/api/v1/namespaces/default/configmaps", "application/json");
    let of_one = |verb| Shared(objects(verb, each));
    let floods: [(&str, Arc<dyn Requests>); 3] = [
        ("lists", Arc::new(lists)),
        ("gets", Arc::new(of_one(Verb::Get))),
        ("updates", Arc::new(of_one(Verb::Update))),
    ];
    for (name, requests) in floods {
        let ends = Arc::new(AtomicBool::new(false));
        let flooding = tokio::spawn(flood(loud.clone(), requests, ends.clone()));
        tokio::time::sleep(SETTLE).await;
        let beside = few(quiet.clone(), watched).await;
        ends.store(true, Ordering::Relaxed);
        let (answered, refused) = flooding.await.context("the flood panicked")??;
        let beside = beside.with_context(|| format!("ask beside the flood of {name}"))?;
        rows.push(
            Row::new(format!("p99 of a get, beside a flood of {name}"), p99(&beside), "ms")
                .detail(format!("{}; flood: {answered} answered, {refused} refused", words(&beside))),
        );
        let ratio = p99(&beside) / p99(&alone);
        rows.push(Row::new(format!("p99 beside {name} to alone"), ratio, "x").target(Target::AtMost(TIMES)));
        tokio::time::sleep(SETTLE).await;
    }
    server.stop().await?;
    let how = format!(
        "one user gets a ConfigMap every {} ms over one connection; each flood is another user's {FLOOD} connections that \
         ask again at once and wait a moment where they are refused: for a list of {LISTED} ConfigMaps of 1 KB, one of \
         them, or an update of one; both users have one role; they run on threads of their own on the processors that \
         the server has too, so the ratio holds what they take from each other",
        EVERY.as_millis()
    );
    Ok(Measured { how, rows, parts: vec![] })
}

fn p99(samples: &Samples) -> f64 {
    samples.percentile(99.0)
}

fn words(samples: &Samples) -> String {
    format!("p50 {:.1} ms, max {:.1} ms of {}", samples.median(), samples.max(), samples.count())
}

/// What the fillers made, divided among the workers of the flood.
struct Shared(ConfigMaps);

impl Requests for Shared {
    fn write(&self, worker: usize, sequence: u64, out: &mut Vec<u8>) {
        self.0.write(worker % FILLERS, sequence + (worker / FILLERS) as u64, out);
    }
}

/// Gets at a steady pace; a late one is counted from when it was due.
async fn few(access: Access, watched: Duration) -> anyhow::Result<Samples> {
    drive::on_one_thread(move || async move {
        let path = format!("/api/v1/namespaces/default/configmaps/bench-000-{:07}", 0);
        let request = Same::get(&access.host(), &path, "application/json");
        let mut wire = access.wire().await?;
        let (began, mut due, mut all_ms) = (Instant::now(), Duration::ZERO, Vec::new());
        while due < watched {
            tokio::time::sleep_until((began + due).into()).await;
            wire.exchange(&request.0).await?;
            all_ms.push((began.elapsed() - due).as_secs_f64() * 1000.0);
            due += EVERY;
        }
        Samples::new(all_ms).context("nothing was answered")
    })
    .await
}

/// Asks over and over until it is told to end; answers how often it was answered and refused.
async fn flood(access: Access, requests: Arc<dyn Requests>, ends: Arc<AtomicBool>) -> anyhow::Result<(u64, u64)> {
    /// Who is refused asks again after this.
    const REFUSED: Duration = Duration::from_millis(20);
    drive::on_one_thread(move || async move {
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..FLOOD {
            let (access, requests, ends) = (access.clone(), requests.clone(), ends.clone());
            tasks.spawn_local(async move {
                let (mut answered, mut refused) = (0, 0);
                let (mut wire, mut request) = (access.wire().await?, Vec::new());
                while !ends.load(Ordering::Relaxed) {
                    request.clear();
                    requests.write(worker, answered, &mut request);
                    match wire.answer(&request).await? {
                        (200, _) => answered += 1,
                        _ => {
                            refused += 1;
                            tokio::time::sleep(REFUSED).await;
                        }
                    }
                }
                anyhow::Ok((answered, refused))
            });
        }
        let (mut answered, mut refused) = (0, 0);
        while let Some(ended) = tasks.join_next().await {
            let one = ended.context("the flood panicked")??;
            (answered, refused) = (answered + one.0, refused + one.1);
        }
        Ok((answered, refused))
    })
    .await
}
