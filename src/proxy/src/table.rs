//! The table as nft text: its fixed part, and the batch that leads from one content to another. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ipnet::Ipv4Net;

use crate::elements::{Chain, Contribution, Map, OUTSIDE};

/// The nftables table of services.
pub const TABLE: &str = "rkctl-services";

/// The connection came through a service.
const THROUGH_SERVICE: &str = "0x4000";
/// Both bits: through a service, and its client's address is kept.
const BOTH_BITS: &str = "0xc000";
/// The client's address is kept.
const KEEPS_CLIENT: &str = "0x8000";
/// Clients whose endpoint is remembered, for services and for node ports each; beyond it they go anywhere.
const CLIENTS_MAX: usize = 262_144;

/// The maps and sets whose elements are a content's; who went where is the kernel's own to keep.
const MAPS: [Map; 12] = [
    Map::Services,
    Map::NodePorts,
    Map::OutsideServices,
    Map::OutsideNodePorts,
    Map::Endpoints,
    Map::NodePortEndpoints,
    Map::Slots,
    Map::NodePortSlots,
    Map::Refused,
    Map::RefusedNodePorts,
    Map::Hairpin,
    Map::ClusterIps,
];

impl Map {
    fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::NodePorts => "node-ports",
            Self::OutsideServices => "outside-services",
            Self::OutsideNodePorts => "outside-node-ports",
            Self::Endpoints => "endpoints",
            Self::NodePortEndpoints => "node-port-endpoints",
            Self::Slots => "slots",
            Self::NodePortSlots => "node-port-slots",
            Self::Refused => "refused",
            Self::RefusedNodePorts => "refused-node-ports",
            Self::Hairpin => "hairpin",
            Self::ClusterIps => "cluster-ips",
        }
    }

    /// As nft declares it.
    fn declaration(self) -> String {
        let front = "ipv4_addr . inet_proto . inet_service";
        let port = "inet_proto . inet_service";
        let type_ = match self {
            Self::Services | Self::OutsideServices | Self::Refused => format!("{front} : verdict"),
            Self::NodePorts | Self::OutsideNodePorts | Self::RefusedNodePorts => format!("{port} : verdict"),
            Self::Endpoints => format!("{front} . mark : ipv4_addr . inet_service"),
            Self::NodePortEndpoints => format!("{port} . mark : ipv4_addr . inet_service"),
            Self::Slots => format!("{front} . mark : mark"),
            Self::NodePortSlots => format!("{port} . mark : mark"),
            Self::ClusterIps => return format!("set {} {{ type ipv4_addr; }}", self.name()),
            Self::Hairpin => return format!("set {} {{ type ipv4_addr . ipv4_addr; }}", self.name()),
        };
        format!("map {} {{ type {type_}; }}", self.name())
    }
}

/// A service that put elements in. Where two have the same address and port, the older one has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// When the service was made, in seconds since 1970.
    pub created_s: i64,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What the table holds: for each element who put it in, and with which value; that of the first owner is the
/// kernel's. When it goes, the next one's takes its place.
#[derive(Debug, Clone, Default)]
pub struct Content {
    elements: BTreeMap<(Map, String), BTreeMap<Owner, String>>,
    chains: BTreeSet<Chain>,
}

/// The table with nothing in it, for the start, followed by a batch from empty content. What a former run left is
/// taken away but for the memory of which client goes where.
///
/// `pods` are the addresses of all pods: their packets keep their source, everyone else's is replaced by the host's
/// so that answers come back through it.
pub fn skeleton(pods: Ipv4Net) -> String {
    let mut text = format!("add table ip {TABLE}\nflush table ip {TABLE}\ntable ip {TABLE} {{\n");
    for map in MAPS {
        let _ = writeln!(text, "  {}", map.declaration());
    }
    let memory = format!("size {CLIENTS_MAX}; flags dynamic,timeout;");
    let _ = write!(
        text,
        "  map affinity {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service : mark; {memory} }}\n\
         \x20 map node-port-affinity {{ type ipv4_addr . inet_proto . inet_service : mark; {memory} }}\n\
         \x20 chain refuse {{\n    meta l4proto tcp reject with tcp reset\n    reject\n  }}\n\
         \x20 chain outside {{\n\
         \x20   ip daddr . meta l4proto . th dport vmap @outside-services\n\
         \x20   fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @outside-node-ports\n  }}\n\
         \x20 chain dispatch {{\n\
         \x20   ip saddr != {pods} fib saddr type != local jump outside\n\
         \x20   ip daddr . meta l4proto . th dport vmap @services\n\
         \x20   fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @node-ports\n  }}\n\
         \x20 chain no-endpoints {{\n\
         \x20   ip daddr . meta l4proto . th dport vmap @refused\n\
         \x20   fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @refused-node-ports\n\
         \x20   ip daddr @cluster-ips goto refuse\n  }}\n\
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
    );
    for map in MAPS {
        let kind = if matches!(map, Map::Hairpin | Map::ClusterIps) { "set" } else { "map" };
        let _ = writeln!(text, "flush {kind} ip {TABLE} {}", map.name());
    }
    text
}

