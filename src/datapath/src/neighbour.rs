//! Permanent neighbour entries: who has an address (ARP), and where a hardware address is (forwarding).

use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use crate::mac::Mac;
use crate::netlink::refused;
use crate::{Error, Netlink, errno};

/// A permanent entry of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Neighbour {
    /// The address: of the neighbour (ARP) or of the host to send to (forwarding).
    pub address: Ipv4Addr,
    /// The neighbour's hardware address.
    pub mac: Mac,
}

/// Which of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// IPv4 neighbours: address to hardware address.
    Arp,
    /// The forwarding database of a VXLAN device: hardware address to remote host.
    Forwarding,
}

impl Netlink {
    /// The permanent entries of a link.
    pub async fn neighbours(&self, table: Table, link: u32) -> Result<Vec<Neighbour>, Error> {
        let family = family(table);
        let mut request = self.handle.neighbours().get().set_address_family(family);
        request.message_mut().header.ifindex = link;
        let messages: Vec<NeighbourMessage> =
            request.execute().try_collect().await.map_err(refused("listing neighbours"))?;
        let of_link = messages
            .iter()
            .filter(|message| message.header.ifindex == link && message.header.family == family)
            .filter(|message| message.header.state == NeighbourState::Permanent);
        Ok(of_link.filter_map(read_neighbour).collect())
    }

    /// A permanent entry, replacing another of the same key.
    pub async fn ensure_neighbour(&self, table: Table, link: u32, entry: Neighbour) -> Result<(), Error> {
        let neighbours = self.handle.neighbours();
        let request = match table {
            Table::Arp => neighbours.add(link, IpAddr::V4(entry.address)).link_layer_address(&entry.mac.0),
            Table::Forwarding => neighbours
                .add_bridge(link, &entry.mac.0)
                .destination(IpAddr::V4(entry.address))
                .flags(NeighbourFlags::Own),
        };
        request
            .replace()
            .execute()
            .await
            .map_err(refused(format!("adding neighbour {} at {}", entry.mac, entry.address)))
    }

    /// Removes an entry.
    pub async fn remove_neighbour(&self, table: Table, link: u32, entry: Neighbour) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(table);
        message.header.ifindex = link;
        message.header.state = NeighbourState::Permanent;
        if table == Table::Forwarding {
            message.header.flags = NeighbourFlags::Own;
        }
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(entry.mac.0.to_vec()));
        message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(entry.address)));
        match self.handle.neighbours().del(message).execute().await {
            Err(error) if errno(&error) != Some(libc::ENOENT) => {
                Err(refused(format!("removing neighbour {}", entry.mac))(error))
            }
            _ => Ok(()),
        }
    }
}

fn family(table: Table) -> AddressFamily {
    match table {
        Table::Arp => AddressFamily::Inet,
        Table::Forwarding => AddressFamily::Bridge,
    }
}

fn read_neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => address = Some(*found),
            // In the forwarding table the family is that of bridges, and the address comes as plain bytes.
            NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
                address = <[u8; 4]>::try_from(bytes.as_slice()).ok().map(Ipv4Addr::from);
            }
            NeighbourAttribute::LinkLayerAddress(found) => mac = found.as_slice().try_into().ok().map(Mac),
            _ => {}
        }
    }
    Some(Neighbour { address: address?, mac: mac? })
}
