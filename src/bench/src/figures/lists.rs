//! What a LIST costs: of all objects, of none of them, as objects and as a Table, beside the same bytes as a file.

use std::sync::Arc;

use anyhow::Context as _;

use crate::bench::Bench;
use crate::drive::{self, Drive, Driven};
use crate::figures::api::nginx_with;
use crate::load::Until;
use crate::objects::{ConfigMaps, Same, Verb};
use crate::report::{Measured, Row, Target};
use crate::server::Server;

/// In a namespace of their own; with `MANY` beside them the whole cluster has ten times as many.
const FEW: u64 = 5_000;
const MANY: u64 = 45_000;
/// Who makes them; divides both numbers.
const FILLERS: usize = 50;
/// A list takes at most so many times as long as the same bytes as a file.
const TO_FILE: f64 = 2.0;
const OBJECTS: &str = "application/json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const FEW_NAMESPACE: &str = "default";
const MANY_NAMESPACE: &str = "kube-public";

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let mut server = Server::prepare(&bench.rkctl, &bench.file("lists")).await?;
    server.start().await?;
    let access = server.user("bench").await?;
    let mut rows = Vec::new();
    let sizes: &[(&str, u64, String)] = &[
        (FEW_NAMESPACE, FEW, format!("/api/v1/namespaces/{FEW_NAMESPACE}/configmaps")),
        (MANY_NAMESPACE, MANY, "/api/v1/configmaps".to_owned()),
    ];
    let sizes = if bench.quick { &sizes[..1] } else { sizes };
    let mut count = 0;
    for (namespace, more, path) in sizes {
        let calls = Until::Calls(more / FILLERS as u64);
        let fill = Drive { access: access.clone(), connections: FILLERS, until: calls, server: server.process()? };
        let objects =
            ConfigMaps { host: access.host(), namespace: (*namespace).to_owned(), verb: Verb::Create, kept: 0 };
        drive::run(&fill, Arc::new(objects)).await.context("make what is listed")?;
        count += more;
        let rounds = bench.rounds(if count > FEW { 20 } else { 50 }, 10) as u64;
        let one = Drive { connections: 1, until: Until::Calls(rounds), ..fill };
        rows.extend(lists(bench, &server, &one, path, count).await?);
        rows.push(Row::new(format!("resident after lists of {count}"), server.resident_mb()?, "MB"));
    }
    server.stop().await?;
    let how = "a server on loopback; ConfigMaps of 1 KB; one connection (HTTP/1.1, TLS 1.3) of a user with one role, one \
               list after the other, read to its end and thrown away, not compressed; the label selector of the lists \
               of none is `app=none` where all are `app=bench`; beside it Debian's nginx sends the bytes of the list as \
               a file over one such connection, with the same certificate and the same client"
        .to_owned();
    Ok(Measured { how, rows, parts: vec![] })
}

async fn lists(bench: &Bench, server: &Server, one: &Drive, path: &str, count: u64) -> anyhow::Result<Vec<Row>> {
    let host = one.access.host();
    let ask = async |path: &str, accept: &str| {
        drive::run(one, Arc::new(Same::get(&host, path, accept))).await.with_context(|| format!("list {path}"))
    };
    let none = format!("{path}?labelSelector=app%3Dnone");
    let mut rows = Vec::new();
    for (accept, form) in [(OBJECTS, "objects"), (TABLE, "a Table")] {
        let body = one.access.wire().await?.body(&Same::get(&host, path, accept).0).await?;
        let folder = bench.file(&format!("lists-{count}-{}", form.len()));
        let nginx = nginx_with(&folder, "list", &body, server, &one.access).await?;
        let file = Same::get(&nginx.access.host(), "/list", accept);
        let peer = Drive { access: nginx.access.clone(), server: nginx.process()?, ..one.clone() };
        let (ours, theirs) = (ask(path, accept).await?, drive::run(&peer, Arc::new(file)).await?);
        rows.push(row(format!("list of {count} as {form}"), &ours).detail(detail(&ours, Some(body.len()))));
        let ratio = ours.latencies_ms.median() / theirs.latencies_ms.median();
        let ratio = Row::new(format!("list of {count} as {form} to the file"), ratio, "x");
        let ratio = if form == "objects" { ratio.target(Target::AtMost(TO_FILE)) } else { ratio };
        rows.push(ratio.detail(format!("nginx {:.1} ms; {}", theirs.latencies_ms.median(), detail(&theirs, None))));
        let ours = ask(&none, accept).await?;
        rows.push(row(format!("none of {count} by a selector, as {form}"), &ours).detail(detail(&ours, None)));
    }
    Ok(rows)
}

fn row(label: String, driven: &Driven) -> Row {
    Row::new(label, driven.latencies_ms.median(), "ms")
}

fn detail(driven: &Driven, size_bytes: Option<usize>) -> String {
    let cpu_ms = 1000.0 / driven.per_cpu_s;
    let size = size_bytes.map_or(String::new(), |bytes| format!("; {:.1} MB", bytes as f64 / 1e6));
    let (few, max) = (driven.latencies_ms.count(), driven.latencies_ms.max());
    format!("median of {few}, max {max:.1} ms; {cpu_ms:.1} ms of the server's processor{size}")
}
