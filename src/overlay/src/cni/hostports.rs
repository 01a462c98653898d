//! Host ports of pods: elements of two flat nftables maps.

use std::net::Ipv4Addr;

use datapath::{Error, nft};

use super::protocol::PortMapping;

/// The nftables table of host ports.
pub const TABLE: &str = "rkctl-hostports";

/// Sends the host ports of a pod to it.
pub async fn add(address: Ipv4Addr, ports: &[PortMapping]) -> Result<(), Error> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut batch = skeleton();
    for port in ports {
        // A stale element of a pod that is gone would make the new one clash; removing needs it to be there.
        let (map, key) = key(port);
        let data = format!("{address} . {}", port.container_port);
        batch.push_str(&format!("add element ip {TABLE} {map} {{ {key} : {data} }}\n"));
    }
    nft::apply(&batch).await
}

/// Takes the host ports of a pod away.
pub async fn remove(address: Ipv4Addr, ports: &[PortMapping]) -> Result<(), Error> {
    for port in ports {
        let (map, key) = key(port);
        let data = format!("{address} . {}", port.container_port);
        // Not there after a reboot, and another pod's by then where the data differs: both are fine.
        match nft::apply(&format!("delete element ip {TABLE} {map} {{ {key} : {data} }}\n")).await {
            Ok(()) | Err(Error::Nft(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn key(port: &PortMapping) -> (&'static str, String) {
    let protocol = port.protocol.to_ascii_lowercase();
    match port.host_ip.parse::<Ipv4Addr>() {
        Ok(ip) if !ip.is_unspecified() => ("bound", format!("{ip} . {protocol} . {}", port.host_port)),
        _ => ("any", format!("{protocol} . {}", port.host_port)),
    }
}

/// Maps, and chains that use them. Adding what is there already changes nothing; the chains are filled anew.
fn skeleton() -> String {
    format!(
        "add table ip {TABLE}\n\
         add map ip {TABLE} bound {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}\n\
         add map ip {TABLE} any {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}\n\
         add chain ip {TABLE} dispatch\n\
         add chain ip {TABLE} prerouting {{ type nat hook prerouting priority -95; policy accept; }}\n\
         add chain ip {TABLE} output {{ type nat hook output priority -95; policy accept; }}\n\
         add chain ip {TABLE} postrouting {{ type nat hook postrouting priority srcnat - 5; policy accept; }}\n\
         flush chain ip {TABLE} dispatch\n\
         flush chain ip {TABLE} prerouting\n\
         flush chain ip {TABLE} output\n\
         flush chain ip {TABLE} postrouting\n\
         add rule ip {TABLE} dispatch dnat ip to ip daddr . meta l4proto . th dport map @bound\n\
         add rule ip {TABLE} dispatch dnat ip to meta l4proto . th dport map @any\n\
         add rule ip {TABLE} prerouting fib daddr type local jump dispatch\n\
         add rule ip {TABLE} output fib daddr type local ip daddr != 127.0.0.0/8 jump dispatch\n\
         add rule ip {TABLE} postrouting ct status dnat iifname \"rkbr0\" oifname \"rkbr0\" masquerade\n"
    )
}
