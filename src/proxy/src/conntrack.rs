//! UDP has no connections that end: a flow keeps the endpoint it first had until it is forgotten here.

use std::net::Ipv4Addr;
use std::process::Stdio;

use tokio::process::Command;

use crate::elements::{Contribution, Map};

/// UDP packets to an address and port; to any address of this host for a node port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The service's address; `None` for a node port.
    pub address: Option<Ipv4Addr>,
    /// The service's port or node port.
    pub port: u16,
}

/// The UDP flows that may go to an endpoint which `new` no longer has, or which went nowhere before.
pub fn stale_flows(old: &Contribution, new: &Contribution) -> Vec<Flow> {
    let mut found = Vec::new();
    for ((map, key), value) in &old.elements {
        let affected = matches!(map, Map::Endpoints | Map::NodePortEndpoints | Map::Refused | Map::RefusedNodePorts);
        let changed = new.elements.get(&(*map, key.clone())) != Some(value);
        if let (true, true, Some(flow)) = (affected, changed, udp_flow(key))
            && !found.contains(&flow)
        {
            found.push(flow);
        }
    }
    found
}

fn udp_flow(key: &str) -> Option<Flow> {
    let parts: Vec<&str> = key.split(" . ").collect();
    let at = parts.iter().position(|part| *part == "udp")?;
    let address = if at == 1 { Some(parts[0].parse().ok()?) } else { None };
    Some(Flow { address, port: parts.get(at + 1)?.parse().ok()? })
}

/// Makes the kernel forget the flows. A host without `conntrack` keeps them until they time out; it is said once.
pub async fn forget(flows: Vec<Flow>) {
    for flow in flows {
        let mut command = Command::new("conntrack");
        command.args(["-D", "-p", "udp", "--orig-port-dst", &flow.port.to_string()]);
        if let Some(address) = flow.address {
            command.args(["--orig-dst", &address.to_string()]);
        }
        // Exit code 1 says that there was no such flow.
        if let Err(error) = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await {
            static SAID: std::sync::Once = std::sync::Once::new();
            SAID.call_once(|| tracing::warn!(%error, "cannot run conntrack; UDP clients may keep an old endpoint"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_udp_flows_of_endpoints_that_changed_are_forgotten() {
        let element = |map, key: &str, value: &str| ((map, key.to_string()), value.to_string());
        let old = Contribution {
            elements: [
                element(Map::Endpoints, "10.43.0.10 . udp . 53 . 0", "10.42.1.2 . 53"),
                element(Map::Endpoints, "10.43.0.10 . tcp . 53 . 0", "10.42.1.2 . 53"),
                element(Map::NodePortEndpoints, "udp . 30053 . 0", "10.42.1.2 . 53"),
                element(Map::Endpoints, "10.43.0.11 . udp . 53 . 0", "10.42.1.3 . 53"),
            ]
            .into(),
            ..Contribution::default()
        };
        let mut new = Contribution::default();
        new.elements.extend([element(Map::Endpoints, "10.43.0.11 . udp . 53 . 0", "10.42.1.3 . 53")]);
        let flows = stale_flows(&old, &new);
        let expected =
            [Flow { address: Some(Ipv4Addr::new(10, 43, 0, 10)), port: 53 }, Flow { address: None, port: 30053 }];
        assert_eq!(flows, expected);
    }
}
