//! Links: bridges, veth pairs, VXLAN devices, and their addresses.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoData, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::{LinkBridge, LinkBridgePort, LinkUnspec, LinkVeth, LinkVxlan};

use crate::mac::Mac;
use crate::netlink::refused;
use crate::{Error, Netlink, errno};

/// What is known of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of it.
    pub index: u32,
    /// `eth0`.
    pub name: String,
    /// In bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// The hardware address, where it has one of six bytes.
    pub mac: Option<Mac>,
    /// VXLAN parameters, where it is a VXLAN device.
    pub vxlan: Option<Vxlan>,
}

/// The parameters of a VXLAN device that cannot be changed once it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vxlan {
    /// The network identifier.
    pub vni: u32,
    /// The UDP port.
    pub port: u16,
    /// The address that packets are sent from.
    pub local: Ipv4Addr,
}

impl Netlink {
    /// A link by name; `None` where there is none.
    pub async fn link(&self, name: &str) -> Result<Option<Link>, Error> {
        let mut links = self.handle.link().get().match_name(name).execute();
        match links.try_next().await {
            Ok(found) => Ok(found.map(|message| read_link(&message))),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(refused(format!("looking up link {name}"))(error)),
        }
    }

    /// Every link of this namespace.
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        let messages: Vec<LinkMessage> =
            self.handle.link().get().execute().try_collect().await.map_err(refused("listing links"))?;
        Ok(messages.iter().map(read_link).collect())
    }

    /// A link by name, which must exist.
    pub async fn existing_link(&self, name: &str) -> Result<Link, Error> {
        self.link(name).await?.ok_or_else(|| Error::NoLink(name.to_string()))
    }

    /// A bridge that is up, with this MTU and hardware address.
    pub async fn ensure_bridge(&self, name: &str, mtu: u32, mac: Mac) -> Result<Link, Error> {
        if self.link(name).await?.is_none() {
            let bridge = LinkBridge::new(name).mtu(mtu).address(mac.0.to_vec()).up().build();
            self.add(name, bridge).await?;
        }
        let found = self.existing_link(name).await?;
        if found.mtu != mtu || !found.up || found.mac != Some(mac) {
            let change = LinkUnspec::new_with_index(found.index).mtu(mtu).address(mac.0.to_vec()).up().build();
            self.handle.link().set(change).execute().await.map_err(refused(format!("setting up {name}")))?;
        }
        self.existing_link(name).await
    }

    /// A VXLAN device that is up, learns nothing and has these parameters; one with other parameters is made anew.
    pub async fn ensure_vxlan(&self, name: &str, wanted: &Vxlan, mtu: u32, mac: Mac) -> Result<Link, Error> {
        if let Some(found) = self.link(name).await?
            && (found.vxlan.as_ref() != Some(wanted) || found.mac != Some(mac))
        {
            self.remove_link(name).await?;
        }
        if self.link(name).await?.is_none() {
            let device = LinkVxlan::new(name, wanted.vni)
                .port(wanted.port)
                .local(wanted.local)
                .learning(false)
                .address(mac.0.to_vec())
                .mtu(mtu)
                .up()
                .build();
            self.add(name, device).await?;
        }
        let found = self.existing_link(name).await?;
        if found.mtu != mtu || !found.up {
            let change = LinkUnspec::new_with_index(found.index).mtu(mtu).up().build();
            self.handle.link().set(change).execute().await.map_err(refused(format!("setting up {name}")))?;
        }
        self.existing_link(name).await
    }

    /// A veth pair: `name` here and `peer` in the namespace `netns`, where it is called `peer` from the start.
    pub async fn add_veth(&self, name: &str, peer: &str, mtu: u32, netns: BorrowedFd<'_>) -> Result<Link, Error> {
        // The peer gets a name that cannot clash here, then moves and is renamed there.
        let passing = format!("{name}p");
        self.add(name, LinkVeth::new(name, &passing).mtu(mtu).build()).await?;
        let moved = self.existing_link(&passing).await?;
        let change = LinkUnspec::new_with_index(moved.index).name(peer).mtu(mtu).setns_by_fd(netns.as_raw_fd()).build();
        if let Err(error) = self.handle.link().set(change).execute().await {
            self.remove_link(name).await?;
            return Err(refused(format!("moving {passing} into the namespace as {peer}"))(error));
        }
        self.existing_link(name).await
    }

    /// Makes `port` a port of `bridge`, in hairpin mode: a pod may reach itself through a service address.
    pub async fn attach_to_bridge(&self, port: u32, bridge: u32) -> Result<(), Error> {
        let attach = LinkUnspec::new_with_index(port).controller(bridge).up().build();
        self.handle.link().set(attach).execute().await.map_err(refused("attaching a port to the bridge"))?;
        let hairpin = LinkBridgePort::new(port).hairpin(true).build();
        self.handle.link().set_port(hairpin).execute().await.map_err(refused("setting hairpin mode of a port"))
    }

    /// Gives a link this hardware address; it must be down or allow the change while up, as veth does.
    pub async fn set_mac(&self, name: &str, mac: Mac) -> Result<(), Error> {
        let link = self.existing_link(name).await?;
        let change = LinkUnspec::new_with_index(link.index).address(mac.0.to_vec()).build();
        self.handle.link().set(change).execute().await.map_err(refused(format!("setting the address of {name}")))
    }

    /// Brings a link up.
    pub async fn set_up(&self, index: u32) -> Result<(), Error> {
        let change = LinkUnspec::new_with_index(index).up().build();
        self.handle.link().set(change).execute().await.map_err(refused(format!("bringing link {index} up")))
    }

    /// Removes a link and what hangs on it.
    pub async fn remove_link(&self, name: &str) -> Result<(), Error> {
        let Some(link) = self.link(name).await? else { return Ok(()) };
        match self.handle.link().del(link.index).execute().await {
            Err(error) if errno(&error) != Some(libc::ENODEV) => Err(refused(format!("removing link {name}"))(error)),
            _ => Ok(()),
        }
    }

    /// An address on a link.
    pub async fn ensure_address(&self, index: u32, address: Ipv4Net) -> Result<(), Error> {
        if self.addresses(index).await?.contains(&address) {
            return Ok(());
        }
        let request = self.handle.address().add(index, IpAddr::V4(address.addr()), address.prefix_len());
        match request.execute().await {
            Err(error) if errno(&error) != Some(libc::EEXIST) => {
                Err(refused(format!("adding address {address}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// The IPv4 addresses of a link.
    pub async fn addresses(&self, index: u32) -> Result<Vec<Ipv4Net>, Error> {
        let messages: Vec<_> = self
            .handle
            .address()
            .get()
            .set_link_index_filter(index)
            .execute()
            .try_collect()
            .await
            .map_err(refused("listing addresses"))?;
        let mut found = Vec::new();
        for message in messages {
            // IFA_LOCAL is the address of the host where the link is point to point; else both are equal.
            let local = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            });
            if let Some(Ok(net)) = local.map(|address| Ipv4Net::new(address, message.header.prefix_len)) {
                found.push(net);
            }
        }
        Ok(found)
    }

    async fn add(&self, name: &str, message: LinkMessage) -> Result<(), Error> {
        match self.handle.link().add(message).execute().await {
            Err(error) if errno(&error) != Some(libc::EEXIST) => Err(refused(format!("making link {name}"))(error)),
            _ => Ok(()),
        }
    }
}

fn read_link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        mac: None,
        vxlan: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name.clone(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(address) => link.mac = address.as_slice().try_into().ok().map(Mac),
            LinkAttribute::LinkInfo(infos) => link.vxlan = infos.iter().find_map(read_vxlan),
            _ => {}
        }
    }
    link
}

fn read_vxlan(info: &LinkInfo) -> Option<Vxlan> {
    let LinkInfo::Data(InfoData::Vxlan(attributes)) = info else { return None };
    let (mut vni, mut port, mut local) = (None, None, None);
    for attribute in attributes {
        match attribute {
            InfoVxlan::Id(id) => vni = Some(*id),
            InfoVxlan::Port(number) => port = Some(*number),
            InfoVxlan::Local(address) => local = Some(*address),
            _ => {}
        }
    }
    Some(Vxlan { vni: vni?, port: port?, local: local? })
}
