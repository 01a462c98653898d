//! `rkctl node addons`: applies the addons that are part of this program, and remembers what was applied.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use client::apply::{Applier, ApplyOptions};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api;
use crate::addons::{Settings, hash, render};
use crate::config::{SERVER_CONFIG, ServerConfiguration};
use crate::{exit, runtime};

/// Owns the addons' fields.
const MANAGER: &str = "rkctl-addons";
/// Remembers what was applied: one key an addon.
const RECORD: &str = "rkctl-addons";
const NAMESPACE: &str = "kube-system";
/// Beyond the time that was given.
const CUT_OFF_AFTER: Duration = Duration::from_secs(5);
/// The namespace of addons comes with the API server's start.
const NAMESPACE_WITHIN: Duration = Duration::from_secs(20);

/// The cluster's addons.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Apply addons by server-side apply; what an older version had and this one has not is removed.
    Apply(Names),
    /// Remove addons.
    Remove(Names),
    /// Wait until addons are available.
    Wait(Names),
}

#[derive(Debug, clap::Args)]
struct Names {
    /// The addons.
    #[arg(required = true)]
    names: Vec<String>,
    /// How long it may take.
    #[arg(long, value_parser = api::duration, default_value = "60s")]
    timeout: Duration,
}

/// What was applied of an addon.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Of its files.
    pub hash: String,
    /// Its objects: apiVersion, kind and metadata.
    pub objects: Vec<Value>,
}

pub fn run(args: Args) -> exit::Answer {
    runtime::operator(async {
        let client = api::client().await?;
        let (names, timeout) = match &args.command {
            Command::Apply(names) | Command::Remove(names) | Command::Wait(names) => (&names.names, names.timeout),
        };
        let work = async {
            for name in names {
                match args.command {
                    Command::Apply(_) => apply(&client, name).await?,
                    Command::Remove(_) => remove(&client, name).await?,
                    Command::Wait(_) => return wait(&client, names, timeout).await.map(|()| exit::DONE),
                }
            }
            anyhow::Ok(exit::DONE)
        };
        // What waits ends by itself and says what it waited for; a request that hangs is cut off.
        let limit = timeout + CUT_OFF_AFTER;
        tokio::time::timeout(limit, work).await.with_context(|| format!("it took longer than {} s", limit.as_secs()))?
    })
}

fn settings() -> anyhow::Result<Settings> {
    let config = ServerConfiguration::load(Path::new(SERVER_CONFIG))?;
    let dns = std::net::Ipv4Addr::from_bits(config.service_cidr.network().to_bits().saturating_add(10));
    Ok(Settings { cluster_dns: dns.to_string(), cluster_domain: config.cluster_domain })
}

async fn apply(client: &kube::Client, name: &str) -> anyhow::Result<()> {
    let settings = settings()?;
    let objects = render(name, &settings)?;
    let references: Vec<Value> = objects.iter().map(reference).collect();
    let before = records(client).await?.remove(name);
    await_namespace(client).await?;
    // What may be there is written down before it is: an interrupted run leaves nothing that nobody knows of.
    let mut all = references.clone();
    all.extend(before.iter().flat_map(|record| &record.objects).filter(|object| !references.contains(object)).cloned());
    write_record(client, name, Some(&Record { hash: String::new(), objects: all.clone() })).await?;
    let applier = Applier::new(client.clone(), MANAGER);
    for object in &objects {
        applier
            .apply(object, ApplyOptions { force: true, dry_run: false })
            .await
            .with_context(|| format!("apply {}", describe(object)))?;
    }
    for object in all.iter().filter(|object| !references.contains(object)) {
        applier
            .delete(object, &DeleteParams::default())
            .await
            .with_context(|| format!("delete {}", describe(object)))?;
    }
    write_record(client, name, Some(&Record { hash: hash(name, &settings)?, objects: references })).await
}

async fn remove(client: &kube::Client, name: &str) -> anyhow::Result<()> {
    let Some(record) = records(client).await?.remove(name) else { return Ok(()) };
    let applier = Applier::new(client.clone(), MANAGER);
    for object in record.objects.iter().rev() {
        applier
            .delete(object, &DeleteParams::background())
            .await
            .with_context(|| format!("delete {}", describe(object)))?;
    }
    write_record(client, name, None).await
}