/// Takes the whole table away, in front of [`skeleton`]: for one that another version made otherwise.
pub fn removal() -> String {
    format!("add table ip {TABLE}\ndelete table ip {TABLE}\n")
}

impl Content {
    /// The batch that takes the table from holding `old` of a service to holding `new` of it, and this content with
    /// it. Empty where nothing changes.
    pub fn transition(&mut self, owner: &Owner, old: &Contribution, new: &Contribution) -> String {
        let mut batch = String::new();
        for chain in new.chains.difference(&self.chains.clone()) {
            write_chain(&mut batch, chain);
            self.chains.insert(*chain);
        }
        let keys: BTreeSet<_> = old.elements.keys().chain(new.elements.keys()).collect();
        for key in keys.into_iter().filter(|key| old.elements.get(*key) != new.elements.get(*key)) {
            self.set(&mut batch, owner, key, new.elements.get(key));
        }
        batch
    }

    fn set(&mut self, batch: &mut String, owner: &Owner, key: &(Map, String), value: Option<&String>) {
        let owners = self.elements.entry(key.clone()).or_default();
        let before = owners.values().next().cloned();
        match value {
            Some(value) => owners.insert(owner.clone(), value.clone()),
            None => owners.remove(owner),
        };
        let after = owners.values().next().cloned();
        if owners.is_empty() {
            self.elements.remove(key);
        }
        if before == after {
            return;
        }
        for (verb, value) in [("delete", before), ("add", after)] {
            if let Some(value) = value {
                let _ =
                    writeln!(batch, "{verb} element ip {TABLE} {} {{ {} }}", key.0.name(), assignment(&key.1, &value));
            }
        }
    }
}

fn assignment(key: &str, value: &str) -> String {
    if value.is_empty() { key.to_string() } else { format!("{key} : {value}") }
}

