//! The table as nft text: its fixed part, and the batch that leads from one content to another. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ipnet::Ipv4Net;

use crate::elements::{Chain, Contribution, Map};

/// The nftables table of services.
pub const TABLE: &str = "rkctl-services";

/// The connection came through a service.
const THROUGH_SERVICE: &str = "0x4000";
/// Both bits: through a service, and its client's address is kept.
const BOTH_BITS: &str = "0xc000";
/// The client's address is kept.
const KEEPS_CLIENT: &str = "0x8000";

impl Map {
    fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::NodePorts => "node-ports",
            Self::Endpoints => "endpoints",
            Self::NodePortEndpoints => "node-port-endpoints",
            Self::Refused => "refused",
            Self::RefusedNodePorts => "refused-node-ports",
            Self::Hairpin => "hairpin",
        }
    }
}

/// What the table holds: how many services put an element in, and its value. Two services may share a hairpin
/// element; the element goes with the last of them.
#[derive(Debug, Clone, Default)]
pub struct Content {
    elements: BTreeMap<(Map, String), (usize, String)>,
    chains: BTreeSet<Chain>,
}

/// The table with nothing in it, replacing what was there: for the start, followed by a batch from empty content.
///
/// `pods` are the addresses of all pods: their packets keep their source, everyone else's is replaced by the host's
/// so that answers come back through it.
pub fn skeleton(pods: Ipv4Net) -> String {
    format!(
        "add table ip {TABLE}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n\
         \x20 map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}\n\
         \x20 map node-ports {{ type inet_proto . inet_service : verdict; }}\n\
         \x20 map refused {{ type ipv4_addr . inet_proto . inet_service : verdict; }}\n\
         \x20 map refused-node-ports {{ type inet_proto . inet_service : verdict; }}\n\
         \x20 map endpoints {{ type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service; }}\n\
         \x20 map node-port-endpoints {{ type inet_proto . inet_service . mark : ipv4_addr . inet_service; }}\n\
         \x20 set hairpin {{ type ipv4_addr . ipv4_addr; }}\n\
         \x20 chain refuse {{\n    meta l4proto tcp reject with tcp reset\n    reject\n  }}\n\
         \x20 chain dispatch {{\n\
         \x20   ip daddr . meta l4proto . th dport vmap @services\n\
         \x20   fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @node-ports\n  }}\n\
         \x20 chain no-endpoints {{\n\
         \x20   ip daddr . meta l4proto . th dport vmap @refused\n\
         \x20   fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @refused-node-ports\n  }}\n\
         \x20 chain prerouting {{\n    type nat hook prerouting priority dstnat; policy accept;\n    jump dispatch\n  }}\n\
         \x20 chain output {{\n    type nat hook output priority -100; policy accept;\n    jump dispatch\n  }}\n\
         \x20 chain after-prerouting {{\n    type filter hook prerouting priority -99; policy accept;\n    jump forget-slot\n  }}\n\
         \x20 chain after-output {{\n    type filter hook output priority -99; policy accept;\n    jump forget-slot\n  }}\n\
         \x20 chain forget-slot {{\n    ct state new ct mark and {BOTH_BITS} != 0 meta mark set 0\n  }}\n\
         \x20 chain postrouting {{\n    type nat hook postrouting priority srcnat; policy accept;\n\
         \x20   ct mark and {THROUGH_SERVICE} == {THROUGH_SERVICE} ip saddr . ip daddr @hairpin masquerade\n\
         \x20   ct mark and {BOTH_BITS} == {THROUGH_SERVICE} ip saddr != {pods} masquerade\n  }}\n\
         \x20 chain filter-input {{\n    type filter hook input priority filter; policy accept;\n    ct state new jump no-endpoints\n  }}\n\
         \x20 chain filter-forward {{\n    type filter hook forward priority filter; policy accept;\n    ct state new jump no-endpoints\n  }}\n\
         \x20 chain filter-output {{\n    type filter hook output priority filter; policy accept;\n    ct state new jump no-endpoints\n  }}\n}}\n"
    )
}

