//! UDP has no connections that end: a flow keeps the endpoint it first had until it is forgotten here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::elements::{Contribution, Map};

/// UDP packets to an address and port; to any address of this host for a node port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// The service's address; `None` for a node port.
    pub address: Option<Ipv4Addr>,
    /// The service's port or node port.
    pub port: u16,
    /// Who answers, with its port; `None` for everyone.
    pub endpoint: Option<(Ipv4Addr, u16)>,
}

/// A service's address, `None` for a node port, and its port.
type Front = (Option<Ipv4Addr>, u16);
/// The endpoints of UDP services; none where packets are refused.
type Served = BTreeMap<Front, BTreeSet<(Ipv4Addr, u16)>>;

fn served(contribution: &Contribution, out: &mut Served) {
    for ((map, key), value) in &contribution.elements {
        let endpoint = match map {
            Map::Endpoints | Map::NodePortEndpoints => parse_endpoint(value),
            Map::Refused | Map::RefusedNodePorts => None,
            _ => continue,
        };
        if let Some(front) = udp_front(key) {
            out.entry(front).or_default().extend(endpoint);
        }
    }
}

fn udp_front(key: &str) -> Option<Front> {
    let parts: Vec<&str> = key.split(" . ").collect();
    let at = parts.iter().position(|part| *part == "udp")?;
    let address = if at == 1 { Some(parts[0].parse().ok()?) } else { None };
    Some((address, parts.get(at + 1)?.parse().ok()?))
}

fn parse_endpoint(value: &str) -> Option<(Ipv4Addr, u16)> {
    let (address, port) = value.split_once(" . ")?;
    Some((address.parse().ok()?, port.parse().ok()?))
}

/// The UDP flows that may go to an endpoint which `new` no longer has, or which went nowhere before.
pub fn stale_flows(old: &Contribution, new: &Contribution) -> Vec<Flow> {
    let (mut before, mut after) = (Served::new(), Served::new());
    served(old, &mut before);
    served(new, &mut after);
    let mut found = Vec::new();
    let none = BTreeSet::new();
    for ((address, port), endpoints) in &before {
        let kept = after.get(&(*address, *port)).unwrap_or(&none);
        let gone = endpoints.difference(kept);
        found.extend(gone.map(|endpoint| Flow { address: *address, port: *port, endpoint: Some(*endpoint) }));
    }
    for ((address, port), endpoints) in after.iter().filter(|(_, endpoints)| !endpoints.is_empty()) {
        if before.get(&(*address, *port)).is_none_or(BTreeSet::is_empty) {
            let nobody = address.map(|address| (address, *port)).filter(|nobody| !endpoints.contains(nobody));
            found.push(Flow { address: *address, port: *port, endpoint: nobody });
        }
    }
    found
}

/// An entry of the kernel's table: how the first packet looked, and how answers to it look.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    source: (Option<Ipv4Addr>, u16),
    destination: (Option<Ipv4Addr>, u16),
    answer_source: (Option<Ipv4Addr>, u16),
    answer_destination: (Option<Ipv4Addr>, u16),
}

/// A line of `conntrack -L`; `None` where it is none of IPv4 with ports.
fn parse_entry(line: &str) -> Option<Entry> {
    let (mut addresses, mut ports) = (Vec::new(), Vec::new());
    for (name, value) in line.split_whitespace().filter_map(|word| word.split_once('=')) {
        match name {
            "src" | "dst" => addresses.push(value.parse().ok()?),
            "sport" | "dport" => ports.push(value.parse().ok()?),
            _ => {}
        }
    }
    let (&[a, b, c, d], &[e, f, g, h]) = (addresses.as_slice(), ports.as_slice()) else { return None };
    Some(Entry {
        source: (Some(a), e),
        destination: (Some(b), f),
        answer_source: (Some(c), g),
        answer_destination: (Some(d), h),
    })
}

/// Whether an entry goes where a service's packets do not go any more.
fn stale(entry: &Entry, services: &Served) -> Option<Flow> {
    let (address, port) = entry.destination;
    let (answer_address, answer_port) = entry.answer_source;
    let endpoint = (answer_address?, answer_port);
    let untouched = entry.answer_source == entry.destination && entry.answer_destination == entry.source;
    for front in [(address, port), (None, port)] {
        let Some(endpoints) = services.get(&front) else { continue };
        // What goes through a service has another destination than it was sent to, but for an endpoint that has the
        // node port itself; what was never touched found no service yet.
        let through = entry.answer_source != entry.destination;
        if endpoints.contains(&endpoint) || !(through || untouched && !endpoints.is_empty()) {
            continue;
        }
        return Some(Flow { address, port, endpoint: Some(endpoint) });
    }
    None
}

/// The flows of the kernel that are stale, given everything that is served: for when it is not known what was before.
/// Empty on a host without `conntrack`.
pub async fn survey<'a>(contributions: impl Iterator<Item = &'a Contribution>) -> Vec<Flow> {
    let mut services = Served::new();
    contributions.for_each(|contribution| served(contribution, &mut services));
    if services.is_empty() {
        return Vec::new();
    }
    let mut command = Command::new("conntrack");
    command.args(["-L", "-p", "udp"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = match command.kill_on_drop(true).spawn() {
        Ok(child) => child,
        Err(error) => {
            missing(&error);
            return Vec::new();
        }
    };
    let mut found = BTreeSet::new();
    if let Some(output) = child.stdout.take() {
        // A table may have hundreds of thousands of entries: what is stale is kept, and the rest is not.
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            found.extend(parse_entry(&line).and_then(|entry| stale(&entry, &services)));
        }
    }
    let _ = child.wait().await;
    found.into_iter().collect()
}

/// What of a line of `conntrack -L` goes where packets of these services do not go any more.
pub fn stale_flow<'a>(line: &str, contributions: impl Iterator<Item = &'a Contribution>) -> Option<Flow> {
    let mut services = Served::new();
    contributions.for_each(|contribution| served(contribution, &mut services));
    stale(&parse_entry(line)?, &services)
}