fn write_chain(batch: &mut String, chain: &Chain) {
    let (key, endpoints, slots) = if chain.node_port {
        ("meta l4proto . th dport", Map::NodePortEndpoints, Map::NodePortSlots)
    } else {
        ("ip daddr . meta l4proto . th dport", Map::Endpoints, Map::Slots)
    };
    let mark = if chain.outside { KEEPS_CLIENT } else { THROUGH_SERVICE };
    let offset = if chain.outside { format!(" offset {OUTSIDE}") } else { String::new() };
    let slot = format!("meta mark set numgen random mod {}{offset}", chain.count);
    // nft takes a number in a key only as a packet mark; the mark is put back right after.
    let send = format!("dnat ip to {key} . meta mark map @{}", endpoints.name());
    let mut rules = vec![format!("ct mark set ct mark or {mark}")];
    match chain.sticky_s {
        None => rules.extend([slot, send]),
        Some(seconds) => {
            let memory = if chain.node_port { "node-port-affinity" } else { "affinity" };
            let client = format!("ip saddr . {key}");
            let remember = format!("update @{memory} {{ {client} timeout {seconds}s : meta mark }}");
            rules.extend([
                "meta mark set 0".to_string(),
                format!("meta mark set {client} map @{memory}"),
                // Each connection lengthens the stay. An endpoint that is gone is in no map, and forgotten below: an
                // update leaves the number that is there.
                format!("meta mark != 0 {remember}"),
                send.clone(),
                format!("meta mark != 0 delete @{memory} {{ {client} : meta mark }}"),
                slot,
                format!("meta mark set {key} . meta mark map @{}", slots.name()),
                remember,
                send,
            ]);
        }
    }
    let name = chain.name();
    let _ = writeln!(batch, "add chain ip {TABLE} {name}");
    for rule in rules {
        let _ = writeln!(batch, "add rule ip {TABLE} {name} {rule}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contribution(elements: &[(Map, &str, &str)]) -> Contribution {
        let elements = elements.iter().map(|(map, key, value)| ((*map, key.to_string()), value.to_string()));
        Contribution { elements: elements.collect(), chains: BTreeSet::new() }
    }

    fn owner(name: &str, created_s: i64) -> Owner {
        Owner { created_s, namespace: "default".into(), name: name.into() }
    }

    /// The elements that the kernel has after these batches.
    fn carry_out(batches: &[String]) -> BTreeMap<String, String> {
        let mut held = BTreeMap::new();
        for line in batches.iter().flat_map(|batch| batch.lines()) {
            let words: Vec<&str> = line.splitn(6, ' ').collect();
            let inside = words[5].trim_start_matches('{').trim_end_matches('}').trim();
            let (key, value) = inside.rsplit_once(" : ").unwrap_or((inside, ""));
            let key = format!("{} {key}", words[4]);
            match words[0] {
                "add" => assert_eq!(held.insert(key, value.to_string()), None, "nft would refuse: {line}"),
                _ => assert!(held.remove(&key).is_some(), "nft would refuse: {line}"),
            }
        }
        held
    }

    #[test]
    fn a_change_costs_what_changed() {
        let mut content = Content::default();
        let old = contribution(&[(Map::Endpoints, "a . 0", "x"), (Map::Endpoints, "a . 1", "y")]);
        let web = owner("web", 1);
        content.transition(&web, &Contribution::default(), &old);
        let new = contribution(&[(Map::Endpoints, "a . 0", "x"), (Map::Endpoints, "a . 1", "z")]);
        let batch = content.transition(&web, &old, &new);
        assert_eq!(
            batch,
            "delete element ip rkctl-services endpoints { a . 1 : y }\nadd element ip rkctl-services endpoints { a . 1 : z }\n"
        );
        assert_eq!(content.transition(&web, &new, &new), "");
    }

    #[test]
    fn a_shared_element_goes_with_its_last_user() {
        let mut content = Content::default();
        let hairpin = contribution(&[(Map::Hairpin, "a . a", "")]);
        let none = Contribution::default();
        let (one, other) = (owner("one", 1), owner("other", 2));
        assert!(!content.transition(&one, &none, &hairpin).is_empty());
        assert!(content.transition(&other, &none, &hairpin).is_empty());
        assert!(content.transition(&one, &hairpin, &none).is_empty());
        assert_eq!(content.transition(&other, &hairpin, &none), "delete element ip rkctl-services hairpin { a . a }\n");
    }

    #[test]
    fn of_two_services_with_one_address_the_older_has_it_and_the_other_after_it() {
        let none = Contribution::default();
        let first = contribution(&[
            (Map::Services, "a", "goto sn2"),
            (Map::Endpoints, "a . 0", "x"),
            (Map::Endpoints, "a . 1", "y"),
        ]);
        let second = contribution(&[(Map::Services, "a", "goto sn1"), (Map::Endpoints, "a . 0", "z")]);
        let (old, new) = (owner("old", 1), owner("new", 2));
        let held = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
        };
        let of_first = held(&[("services a", "goto sn2"), ("endpoints a . 0", "x"), ("endpoints a . 1", "y")]);
        let of_second = held(&[("services a", "goto sn1"), ("endpoints a . 0", "z")]);
        // A service that takes the address of another while that is deleted: the two come in either order.
        for second_first in [false, true] {
            let mut content = Content::default();
            let mut batches = vec![content.transition(&old, &none, &first)];
            if second_first {
                batches.push(content.transition(&new, &none, &second));
                assert_eq!(carry_out(&batches), of_first, "the older one has it");
                batches.push(content.transition(&old, &first, &none));
            } else {
                batches.push(content.transition(&old, &first, &none));
                batches.push(content.transition(&new, &none, &second));
            }
            assert_eq!(carry_out(&batches), of_second, "the one that is left has its own endpoints");
        }
        // A change of the one that has the address is seen although there is another.
        let mut content = Content::default();
        let mut batches = vec![content.transition(&new, &none, &second), content.transition(&old, &none, &first)];
        assert_eq!(carry_out(&batches), of_first, "whichever came first");
        let fewer = contribution(&[(Map::Services, "a", "goto sn1"), (Map::Endpoints, "a . 0", "y")]);
        batches.push(content.transition(&old, &first, &fewer));
        assert_eq!(carry_out(&batches), held(&[("services a", "goto sn1"), ("endpoints a . 0", "y")]));
    }
}
