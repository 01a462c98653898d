//! The lab's bridge on this machine, its network, and cutting hosts off from it.

use std::net::Ipv4Addr;
use std::path::Path;

use serde::Deserialize;

use crate::error::Error;
use crate::state::Record;
use crate::tool::run;

/// States of a bridge port (`BR_STATE_*` of linux/if_bridge.h).
const DISABLED: &str = "0";
const FORWARDING: &str = "3";

/// An address of this machine, from `ip -json address`.
#[derive(Debug, Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, Deserialize)]
struct Address {
    local: Option<String>,
    #[serde(default)]
    prefixlen: u8,
}

/// Chooses N of 10.88.N.0/24: the one that is asked for, or the first that neither a lab nor a link of this
/// machine has.
pub(crate) async fn choose(wanted: Option<u8>, labs: &[Record]) -> Result<u8, Error> {
    let text = run(&["ip", "-json", "-4", "address"]).await?;
    let links: Vec<Link> = serde_json::from_str(&text)
        .map_err(|error| Error::Tool { command: "ip -json -4 address".to_owned(), stderr: error.to_string() })?;
    pick(wanted, labs, &links)
}

fn pick(wanted: Option<u8>, labs: &[Record], links: &[Link]) -> Result<u8, Error> {
    match wanted {
        Some(index) => match taken_by(index, labs, links) {
            Some(by) => Err(Error::NetworkTaken { index, by }),
            None => Ok(index),
        },
        None => (0..=u8::MAX).find(|index| taken_by(*index, labs, links).is_none()).ok_or(Error::NoNetworkFree),
    }
}

fn taken_by(index: u8, labs: &[Record], links: &[Link]) -> Option<String> {
    if let Some(lab) = labs.iter().find(|lab| lab.network == index) {
        return Some(format!("lab {}", lab.name));
    }
    let gateway = Ipv4Addr::new(10, 88, index, 1);
    let network = ipnet::Ipv4Net::new_assert(gateway, 24).trunc();
    let holds = |address: &Address| {
        let local: Option<Ipv4Addr> = address.local.as_deref().and_then(|local| local.parse().ok());
        local.and_then(|local| ipnet::Ipv4Net::new(local, address.prefixlen).ok()).is_some_and(|other| {
            // A default-sized address of a larger network around ours (10.0.0.5/8) clashes too.
            network.contains(&other.addr()) || other.trunc().contains(&network)
        })
    };
    let bridge = format!("rklab{index}");
    links
        .iter()
        .find(|link| link.ifname == bridge || link.addr_info.iter().any(holds))
        .map(|link| format!("link {}", link.ifname))
}

fn exists(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

/// Makes the bridge with this machine's address on it, where it is missing.
pub(crate) async fn ensure(lab: &Record) -> Result<(), Error> {
    let bridge = lab.bridge();
    if !exists(&bridge) {
        run(&["ip", "link", "add", &bridge, "type", "bridge"]).await?;
    }
    let address = format!("{}/24", lab.gateway());
    run(&["ip", "address", "replace", &address, "dev", &bridge]).await?;
    run(&["ip", "link", "set", &bridge, "up"]).await.map(drop)
}

/// Removes the bridge and what is left of its ports.
pub(crate) async fn remove(lab: &Record) -> Result<(), Error> {
    for link in lab.hosts.iter().map(|host| lab.link(host)).chain([lab.bridge()]) {
        delete(&link).await?;
    }
    Ok(())
}

/// Removes the port of a host that does not run: the kernel takes its time with that of one that was killed, and a host
/// does not start while a link has the name.
pub(crate) async fn remove_port(link: &str) -> Result<(), Error> {
    delete(link).await
}

async fn delete(link: &str) -> Result<(), Error> {
    if !exists(link) {
        return Ok(());
    }
    match run(&["ip", "link", "delete", link]).await {
        // It went by itself meanwhile.
        Err(_) if !exists(link) => Ok(()),
        result => result.map(drop),
    }
}

/// Lets nothing through the host's port any more. The host keeps its link and address, as behind a broken switch.
pub(crate) async fn cut(link: &str) -> Result<(), Error> {
    run(&["bridge", "link", "set", "dev", link, "state", DISABLED]).await.map(drop)
}

/// Lets everything through again.
pub(crate) async fn heal(link: &str) -> Result<(), Error> {
    run(&["bridge", "link", "set", "dev", link, "state", FORWARDING]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, local: &str, prefixlen: u8) -> Link {
        Link { ifname: name.into(), addr_info: vec![Address { local: Some(local.into()), prefixlen }] }
    }

    fn lab(network: u8) -> Record {
        Record {
            name: format!("l{network}"),
            network,
            packages: vec![],
            base: "/".into(),
            hosts: vec![],
            exports: vec![],
        }
    }

    #[test]
    fn the_first_network_that_nobody_has_is_taken() {
        let links = [link("eth0", "192.0.2.5", 24), link("other", "10.88.1.200", 16)];
        assert_eq!(pick(None, &[], &links[..1]).unwrap(), 0);
        assert_eq!(pick(None, &[lab(0)], &links[..1]).unwrap(), 1);
        assert_eq!(pick(None, &[lab(0)], &[link("x", "10.88.1.9", 24)]).unwrap(), 2);
        assert!(matches!(pick(None, &[], &links), Err(Error::NoNetworkFree)), "10.88.0.0/16 is in use");
        assert_eq!(pick(Some(9), &[lab(0)], &links[..1]).unwrap(), 9);
        let error = pick(Some(0), &[lab(0)], &[]).unwrap_err().to_string();
        assert_eq!(error, "network 10.88.0.0/24 is taken by lab l0");
        let left_behind = [Link { ifname: "rklab3".into(), addr_info: vec![] }];
        assert!(pick(Some(3), &[], &left_behind).is_err());
    }
}
