//! IPv4 routes of the main table.

use std::net::Ipv4Addr;

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol};

use crate::netlink::refused;
use crate::{Error, Netlink, errno};

/// The routing protocol number that marks routes as ours (`ip route show proto 142`).
pub const PROTOCOL: u8 = 142;

/// A route to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// Where to.
    pub destination: Ipv4Net,
    /// The next hop; `None` where the destination is on the link itself.
    pub gateway: Option<Ipv4Addr>,
    /// The number of the outgoing link.
    pub link: u32,
}

impl Netlink {
    /// Our routes that leave through a link.
    pub async fn our_routes(&self, link: u32) -> Result<Vec<Route>, Error> {
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let messages: Vec<RouteMessage> =
            self.handle.route().get(all).execute().try_collect().await.map_err(refused("listing routes"))?;
        let ours = messages.iter().filter(|message| u8::from(message.header.protocol) == PROTOCOL);
        Ok(ours.filter_map(read_route).filter(|route| route.link == link).collect())
    }

    /// A route, replacing any other of ours to the same destination. A gateway need not be reachable otherwise.
    pub async fn ensure_route(&self, route: Route) -> Result<(), Error> {
        let message = message(route);
        let request = self.handle.route().add(message).replace();
        request.execute().await.map_err(refused(format!("adding a route to {}", route.destination)))
    }

    /// A default route through `gateway`.
    pub async fn ensure_default_route(&self, gateway: Ipv4Addr, link: u32) -> Result<(), Error> {
        let everything = Ipv4Net::default();
        self.ensure_route(Route { destination: everything, gateway: Some(gateway), link }).await
    }

    /// Removes a route of ours.
    pub async fn remove_route(&self, route: Route) -> Result<(), Error> {
        match self.handle.route().del(message(route)).execute().await {
            Err(error) if errno(&error) != Some(libc::ESRCH) => {
                Err(refused(format!("removing the route to {}", route.destination))(error))
            }
            _ => Ok(()),
        }
    }
}

fn message(route: Route) -> RouteMessage {
    let mut builder = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(route.destination.network(), route.destination.prefix_len())
        .output_interface(route.link)
        .protocol(RouteProtocol::Other(PROTOCOL));
    builder = match route.gateway {
        Some(gateway) => builder.gateway(gateway).onlink(),
        None => builder,
    };
    builder.build()
}

fn read_route(message: &RouteMessage) -> Option<Route> {
    let (mut destination, mut gateway, mut link) = (Ipv4Addr::UNSPECIFIED, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => destination = *address,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(*address),
            RouteAttribute::Oif(index) => link = Some(*index),
            _ => {}
        }
    }
    let destination = Ipv4Net::new(destination, message.header.destination_prefix_length).ok()?;
    Some(Route { destination, gateway, link: link? })
}
