//! Host ports of pods: elements of two flat nftables maps.
//!
//! nftables finds an element by its key alone, so that nobody can take away "that pod's element": whoever comes late
//! would take the next pod's. The maps are therefore always written whole, from the leases and under their lock. There
//! are few host ports on a host.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use datapath::{Error, nft};

use super::leases::Lease;
use super::protocol::PortMapping;
use crate::host::BRIDGE;

/// The nftables table of host ports.
pub const TABLE: &str = "rkctl-hostports";

/// A map of the table and a key in it.
type Key = (&'static str, String);

/// Makes the kernel have the host ports of these leases and no others.
pub async fn write(leases: &[(Ipv4Addr, Lease)]) -> Result<(), Error> {
    let mut batch = skeleton();
    let elements = elements(leases, Path::exists);
    let any = !elements.is_empty();
    for ((map, key), data) in elements {
        batch.push_str(&format!("add element ip {TABLE} {map} {{ {key} : {data} }}\n"));
    }
    // The rules that keep others away from loopback addresses are there before those are routed.
    nft::apply(&batch).await?;
    route_loopback(any)
}

/// Lets packets from and to loopback addresses of this host cross the bridge: without it, `127.0.0.1` at a host port
/// ends in the host. What comes from outside with such an address is dropped by the rules of [`skeleton`].
fn route_loopback(any: bool) -> Result<(), Error> {
    let path = format!("/proc/sys/net/ipv4/conf/{BRIDGE}/route_localnet");
    match std::fs::write(&path, if any { "1" } else { "0" }) {
        // The bridge comes with the first pod.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !any => Ok(()),
        written => written.map_err(|source| Error::Io { doing: format!("writing {path}"), source }),
    }
}

/// Why a sandbox cannot have its host ports: another one has them. A sandbox whose network namespace is gone has none.
pub fn refusal(leases: &[(Ipv4Addr, Lease)], wanted: &Lease, is_there: impl Fn(&Path) -> bool) -> Option<String> {
    for port in &wanted.ports {
        let Some(key) = key(port) else {
            return Some(format!("hostIP {}: host ports are served on IPv4 addresses only", port.host_ip));
        };
        let holds = |other: &Lease| {
            (&other.container_id, &other.ifname) != (&wanted.container_id, &wanted.ifname)
                && is_there(&other.netns)
                && other.ports.iter().filter_map(self::key).any(|held| held == key)
        };
        if let Some((address, holder)) = leases.iter().find(|(_, other)| holds(other)) {
            return Some(format!(
                "host port {}/{} is held by sandbox {} with address {address} until it ends",
                port.host_port, port.protocol, holder.container_id
            ));
        }
    }
    None
}

/// What the maps hold: pure. Sandboxes whose network namespace is gone have no ports.
fn elements(leases: &[(Ipv4Addr, Lease)], is_there: impl Fn(&Path) -> bool) -> BTreeMap<Key, String> {
    let mut elements = BTreeMap::new();
    for (address, lease) in leases.iter().filter(|(_, lease)| is_there(&lease.netns)) {
        for port in &lease.ports {
            if let Some(key) = key(port) {
                elements.entry(key).or_insert_with(|| format!("{address} . {}", port.container_port));
            }
        }
    }
    elements
}

/// `None` for an address that is not IPv4.
fn key(port: &PortMapping) -> Option<Key> {
    let protocol = port.protocol.to_ascii_lowercase();
    match port.host_ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) if !ip.is_unspecified() => {
            Some(("bound", format!("{ip} . {protocol} . {}", port.host_port)))
        }
        Ok(IpAddr::V6(ip)) if !ip.is_unspecified() => None,
        _ => Some(("any", format!("{protocol} . {}", port.host_port))),
    }
}

/// Empty maps, and chains that use them. Adding what is there already changes nothing; the chains are filled anew.
fn skeleton() -> String {
    format!(
        "add table ip {TABLE}\n\
         add map ip {TABLE} bound {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}\n\
         add map ip {TABLE} any {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}\n\
         add chain ip {TABLE} dispatch\n\
         add chain ip {TABLE} guard {{ type filter hook prerouting priority raw; policy accept; }}\n\
         add chain ip {TABLE} prerouting {{ type nat hook prerouting priority -95; policy accept; }}\n\
         add chain ip {TABLE} output {{ type nat hook output priority -95; policy accept; }}\n\
         add chain ip {TABLE} postrouting {{ type nat hook postrouting priority srcnat - 5; policy accept; }}\n\
         flush map ip {TABLE} bound\n\
         flush map ip {TABLE} any\n\
         flush chain ip {TABLE} dispatch\n\
         flush chain ip {TABLE} guard\n\
         flush chain ip {TABLE} prerouting\n\
         flush chain ip {TABLE} output\n\
         flush chain ip {TABLE} postrouting\n\
         add rule ip {TABLE} dispatch dnat ip to ip daddr . meta l4proto . th dport map @bound\n\
         add rule ip {TABLE} dispatch dnat ip to meta l4proto . th dport map @any\n\
         add rule ip {TABLE} prerouting fib daddr type local jump dispatch\n\
         add rule ip {TABLE} guard iifname != \"lo\" ip daddr 127.0.0.0/8 drop\n\
         add rule ip {TABLE} guard iifname != \"lo\" ip saddr 127.0.0.0/8 drop\n\
         add rule ip {TABLE} output fib daddr type local jump dispatch\n\
         add rule ip {TABLE} postrouting ct status dnat iifname \"{BRIDGE}\" oifname \"{BRIDGE}\" masquerade\n\
         add rule ip {TABLE} postrouting ct status dnat ip saddr 127.0.0.0/8 oifname \"{BRIDGE}\" masquerade\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(id: &str, netns: &str, host_ip: &str) -> Lease {
        let port = PortMapping { host_port: 8080, container_port: 80, protocol: "TCP".into(), host_ip: host_ip.into() };
        Lease { container_id: id.into(), ifname: "eth0".into(), netns: netns.into(), ports: vec![port] }
    }

    #[test]
    fn a_port_is_one_sandboxs_as_long_as_that_is_there() {
        let is_there = |netns: &Path| netns != Path::new("/gone");
        let address = |last| Ipv4Addr::new(10, 42, 1, last);
        let (old, ended, new) = (lease("old", "/run/1", ""), lease("ended", "/gone", ""), lease("new", "/run/2", "::"));
        // What there is, what is wanted, whether it is refused.
        let cases = [
            (vec![], &new, false),
            (vec![old.clone()], &new, true),
            (vec![ended.clone()], &new, false),
            (vec![old.clone()], &old, false),
            (vec![lease("bound", "/run/1", "192.0.2.1")], &new, false),
            (vec![], &lease("six", "/run/1", "2001:db8::1"), true),
        ];
        for (held, wanted, refused) in cases {
            let held: Vec<_> = (2..).map(address).zip(held).collect();
            assert_eq!(refusal(&held, wanted, is_there).is_some(), refused, "{held:?} {wanted:?}");
        }
        let told = refusal(&[(address(2), old)], &new, is_there).unwrap();
        assert_eq!(told, "host port 8080/TCP is held by sandbox old with address 10.42.1.2 until it ends");
        let held = [(address(2), ended), (address(3), new)];
        let expected: BTreeMap<Key, String> =
            [(("any", "tcp . 8080".to_string()), "10.42.1.3 . 80".to_string())].into();
        assert_eq!(elements(&held, is_there), expected);
    }
}
