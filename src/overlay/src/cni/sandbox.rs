//! A sandbox's interface: made, checked, taken away.

use std::net::Ipv4Addr;
use std::path::Path;

use datapath::Netlink;
use datapath::mac::Mac;
use datapath::netns::Netns;
use ipnet::Ipv4Net;

use super::hostports;
use super::leases::{Lease, Leases};
use super::protocol::{Attached, Failure, Request, add_answer};
use crate::plan::gateway_address;

/// `ADD`: an address, a veth pair on the bridge, a default route, host ports. What was made is unmade on failure.
pub fn add(request: &Request) -> Result<String, Failure> {
    let cidr = request.pod_cidr()?;
    let netns = Netns::open(&request.netns)?;
    let lease = Lease {
        container_id: request.container_id.clone(),
        ifname: request.ifname.clone(),
        netns: request.netns.clone(),
        ports: request.port_mappings().to_vec(),
    };
    let address = {
        let leases = Leases::open(&request.configuration.data_dir)?;
        if let Some(reason) = hostports::refusal(&leases.all()?, &lease, Path::exists) {
            return Err(Failure::new(103, reason));
        }
        leases.take(cidr, &lease)?
    };
    let made = attach(request, &netns, address, cidr, &lease);
    if made.is_err() {
        // The first failure is what is reported; DEL comes again from the runtime.
        let _ = detach(request, address, &lease);
    }
    made
}

fn attach(
    request: &Request,
    netns: &Netns,
    address: Ipv4Addr,
    cidr: Ipv4Net,
    lease: &Lease,
) -> Result<String, Failure> {
    let host_link = host_link_name(&request.container_id, &request.ifname);
    let configuration = &request.configuration;
    let gateway = gateway_address(cidr);
    let with_prefix = Ipv4Net::new_assert(address, cidr.prefix_len());
    let mac = Mac::from_ipv4(address);
    block_on(async {
        let netlink = Netlink::open()?;
        let bridge = netlink.existing_link(&configuration.bridge).await?;
        netlink.remove_link(&host_link).await?;
        let host_end = netlink.add_veth(&host_link, &request.ifname, configuration.mtu, netns.fd()).await?;
        netlink.attach_to_bridge(host_end.index, bridge.index).await
    })?;
    if !lease.ports.is_empty() {
        let leases = Leases::open(&configuration.data_dir)?;
        write_host_ports(&leases, |_| true)?;
    }
    netns.run(|| async {
        let inside = Netlink::open()?;
        let loopback = inside.existing_link("lo").await?;
        inside.set_up(loopback.index).await?;
        inside.set_mac(&request.ifname, mac).await?;
        let own = inside.existing_link(&request.ifname).await?;
        inside.ensure_address(own.index, with_prefix).await?;
        inside.set_up(own.index).await?;
        inside.ensure_default_route(gateway, own.index).await
    })?;
    let attached = Attached { host_link: &host_link, address: with_prefix, gateway, mac: mac.to_string() };
    Ok(add_answer(request, &attached))
}

/// `DEL`: succeeds where nothing is left to remove.
pub fn del(request: &Request) -> Result<(), Failure> {
    let mine = |lease: &Lease| lease.container_id == request.container_id && lease.ifname == request.ifname;
    let found = Leases::open(&request.configuration.data_dir)?.all()?.into_iter().filter(|(_, lease)| mine(lease));
    for (address, lease) in found {
        detach(request, address, &lease)?;
    }
    // A crash between the link and the lease leaves a link without one.
    let host_link = host_link_name(&request.container_id, &request.ifname);
    block_on(async { Netlink::open()?.remove_link(&host_link).await })
}

fn detach(request: &Request, address: Ipv4Addr, lease: &Lease) -> Result<(), Failure> {
    let host_link = host_link_name(&lease.container_id, &lease.ifname);
    block_on(async { Netlink::open()?.remove_link(&host_link).await })?;
    let leases = Leases::open(&request.configuration.data_dir)?;
    if !lease.ports.is_empty() {
        // The lease goes last, so that what fails here is tried again.
        write_host_ports(&leases, |other| other != address)?;
    }
    leases.free(address)
}

/// Makes the kernel have the host ports of the leases with these addresses. The lock is held meanwhile.
pub fn write_host_ports(leases: &Leases, is_wanted: impl Fn(Ipv4Addr) -> bool) -> Result<(), Failure> {
    let mut wanted = leases.all()?;
    wanted.retain(|(address, _)| is_wanted(*address));
    block_on(hostports::write(&wanted))
}

/// Puts the host ports back where their table is gone and there are any.
pub fn restore_host_ports(data_dir: &Path) -> Result<(), Failure> {
    let leases = Leases::open(data_dir)?;
    if leases.all()?.iter().all(|(_, lease)| lease.ports.is_empty()) {
        return Ok(());
    }
    if block_on(datapath::nft::has_table("ip", hostports::TABLE))? {
        return Ok(());
    }
    write_host_ports(&leases, |_| true)
}

/// `CHECK`: the lease, the host's link and the pod's address are there.
pub fn check(request: &Request) -> Result<(), Failure> {
    let cidr = request.pod_cidr()?;
    let leases = Leases::open(&request.configuration.data_dir)?.all()?;
    let found = leases.iter().find(|(_, lease)| lease.container_id == request.container_id);
    let Some((address, _)) = found else {
        return Err(Failure::new(102, format!("sandbox {} has no address", request.container_id)));
    };
    let expected = Ipv4Net::new_assert(*address, cidr.prefix_len());
    let host_link = host_link_name(&request.container_id, &request.ifname);
    block_on(async { Netlink::open()?.existing_link(&host_link).await })?;
    let present = Netns::open(&request.netns)?.run(|| async {
        let inside = Netlink::open()?;
        let link = inside.existing_link(&request.ifname).await?;
        inside.addresses(link.index).await
    })?;
    if present.contains(&expected) {
        Ok(())
    } else {
        Err(Failure::new(102, format!("{} of {} lacks {expected}", request.ifname, request.netns.display())))
    }
}

/// `GC`: removes what belongs to no valid attachment.
pub fn gc(request: &Request) -> Result<(), Failure> {
    let valid = &request.configuration.valid_attachments;
    let is_valid = |lease: &Lease| {
        valid
            .iter()
            .any(|attachment| attachment.container_id == lease.container_id && attachment.ifname == lease.ifname)
    };
    let stale = Leases::open(&request.configuration.data_dir)?.all()?;
    for (address, lease) in stale.into_iter().filter(|(_, lease)| !is_valid(lease)) {
        detach(request, address, &lease)?;
    }
    Ok(())
}

/// `rk` and twelve hexadecimal digits of the sandbox and interface: link names have at most 15 bytes, and the peer's
/// passing name has one more.
fn host_link_name(container_id: &str, ifname: &str) -> String {
    // FNV-1a: short, stable and good enough to tell a host's few hundred sandboxes apart.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in container_id.bytes().chain([0]).chain(ifname.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("rk{:012x}", hash >> 16)
}

fn block_on<T>(work: impl Future<Output = Result<T, datapath::Error>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("starting the runtime", &error))?;
    Ok(runtime.block_on(work)?)
}
