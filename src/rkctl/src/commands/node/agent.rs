//! `rkctl node agent`: the agent, and beside it in the same process the overlay and the service proxy.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use ipnet::Ipv4Net;
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::config::AGENT_CONFIG;
use crate::{exit, notify, runtime};

/// Where the container runtime looks for networks.
const CNI_CONFIG: &str = "/etc/cni/net.d/10-rkctl.conflist";
/// In the agent's data folder: which address is whose.
const CNI_DATA: &str = "cni";

/// Run the node agent.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent's configuration.
    #[arg(long, default_value = AGENT_CONFIG)]
    config: PathBuf,
}

/// The part of the configuration that is the overlay's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Overlay {
    backend: String,
    vni: u32,
    port: u16,
}

pub fn run(args: Args) -> exit::Answer {
    runtime::log_to_stderr("info");
    let path = &args.config;
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let config = agent::Config::parse(&text, path)?;
    let network = config.pod_cidr.is_some().then(|| network(&config)).transpose()?;
    runtime::node(async move {
        let shutdown = runtime::shutdown_token()?;
        // Whether the node joins is the API's matter; this process is up, and static pods need nothing else.
        notify::ready();
        let Some(agent) = agent::Agent::join(config, shutdown.clone()).await? else { return Ok(exit::DONE) };
        let mut parts = JoinSet::new();
        if let (Some((overlay, proxy)), Some(context)) = (network, agent.context()) {
            let beside = context.clone();
            parts.spawn(async move { overlay::run(overlay, beside).await.context("the overlay failed") });
            parts.spawn(async move { proxy::run(proxy, context).await.context("the service proxy failed") });
        }
        let mut outcome = tokio::select! {
            ended = agent.run() => ended.context("the agent failed"),
            ended = first_failure(&mut parts) => ended,
        };
        // Whatever ends first ends the others: systemd starts the whole anew.
        shutdown.cancel();
        while let Some(ended) = parts.join_next().await {
            outcome = outcome.and(ended.context("a part of the agent panicked").and_then(|ended| ended));
        }
        outcome.map(|()| exit::DONE)
    })
}

/// Waits for a part that ends with an error; for ever where none does.
async fn first_failure(parts: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = parts.join_next().await {
        ended.context("a part of the agent panicked")??;
    }
    std::future::pending().await
}

/// What overlay and proxy are told, from the agent's configuration.
fn network(config: &agent::Config) -> anyhow::Result<(overlay::Config, proxy::Config)> {
    let cidr = |text: &Option<String>, key: &str| -> anyhow::Result<Ipv4Net> {
        let text = text.as_deref().with_context(|| format!("{key} is missing"))?;
        text.parse().with_context(|| format!("{key} {text:?} is not an IPv4 CIDR"))
    };
    let cluster_cidr = cidr(&config.pod_cidr, "podCIDR")?;
    let settings = config.overlay.clone().context("overlay is missing")?;
    let settings: Overlay = serde_json::from_value(settings).context("understand overlay")?;
    if settings.backend != "vxlan" {
        bail!("overlay.backend is {:?}; this version has vxlan", settings.backend);
    }
    let overlay = overlay::Config {
        node_name: config.node_name.clone(),
        node_ip: node_ip(config)?,
        cluster_cidr,
        service_cidr: cidr(&config.service_cidr, "serviceCIDR")?,
        vni: settings.vni,
        port: settings.port,
        cni_config_path: CNI_CONFIG.into(),
        cni_data_dir: config.data_dir.join(CNI_DATA),
    };
    Ok((overlay, proxy::Config { node_name: config.node_name.clone(), cluster_cidr }))
}

fn node_ip(config: &agent::Config) -> anyhow::Result<Ipv4Addr> {
    match config.node_ip {
        Some(IpAddr::V4(address)) => Ok(address),
        Some(IpAddr::V6(_)) => bail!("nodeIP is an IPv6 address; the overlay of this version is IPv4"),
        None => bail!("nodeIP is missing; the overlay needs it"),
    }
}