async fn wait(client: &kube::Client, names: &[String], timeout: Duration) -> anyhow::Result<()> {
    let look = || async {
        let records = records(client).await.map_err(|error| format!("{error:#}"))?;
        for name in names {
            let record = records.get(name).ok_or_else(|| format!("{name}: it was not applied"))?;
            if let Some(missing) = missing(client, name, record).await {
                return Err(format!("{name}: {missing}"));
            }
        }
        Ok(())
    };
    api::wait_for(timeout, "addons are not available", look).await
}

/// What is not available of an addon yet; nothing where all of it is.
pub async fn missing(client: &kube::Client, name: &str, record: &Record) -> Option<String> {
    if record.hash.is_empty() {
        return Some("it was applied in part".to_owned());
    }
    let applier = Applier::new(client.clone(), MANAGER);
    for object in &record.objects {
        if object["kind"] != "Deployment" && object["kind"] != "DaemonSet" {
            continue;
        }
        match applier.get(object).await {
            Ok(Some(found)) if is_available(&found) => {}
            Ok(Some(_)) => return Some(format!("{} is not available", describe(object))),
            Ok(None) => return Some(format!("{} is gone", describe(object))),
            Err(error) => return Some(stdx::error::chain(&error)),
        }
    }
    if name == "dns" && !super::facts::dns_answers(client).await {
        return Some("DNS does not answer".to_owned());
    }
    None
}

fn is_available(object: &Value) -> bool {
    let (spec, status) = (&object["spec"], &object["status"]);
    if status["observedGeneration"].as_i64() < object["metadata"]["generation"].as_i64() {
        return false;
    }
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    if object["kind"] == "DaemonSet" {
        return number(&status["numberReady"]) >= number(&status["desiredNumberScheduled"]);
    }
    number(&status["availableReplicas"]) >= spec["replicas"].as_i64().unwrap_or(1)
        && number(&status["updatedReplicas"]) >= spec["replicas"].as_i64().unwrap_or(1)
}

fn reference(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut name = json!({"name": metadata["name"]});
    if metadata["namespace"].is_string() {
        name["namespace"] = metadata["namespace"].clone();
    }
    json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": name})
}

fn describe(object: &Value) -> String {
    format!("{} {}", object["kind"].as_str().unwrap_or("?"), object["metadata"]["name"].as_str().unwrap_or("?"))
}

/// What was applied, by the addons' names.
pub async fn records(client: &kube::Client) -> anyhow::Result<BTreeMap<String, Record>> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let map = maps.get_opt(RECORD).await.context("read what addons were applied")?;
    let data = map.and_then(|map| map.data).unwrap_or_default();
    Ok(data.into_iter().filter_map(|(name, text)| Some((name, serde_json::from_str(&text).ok()?))).collect())
}

async fn write_record(client: &kube::Client, name: &str, record: Option<&Record>) -> anyhow::Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let text = record.map(serde_json::to_string).transpose()?;
    if maps.get_opt(RECORD).await.context("read what addons were applied")?.is_none() {
        let empty: ConfigMap = serde_json::from_value(json!({"metadata": {"name": RECORD}}))?;
        maps.create(&kube::api::PostParams::default(), &empty).await.context("write down what addons are applied")?;
    }
    let patch = Patch::Merge(json!({"data": {name: text}}));
    maps.patch(RECORD, &PatchParams::default(), &patch).await.context("write down what addons are applied")?;
    Ok(())
}

async fn await_namespace(client: &kube::Client) -> anyhow::Result<()> {
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let look = || async {
        match namespaces.get_opt(NAMESPACE).await {
            Ok(found) => found.map(drop).ok_or_else(|| "it is not there".to_owned()),
            Err(error) => Err(stdx::error::chain(&error)),
        }
    };
    api::wait_for(NAMESPACE_WITHIN, &format!("no namespace {NAMESPACE}"), look).await
}
