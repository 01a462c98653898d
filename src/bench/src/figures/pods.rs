//! From `kubectl apply` to a running pod, on nodes that have the image.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tokio::process::Command;

use crate::bench::Bench;
use crate::command;
use crate::http::{Access, Connection, Lines};
use crate::report::{Measured, Row, Target};
use crate::stats::Samples;

const LIMIT_MS: f64 = 1500.0;
const COLLECTION: &str = "/api/v1/namespaces/default/pods";
/// Pods before the first that is counted: kubectl's cache of what the API has is empty then.
const WARM_UP: usize = 3;
/// A pod that does not run by then never will.
const POD_LIMIT: Duration = Duration::from_secs(60);

/// One pod's way, in milliseconds from the start of kubectl (the last from the request to delete it).
struct Way {
    applied_ms: f64,
    bound_ms: f64,
    running_ms: f64,
    gone_ms: f64,
}

struct Cluster {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
    image: String,
    watch: Lines,
    connection: Connection,
}

pub async fn take(bench: &mut Bench) -> anyhow::Result<Measured> {
    let rounds = bench.rounds(50, 10);
    let kubectl = command::which("kubectl").context("no kubectl in PATH; `make setup` puts one into target/tools")?;
    let image = format!("rkctl.local/rkctl:{}", bench.rkctl.version);
    let cache = bench.file("kubectl-cache");
    let lab = bench.cluster().await?;
    let access: Access = lab.access()?;
    let watch = access.connect().await?.watch(&format!("{COLLECTION}?watch=true")).await?;
    let connection = access.connect().await?;
    let kubeconfig = lab.kubeconfig().to_owned();
    let mut cluster = Cluster { kubectl, kubeconfig, cache, image, watch, connection };
    let mut ways = Vec::new();
    for round in 0..WARM_UP + rounds {
        let way = cluster.pod(&format!("bench-{round}")).await.with_context(|| format!("pod {round}"))?;
        if round >= WARM_UP {
            ways.push(way);
        }
    }
    let samples = |of: fn(&Way) -> f64| Samples::new(ways.iter().map(of)).context("there were no pods");
    let running = samples(|way| way.running_ms)?;
    let gone = samples(|way| way.gone_ms)?;
    let slowest = ways.iter().max_by(|a, b| a.running_ms.total_cmp(&b.running_ms)).context("there were no pods")?;
    let slowest = format!(
        "slowest: kubectl ended after {:.0} ms, bound after {:.0} ms, running after {:.0} ms",
        slowest.applied_ms, slowest.bound_ms, slowest.running_ms
    );
    let rows = vec![
        Row::new("apply to Running, p99", running.percentile(99.0), "ms")
            .target(Target::AtMost(LIMIT_MS))
            .detail(slowest)
            .with_samples(&running),
        Row::new("apply to Running, p50", running.median(), "ms"),
        Row::new("  kubectl ended, p50", samples(|way| way.applied_ms)?.median(), "ms"),
        Row::new("  bound to a node, p50", samples(|way| way.bound_ms)?.median(), "ms"),
        Row::new("delete to gone, p50", gone.median(), "ms").detail(format!("p99 {:.0} ms", gone.percentile(99.0))),
    ];
    let how = format!(
        "{rounds} pods one after the other: one container of rkctl's own image (pull policy Never) that only waits; \
         from the start of kubectl until a watch shows phase Running; the pod is deleted with the usual grace and \
         gone before the next; {WARM_UP} pods before the first are not counted"
    );
    Ok(Measured { how, rows, parts: vec![] })
}

impl Cluster {
    async fn pod(&mut self, name: &str) -> anyhow::Result<Way> {
        let began = Instant::now();
        let applying = apply(&self.kubectl, &self.kubeconfig, &self.cache, manifest(name, &self.image), began);
        let running = see_running(&mut self.watch, name, began);
        let (applied_ms, (bound_ms, running_ms)) = tokio::try_join!(applying, running)?;
        let began = Instant::now();
        self.connection.ok(Method::DELETE, &format!("{COLLECTION}/{name}"), Bytes::new()).await?;
        see(&mut self.watch, name, |kind, _| kind == "DELETED").await?;
        Ok(Way { applied_ms, bound_ms, running_ms, gone_ms: ms(began) })
    }
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

async fn apply(
    kubectl: &PathBuf,
    kubeconfig: &PathBuf,
    cache: &PathBuf,
    manifest: String,
    began: Instant,
) -> anyhow::Result<f64> {
    let mut command = Command::new(kubectl);
    command.args(["apply", "-f", "-", "--cache-dir"]).arg(cache).env("KUBECONFIG", kubeconfig);
    command::run(&mut command, &manifest, POD_LIMIT).await?;
    Ok(ms(began))
}

fn manifest(name: &str, image: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "bench"}},
        "spec": {"containers": [{
            "name": "pause", "image": image, "imagePullPolicy": "Never", "args": ["node", "pause"],
        }]},
    })
    .to_string()
}

async fn see_running(watch: &mut Lines, name: &str, began: Instant) -> anyhow::Result<(f64, f64)> {
    let is_bound = |_: &str, pod: &Value| pod["spec"]["nodeName"].is_string();
    let first = see(watch, name, is_bound).await?;
    let bound_ms = ms(began);
    if first["status"]["phase"] != "Running" {
        see(watch, name, |_, pod| pod["status"]["phase"] == "Running").await?;
    }
    Ok((bound_ms, ms(began)))
}

/// Waits for an event of the pod that `fits`; answers the pod.
async fn see(watch: &mut Lines, name: &str, fits: impl Fn(&str, &Value) -> bool) -> anyhow::Result<Value> {
    let mut last = "nothing".to_owned();
    let deadline = tokio::time::Instant::now() + POD_LIMIT;
    loop {
        let Ok(line) = tokio::time::timeout_at(deadline, watch.next()).await else {
            bail!("after {} s the last of {name} is {last}", POD_LIMIT.as_secs());
        };
        let line = line?.context("the watch ended")?;
        let event: Value = serde_json::from_slice(&line).context("understand the watch")?;
        let (kind, pod) = (event["type"].as_str().unwrap_or_default(), &event["object"]);
        if kind == "ERROR" {
            bail!("the watch failed: {pod}");
        }
        if pod["metadata"]["name"] != name {
            continue;
        }
        if fits(kind, pod) {
            return Ok(pod.clone());
        }
        last = format!("{kind}, {}", pod["status"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_needs_no_registry() {
        let pod: Value = serde_json::from_str(&manifest("x", "rkctl.local/rkctl:1")).unwrap();
        let container = &pod["spec"]["containers"][0];
        assert_eq!(
            (&container["imagePullPolicy"], &container["image"]),
            (&"Never".into(), &"rkctl.local/rkctl:1".into())
        );
    }
}
