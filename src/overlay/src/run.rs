//! Follows the Node objects and keeps this host's network equal to them.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use client::Context;
use client::queue::{Outcome, WorkQueue};
use datapath::nft;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;

use crate::plan::Peer;
use crate::{Error, host};

/// How often the kernel's state is read again though no node changed: someone may have removed a link by hand. Of a
/// table that somebody removed the kernel tells.
const RESYNC: Duration = Duration::from_secs(30);

/// What the overlay of a host needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name of this host's Node object.
    pub node_name: String,
    /// The address of this host that other hosts reach.
    pub node_ip: Ipv4Addr,
    /// The addresses of all pods of the cluster.
    pub cluster_cidr: Ipv4Net,
    /// The addresses of services: routed to the pod bridge, so that they are reached from a host without a default
    /// route as well.
    pub service_cidr: Ipv4Net,
    /// The VXLAN network identifier.
    pub vni: u32,
    /// The UDP port of VXLAN.
    pub port: u16,
    /// Where the container runtime reads its CNI configuration: `/etc/cni/net.d/10-rkctl.conflist`.
    pub cni_config_path: PathBuf,
    /// Where the CNI plugin keeps which address is whose.
    pub cni_data_dir: PathBuf,
}

/// Runs until the context shuts down. A failed change is logged and tried again with back-off.
///
/// # Errors
/// None at present; the signature is that of every component.
pub async fn run(config: Config, context: Context) -> Result<(), Error> {
    let data_dir = config.cni_data_dir.clone();
    host::blocking(move || crate::cni::forget_vanished_sandboxes(&data_dir)).await;
    let nodes = context.informers.all::<Node>();
    let queue = WorkQueue::new("overlay");
    let waker = queue.clone();
    nodes.on_change(move |_| waker.add(()));
    nodes.synced().await;
    queue.add(());
    let stop = queue.clone();
    let shutdown = context.shutdown.clone();
    let mut masquerade = nft::Removals::watch("ip", host::MASQUERADE_TABLE);
    let mut host_ports = nft::Removals::watch("ip", crate::cni::HOSTPORTS_TABLE);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return stop.shut_down(),
                () = masquerade.next() => stop.add(()),
                () = host_ports.next() => stop.add(()),
            }
        }
    });
    let config = std::sync::Arc::new(config);
    let nodes = std::sync::Arc::new(nodes);
    queue
        .run(1, move |()| {
            let (config, nodes) = (config.clone(), nodes.clone());
            async move {
                let nodes = nodes.list(None);
                let Some(own) =
                    nodes.iter().find(|node| name(node) == config.node_name).and_then(|node| pod_cidr(node))
                else {
                    // No pod CIDR yet; its assignment is a change of the node and comes back here.
                    return Ok(Outcome::Done);
                };
                let mut peers: Vec<Peer> =
                    nodes.iter().filter(|node| name(node) != config.node_name).filter_map(|node| peer(node)).collect();
                peers.sort();
                let changed = host::converge(&config, own, &peers).await?;
                if changed > 0 {
                    tracing::info!(peers = peers.len(), changed, "overlay network updated");
                }
                Ok::<_, Error>(Outcome::After(RESYNC))
            }
        })
        .await;
    Ok(())
}

fn name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

fn pod_cidr(node: &Node) -> Option<Ipv4Net> {
    node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()
}

fn peer(node: &Node) -> Option<Peer> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let internal = addresses.iter().filter(|address| address.type_ == "InternalIP");
    let node_address = internal.filter_map(|address| address.address.parse().ok()).next()?;
    Some(Peer { node_address, pod_cidr: pod_cidr(node)? })
}