/// Makes the kernel forget the flows. A host without `conntrack` keeps them until they time out; it is said once.
pub async fn forget(flows: Vec<Flow>) {
    for flow in flows {
        let mut command = Command::new("conntrack");
        command.args(["-D", "-p", "udp", "--orig-port-dst", &flow.port.to_string()]);
        if let Some(address) = flow.address {
            command.args(["--orig-dst", &address.to_string()]);
        }
        if let Some((address, port)) = flow.endpoint {
            command.args(["--reply-src", &address.to_string(), "--reply-port-src", &port.to_string()]);
        }
        // Exit code 1 says that there was no such flow.
        if let Err(error) = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await {
            missing(&error);
        }
    }
}

fn missing(error: &std::io::Error) {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| tracing::warn!(%error, "cannot run conntrack; UDP clients may keep an old endpoint"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(map: Map, key: &str, value: &str) -> ((Map, String), String) {
        ((map, key.to_string()), value.to_string())
    }

    fn of(elements: impl IntoIterator<Item = ((Map, String), String)>) -> Contribution {
        Contribution { elements: elements.into_iter().collect(), ..Contribution::default() }
    }

    fn endpoint(last: u8) -> Option<(Ipv4Addr, u16)> {
        Some((Ipv4Addr::new(10, 42, 1, last), 53))
    }

    #[test]
    fn only_udp_flows_to_endpoints_that_are_gone_are_forgotten() {
        let old = of([
            element(Map::Endpoints, "10.43.0.10 . udp . 53 . 0", "10.42.1.2 . 53"),
            element(Map::Endpoints, "10.43.0.10 . udp . 53 . 1", "10.42.1.3 . 53"),
            element(Map::Endpoints, "10.43.0.10 . tcp . 53 . 0", "10.42.1.2 . 53"),
            element(Map::NodePortEndpoints, "udp . 30053 . 0", "10.42.1.2 . 53"),
            element(Map::Refused, "10.43.0.11 . udp . 53", "goto refuse"),
            element(Map::RefusedNodePorts, "udp . 30054", "goto refuse"),
        ]);
        let new = of([
            // It has another slot now, and nobody is to lose it.
            element(Map::Endpoints, "10.43.0.10 . udp . 53 . 0", "10.42.1.3 . 53"),
            element(Map::Endpoints, "10.43.0.11 . udp . 53 . 0", "10.42.1.4 . 53"),
            element(Map::NodePortEndpoints, "udp . 30054 . 0", "10.42.1.4 . 53"),
        ]);
        let (ten, eleven) = (Ipv4Addr::new(10, 43, 0, 10), Ipv4Addr::new(10, 43, 0, 11));
        let expected = [
            Flow { address: None, port: 30053, endpoint: endpoint(2) },
            Flow { address: Some(ten), port: 53, endpoint: endpoint(2) },
            Flow { address: None, port: 30054, endpoint: None },
            Flow { address: Some(eleven), port: 53, endpoint: Some((eleven, 53)) },
        ];
        assert_eq!(stale_flows(&old, &new), expected);
        assert_eq!(stale_flows(&new, &new), []);
    }

    #[test]
    fn what_the_kernel_has_is_compared_with_what_is_served() {
        let mut services = Served::new();
        served(
            &of([
                element(Map::Endpoints, "10.43.0.10 . udp . 53 . 0", "10.42.1.3 . 53"),
                element(Map::NodePortEndpoints, "udp . 30053 . 0", "10.42.1.3 . 53"),
                element(Map::Refused, "10.43.0.11 . udp . 53", "goto refuse"),
            ]),
            &mut services,
        );
        let line = |to: &str, port: u16, from: &str, answer_port: u16| {
            format!(
                "udp      17 29 src=10.42.1.9 dst={to} sport=4000 dport={port} [UNREPLIED] src={from} dst=10.42.1.9 \
                 sport={answer_port} dport=4000 mark=16384 use=1"
            )
        };
        // Where to, who answers, whether it goes.
        let cases = [
            ("10.43.0.10", 53, "10.42.1.3", 53, false),
            ("10.43.0.10", 53, "10.42.1.2", 53, true),
            // Sent before there was the service.
            ("10.43.0.10", 53, "10.43.0.10", 53, true),
            ("192.0.2.1", 30053, "10.42.1.3", 53, false),
            ("192.0.2.1", 30053, "10.42.1.2", 53, true),
            ("10.43.0.11", 53, "10.42.1.2", 53, true),
            ("10.43.0.11", 53, "10.43.0.11", 53, false),
            // None of ours.
            ("192.0.2.1", 53, "192.0.2.1", 53, false),
            ("10.43.0.10", 54, "10.42.1.2", 54, false),
        ];
        for (to, port, from, answer_port, goes) in cases {
            let text = line(to, port, from, answer_port);
            let entry = parse_entry(&text).unwrap();
            assert_eq!(stale(&entry, &services).is_some(), goes, "{text}");
        }
        let masqueraded = "udp 17 29 src=10.42.1.9 dst=192.0.2.1 sport=1 dport=30053 src=192.0.2.1 dst=192.0.2.9 \
                           sport=30053 dport=1 use=1";
        assert_eq!(stale(&parse_entry(masqueraded).unwrap(), &services), None, "a pod's packets to somebody else");
        assert_eq!(parse_entry("conntrack v1.4.7 (conntrack-tools): 3 flow entries have been shown."), None);
    }
}
