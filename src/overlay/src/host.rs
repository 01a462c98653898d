//! Carries the plan out on this host: links, neighbours, routes, masquerading, the CNI configuration.

use std::net::Ipv4Addr;
use std::path::Path;

use datapath::link::{Link, Vxlan};
use datapath::mac::Mac;
use datapath::neighbour::Table;
use datapath::route::Route;
use datapath::{Netlink, nft, sysctl};
use ipnet::Ipv4Net;

use crate::plan::{Observed, Peer, Step, gateway_address, plan, tunnel_address};
use crate::{Config, Error};

/// The pod bridge.
pub const BRIDGE: &str = "rkbr0";
/// The VXLAN device.
pub const TUNNEL: &str = "rkvx0";
/// The table that lets pods reach what is outside of the cluster.
pub const MASQUERADE_TABLE: &str = "rkctl-overlay";
/// What VXLAN adds to a packet, in bytes.
const VXLAN_OVERHEAD_BYTES: u32 = 50;

/// Brings this host's network to where it reaches its own pods and those of `peers`.
/// Answers how many routes and entries were changed.
pub async fn converge(config: &Config, own: Ipv4Net, peers: &[Peer]) -> Result<usize, Error> {
    let netlink = Netlink::open()?;
    let underlay = underlay(&netlink, config.node_ip).await?;
    let mtu = underlay.mtu.saturating_sub(VXLAN_OVERHEAD_BYTES);
    sysctl::ensure("net.ipv4.ip_forward", "1")?;

    let gateway = gateway_address(own);
    let bridge = netlink.ensure_bridge(BRIDGE, mtu, Mac::from_ipv4(gateway)).await?;
    netlink.ensure_address(bridge.index, with_prefix(gateway, own.prefix_len())).await?;

    let services = Route { destination: config.service_cidr.trunc(), gateway: None, link: bridge.index };
    if !netlink.our_routes(bridge.index).await?.contains(&services) {
        netlink.ensure_route(services).await?;
    }

    let wanted = Vxlan { vni: config.vni, port: config.port, local: config.node_ip };
    let tunnel_ip = tunnel_address(own);
    let tunnel = netlink.ensure_vxlan(TUNNEL, &wanted, mtu, Mac::from_ipv4(tunnel_ip)).await?;
    netlink.ensure_address(tunnel.index, with_prefix(tunnel_ip, 32)).await?;

    let observed = Observed {
        routes: netlink.our_routes(tunnel.index).await?,
        arp: netlink.neighbours(Table::Arp, tunnel.index).await?,
        forwarding: netlink.neighbours(Table::Forwarding, tunnel.index).await?,
    };
    let steps = plan(peers, &observed, tunnel.index);
    for step in &steps {
        match step {
            Step::AddNeighbour(table, entry) => netlink.ensure_neighbour(*table, tunnel.index, *entry).await?,
            Step::RemoveNeighbour(table, entry) => netlink.remove_neighbour(*table, tunnel.index, *entry).await?,
            Step::AddRoute(route) => netlink.ensure_route(*route).await?,
            Step::RemoveRoute(route) => netlink.remove_route(*route).await?,
        }
    }
    ensure_masquerade(own, config.cluster_cidr).await?;
    let data_dir = config.cni_data_dir.clone();
    blocking(move || crate::cni::restore_host_ports(&data_dir)).await;
    write_cni_configuration(config, own, mtu)?;
    Ok(steps.len())
}

/// Work that waits for locks and has a runtime of its own. What it panics with is logged by the runtime.
pub(crate) async fn blocking(work: impl FnOnce() + Send + 'static) {
    let _ = tokio::task::spawn_blocking(work).await;
}

async fn underlay(netlink: &Netlink, address: Ipv4Addr) -> Result<Link, Error> {
    for link in netlink.links().await? {
        if netlink.addresses(link.index).await?.iter().any(|net| net.addr() == address) {
            return Ok(link);
        }
    }
    Err(Error::NoUnderlay(address))
}

/// Packets of this host's pods to anything but pods leave with the host's address.
async fn ensure_masquerade(own: Ipv4Net, cluster: Ipv4Net) -> Result<(), Error> {
    let own = own.trunc();
    let rule = format!("ip saddr {own} ip daddr != {{ {cluster}, 224.0.0.0/4 }} masquerade");
    let listed = nft::list_table("ip", MASQUERADE_TABLE).await?;
    if listed.is_some_and(|text| text.contains(&format!("ip saddr {own} ")) && text.contains(&cluster.to_string())) {
        return Ok(());
    }
    let batch = format!(
        "add table ip {MASQUERADE_TABLE}\ndelete table ip {MASQUERADE_TABLE}\n\
         table ip {MASQUERADE_TABLE} {{\n  chain postrouting {{\n    \
         type nat hook postrouting priority srcnat; policy accept;\n    {rule}\n  }}\n}}\n"
    );
    Ok(nft::apply(&batch).await?)
}

/// The runtime takes the network for ready as soon as this file is there, so it is written last.
fn write_cni_configuration(config: &Config, own: Ipv4Net, mtu: u32) -> Result<(), Error> {
    let text = format!(
        "{}\n",
        serde_json::json!({
            "cniVersion": "1.0.0",
            "name": "rkctl",
            "plugins": [{
                "type": "rkctl-cni",
                "bridge": BRIDGE,
                "mtu": mtu,
                "podCIDR": own.trunc(),
                "dataDir": config.cni_data_dir,
                "capabilities": {"portMappings": true},
            }],
        })
    );
    write_if_different(&config.cni_config_path, &text)
}

fn write_if_different(path: &Path, text: &str) -> Result<(), Error> {
    if std::fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    let failed = |source| Error::Write { path: path.display().to_string(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, text).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}

fn with_prefix(address: Ipv4Addr, prefix_len: u8) -> Ipv4Net {
    Ipv4Net::new_assert(address, prefix_len.min(32))
}
