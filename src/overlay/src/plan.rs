//! What must change for this host to reach the pods of the others. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use datapath::mac::Mac;
use datapath::neighbour::{Neighbour, Table};
use datapath::route::Route;
use ipnet::Ipv4Net;

/// Another host of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Where VXLAN packets for it go.
    pub node_address: Ipv4Addr,
    /// The addresses of its pods.
    pub pod_cidr: Ipv4Net,
}

/// What the kernel has on the VXLAN device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Our routes through the device.
    pub routes: Vec<Route>,
    /// Its permanent ARP entries.
    pub arp: Vec<Neighbour>,
    /// Its forwarding entries.
    pub forwarding: Vec<Neighbour>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Add or replace an entry.
    AddNeighbour(Table, Neighbour),
    /// Remove an entry of a host that left.
    RemoveNeighbour(Table, Neighbour),
    /// Add or replace a route.
    AddRoute(Route),
    /// Remove the route to a host that left.
    RemoveRoute(Route),
}

/// The address of a host's VXLAN device: the network address of its pod CIDR, which no pod ever has.
pub fn tunnel_address(pod_cidr: Ipv4Net) -> Ipv4Addr {
    pod_cidr.network()
}

/// The address of a host's pod bridge, the gateway of its pods: the first of its pod CIDR.
pub fn gateway_address(pod_cidr: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(pod_cidr.network().to_bits() + 1)
}

/// The steps from `observed` to reaching exactly `peers` through the VXLAN device `link`.
///
/// Entries come before the routes that use them, and routes go before the entries they used, so that no packet is
/// sent where nobody answers.
pub fn plan(peers: &[Peer], observed: &Observed, link: u32) -> Vec<Step> {
    let mut wanted_arp = BTreeSet::new();
    let mut wanted_forwarding = BTreeSet::new();
    let mut wanted_routes = BTreeSet::new();
    for peer in peers {
        let tunnel = tunnel_address(peer.pod_cidr);
        let mac = Mac::from_ipv4(tunnel);
        wanted_arp.insert(Neighbour { address: tunnel, mac });
        wanted_forwarding.insert(Neighbour { address: peer.node_address, mac });
        wanted_routes.insert(Route { destination: peer.pod_cidr.trunc(), gateway: Some(tunnel), link });
    }
    let mut steps = Vec::new();
    let kept: BTreeSet<_> = wanted_routes.iter().map(|route| route.destination).collect();
    let stale_routes = observed.routes.iter().filter(|route| !kept.contains(&route.destination));
    steps.extend(stale_routes.map(|route| Step::RemoveRoute(*route)));
    for (table, wanted, found) in
        [(Table::Arp, &wanted_arp, &observed.arp), (Table::Forwarding, &wanted_forwarding, &observed.forwarding)]
    {
        let found: BTreeSet<_> = found.iter().copied().collect();
        steps.extend(found.difference(wanted).map(|entry| Step::RemoveNeighbour(table, *entry)));
        steps.extend(wanted.difference(&found).map(|entry| Step::AddNeighbour(table, *entry)));
    }
    let found: BTreeSet<_> = observed.routes.iter().copied().collect();
    steps.extend(wanted_routes.difference(&found).map(|route| Step::AddRoute(*route)));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(node: &str, cidr: &str) -> Peer {
        Peer { node_address: node.parse().unwrap(), pod_cidr: cidr.parse().unwrap() }
    }

    /// What the kernel holds once the steps have been carried out.
    fn carry_out(steps: &[Step], mut state: Observed) -> Observed {
        for step in steps {
            match step {
                Step::AddRoute(route) => {
                    state.routes.retain(|found| found.destination != route.destination);
                    state.routes.push(*route);
                }
                Step::RemoveRoute(route) => state.routes.retain(|found| found != route),
                Step::AddNeighbour(Table::Arp, entry) => state.arp.push(*entry),
                Step::AddNeighbour(Table::Forwarding, entry) => state.forwarding.push(*entry),
                Step::RemoveNeighbour(Table::Arp, entry) => state.arp.retain(|found| found != entry),
                Step::RemoveNeighbour(Table::Forwarding, entry) => state.forwarding.retain(|found| found != entry),
            }
        }
        state
    }

    #[test]
    fn a_new_peer_gets_both_entries_before_its_route() {
        let steps = plan(&[peer("10.0.0.2", "10.42.1.0/24")], &Observed::default(), 7);
        assert_eq!(steps.len(), 3);
        assert!(
            matches!(steps[0], Step::AddNeighbour(Table::Arp, entry) if entry.address == Ipv4Addr::new(10, 42, 1, 0))
        );
        assert!(
            matches!(steps[1], Step::AddNeighbour(Table::Forwarding, entry) if entry.address == Ipv4Addr::new(10, 0, 0, 2))
        );
        assert!(matches!(steps[2], Step::AddRoute(route) if route.link == 7));
    }

    #[test]
    fn nothing_is_done_twice_and_a_peer_that_left_leaves_nothing() {
        let peers = [peer("10.0.0.2", "10.42.1.0/24"), peer("10.0.0.3", "10.42.2.0/24")];
        let state = carry_out(&plan(&peers, &Observed::default(), 7), Observed::default());
        assert_eq!(plan(&peers, &state, 7), []);
        let state = carry_out(&plan(&peers[..1], &state, 7), state);
        assert_eq!(plan(&peers[..1], &state, 7), []);
        assert_eq!((state.routes.len(), state.arp.len(), state.forwarding.len()), (1, 1, 1));
    }

    #[test]
    fn a_peer_with_a_new_address_only_moves_its_forwarding_entry() {
        let before = [peer("10.0.0.2", "10.42.1.0/24")];
        let state = carry_out(&plan(&before, &Observed::default(), 7), Observed::default());
        let steps = plan(&[peer("10.0.0.9", "10.42.1.0/24")], &state, 7);
        assert_eq!(steps.len(), 2);
        assert!(matches!(steps[0], Step::RemoveNeighbour(Table::Forwarding, _)));
        assert!(matches!(steps[1], Step::AddNeighbour(Table::Forwarding, _)));
    }

    #[test]
    fn a_device_made_anew_gets_its_routes_again() {
        let peers = [peer("10.0.0.2", "10.42.1.0/24")];
        let state = carry_out(&plan(&peers, &Observed::default(), 7), Observed::default());
        let steps = plan(&peers, &Observed { routes: state.routes, ..Observed::default() }, 8);
        assert!(steps.contains(&Step::AddRoute(Route {
            destination: "10.42.1.0/24".parse().unwrap(),
            gateway: Some(Ipv4Addr::new(10, 42, 1, 0)),
            link: 8
        })));
    }
}