impl Content {
    /// The batch that takes the table from holding `old` of one service to holding `new` of it, and this content
    /// with it. Empty where nothing changes.
    pub fn transition(&mut self, old: &Contribution, new: &Contribution) -> String {
        let mut batch = String::new();
        for chain in new.chains.difference(&self.chains.clone()) {
            write_chain(&mut batch, chain);
            self.chains.insert(*chain);
        }
        for (key, value) in &old.elements {
            if new.elements.get(key) != Some(value) {
                self.drop_element(&mut batch, key);
            }
        }
        for (key, value) in &new.elements {
            if old.elements.get(key) != Some(value) {
                self.add_element(&mut batch, key, value);
            }
        }
        batch
    }

    fn drop_element(&mut self, batch: &mut String, key: &(Map, String)) {
        let Some((users, value)) = self.elements.get_mut(key) else { return };
        *users -= 1;
        if *users == 0 {
            let _ = writeln!(batch, "delete element ip {TABLE} {} {{ {} }}", key.0.name(), assignment(&key.1, value));
            self.elements.remove(key);
        }
    }

    fn add_element(&mut self, batch: &mut String, key: &(Map, String), value: &str) {
        match self.elements.get_mut(key) {
            // The same address in two services: the first keeps it, as with kube-proxy.
            Some((users, _)) => *users += 1,
            None => {
                let _ = writeln!(batch, "add element ip {TABLE} {} {{ {} }}", key.0.name(), assignment(&key.1, value));
                self.elements.insert(key.clone(), (1, value.to_string()));
            }
        }
    }
}

fn assignment(key: &str, value: &str) -> String {
    if value.is_empty() { key.to_string() } else { format!("{key} : {value}") }
}

fn write_chain(batch: &mut String, chain: &Chain) {
    let name = chain.name();
    let count = chain.count;
    let choice =
        if chain.sticky { format!("jhash ip saddr mod {count}") } else { format!("numgen random mod {count}") };
    let (key, map) = if chain.node_port {
        ("meta l4proto . th dport", Map::NodePortEndpoints)
    } else {
        ("ip daddr . meta l4proto . th dport", Map::Endpoints)
    };
    let mark = if chain.keeps_client { KEEPS_CLIENT } else { THROUGH_SERVICE };
    let _ = writeln!(batch, "add chain ip {TABLE} {name}");
    let _ = writeln!(batch, "add rule ip {TABLE} {name} ct mark set ct mark or {mark}");
    // nft takes the number of the slot in a key only as a packet mark; the mark is put back right after.
    let _ = writeln!(batch, "add rule ip {TABLE} {name} meta mark set {choice}");
    let _ = writeln!(batch, "add rule ip {TABLE} {name} dnat ip to {key} . meta mark map @{}", map.name());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contribution(elements: &[(Map, &str, &str)]) -> Contribution {
        let elements = elements.iter().map(|(map, key, value)| ((*map, key.to_string()), value.to_string()));
        Contribution { elements: elements.collect(), chains: BTreeSet::new() }
    }

    #[test]
    fn a_change_costs_what_changed() {
        let mut content = Content::default();
        let old = contribution(&[(Map::Endpoints, "a . 0", "x"), (Map::Endpoints, "a . 1", "y")]);
        content.transition(&Contribution::default(), &old);
        let new = contribution(&[(Map::Endpoints, "a . 0", "x"), (Map::Endpoints, "a . 1", "z")]);
        let batch = content.transition(&old, &new);
        assert_eq!(
            batch,
            "delete element ip rkctl-services endpoints { a . 1 : y }\nadd element ip rkctl-services endpoints { a . 1 : z }\n"
        );
        assert_eq!(content.transition(&new, &new), "");
    }

    #[test]
    fn a_shared_element_goes_with_its_last_user() {
        let mut content = Content::default();
        let hairpin = contribution(&[(Map::Hairpin, "a . a", "")]);
        let none = Contribution::default();
        assert!(!content.transition(&none, &hairpin).is_empty());
        assert!(content.transition(&none, &hairpin).is_empty());
        assert!(content.transition(&hairpin, &none).is_empty());
        assert_eq!(content.transition(&hairpin, &none), "delete element ip rkctl-services hairpin { a . a }\n");
    }
}
