//! What a watch costs while nothing happens: memory of the server, each.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;

use crate::bench::Bench;
use crate::http::Access;
use crate::objects::Same;
use crate::report::{Measured, Row, Target};
use crate::server::Server;

const WATCHERS: usize = 10_000;
/// Watches on one connection of HTTP/2: a client process holds one a kind and more.
const ON_ONE: usize = 100;
/// Watchers with a connection each.
const ALONE: usize = 2_000;
/// What was only needed to begin is given back by then.
const SETTLE: Duration = Duration::from_secs(2);
const LIMIT_KB: f64 = 10.0;
/// Nothing happens in a namespace that is not there.
const PATH: &str = "/api/v1/namespaces/nothing-happens/configmaps?watch=true&resourceVersion=";

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let (many, alone) = (bench.rounds(WATCHERS, WATCHERS / 2), bench.rounds(ALONE, ALONE / 4));
    let mut rows = Vec::new();
    for (count, on_one) in [(many, ON_ONE), (alone, 1)] {
        // Of one server only the first watchers cost what watchers cost: those after them use what was given back.
        let mut server = Server::prepare(&bench.rkctl, &bench.file(&format!("watchers-{on_one}"))).await?;
        server.start().await?;
        let access = server.user("bench").await?;
        let path = format!("{PATH}{}", revision(&access).await?);
        tokio::time::sleep(SETTLE).await;
        let before_mb = server.resident_mb()?;
        let (kb, detail) = match on_one {
            1 => each(&server, before_mb, count, begin_alone(&access, &path, count).await?).await?,
            _ => each(&server, before_mb, count, begin_together(&access, &path, count, on_one).await?).await?,
        };
        let label = format!("{count} idle watchers, {on_one} a connection, each");
        rows.push(Row::new(label, kb, "KB").target(Target::AtMost(LIMIT_KB)).detail(detail));
        server.stop().await?;
    }
    let how = format!(
        "growth of VmRSS of a fresh server from before the first watch until {} s after the last has begun, divided by \
         their number; watches of a namespace without objects, with a user that has one role: over HTTP/2 with {ON_ONE} \
         on each connection, as client processes have them, and over HTTP/1.1 with a connection (and its TLS) each",
        SETTLE.as_secs()
    );
    Ok(Measured { how, rows, parts: vec![] })
}

/// What each watcher costs in KB while all of `held` live.
async fn each<T>(server: &Server, before_mb: f64, count: usize, held: Vec<T>) -> anyhow::Result<(f64, String)> {
    tokio::time::sleep(SETTLE).await;
    let after_mb = server.resident_mb()?;
    drop(held);
    let kb = (after_mb - before_mb) * 1000.0 / count as f64;
    Ok((kb, format!("{before_mb:.1} MB before, {after_mb:.1} MB with them")))
}

/// The newest revision, so that a watch sends nothing at first.
async fn revision(access: &Access) -> anyhow::Result<String> {
    let list = Same::get(&access.host(), "/api/v1/configmaps?limit=1", "application/json");
    let list: serde_json::Value = serde_json::from_slice(&access.wire().await?.body(&list.0).await?)?;
    Ok(list["metadata"]["resourceVersion"].as_str().context("a list without a revision")?.to_owned())
}

async fn begin_alone(access: &Access, path: &str, count: usize) -> anyhow::Result<Vec<crate::wire::Wire>> {
    let request = Same::get(&access.host(), path, "application/json");
    let mut held = Vec::new();
    for _ in 0..count {
        let mut wire = access.wire().await?;
        wire.begin(&request.0).await.context("begin a watch")?;
        held.push(wire);
    }
    Ok(held)
}

async fn begin_together(
    access: &Access,
    path: &str,
    count: usize,
    on_one: usize,
) -> anyhow::Result<Vec<hyper::body::Incoming>> {
    let mut held = Vec::new();
    for _ in 0..count / on_one {
        let mut sender = access.many().await?;
        for _ in 0..on_one {
            let uri = format!("https://{}{path}", access.host());
            let request = Request::get(uri).header("accept", "application/json").body(Empty::<Bytes>::new())?;
            sender.ready().await?;
            let answer = sender.send_request(request).await.context("begin a watch")?;
            anyhow::ensure!(answer.status().is_success(), "a watch was answered {}", answer.status());
            held.push(answer.into_body());
        }
    }
    Ok(held)
}
