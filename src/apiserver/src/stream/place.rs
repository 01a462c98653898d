//! Where streams lead to: the address of a node's agent, a pod, or one of a service's endpoints. Pure, except for
//! reading the objects.

use std::net::{IpAddr, SocketAddr};

use machinery::meta;
use serde_json::Value;

use crate::state::State;
use crate::status::{Result, Status};
use crate::storage;

/// Where agents listen unless their node says otherwise.
const AGENT_PORT: u16 = 10250;

/// Reads an object of the core group.
///
/// # Errors
/// 404.
pub async fn read(state: &State, plural: &str, namespace: &str, name: &str) -> Result<Value> {
    let resource = api::registry().get("", "v1", plural).ok_or_else(Status::no_such_resource)?;
    let found = storage::read(state.store.as_ref(), &storage::key(resource, namespace, name)).await?;
    found.ok_or_else(|| Status::not_found(&resource.group_resource(), name))
}

/// The address of a node's agent.
///
/// # Errors
/// 404 for the node, 503 where it has no address.
pub async fn agent(state: &State, node: &str) -> Result<SocketAddr> {
    let node = read(state, "nodes", "", node).await?;
    agent_of(&node).ok_or_else(|| Status::unavailable(format!("node {} has no address", meta::name(&node))))
}

/// The internal address comes first, then whatever is an address.
pub fn agent_of(node: &Value) -> Option<SocketAddr> {
    let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0).unwrap_or(AGENT_PORT);
    let addresses = node["status"]["addresses"].as_array()?;
    let of_type = |wanted: &str| {
        let mut found = addresses.iter().filter(|address| meta::text_at(address, &["type"]) == wanted);
        found.find_map(|address| meta::text_at(address, &["address"]).parse::<IpAddr>().ok())
    };
    let ip = ["InternalIP", "ExternalIP", "Hostname"].into_iter().find_map(of_type)?;
    Some(SocketAddr::new(ip, port))
}

/// Whether a proxied request may go to an address. Those of the host itself and of its links are what nobody but the
/// host reaches, and who writes the status of a node or pod would choose among them.
pub fn is_proxyable(ip: IpAddr) -> bool {
    let local = match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let ip = ip.to_canonical();
    !(local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

/// The parts of `[scheme:]name[:port]` in a proxy's path.
#[derive(Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// `http`, `https`; empty where it is not said.
    pub scheme: &'a str,
    /// The object.
    pub name: &'a str,
    /// A number or a name; empty where it is not said.
    pub port: &'a str,
}

/// Reads `[scheme:]name[:port]`.
///
/// # Errors
/// 400.
pub fn named(text: &str) -> Result<Named<'_>> {
    let parts: Vec<&str> = text.split(':').collect();
    let named = match parts.as_slice() {
        [name] => Named { scheme: "", name, port: "" },
        [name, port] => Named { scheme: "", name, port },
        [scheme @ ("http" | "https" | ""), name, port] => Named { scheme, name, port },
        _ => return Err(Status::bad_request(format!("invalid proxy target {text:?}: want [scheme:]name[:port]"))),
    };
    if named.name.is_empty() {
        return Err(Status::bad_request(format!("invalid proxy target {text:?}: it has no name")));
    }
    Ok(named)
}

/// The address of a pod's port: a number, or the first that a container declares.
///
/// # Errors
/// 400 for a port that is none, 503 where the pod has no address.
pub fn pod(pod: &Value, port: &str) -> Result<SocketAddr> {
    let ip = meta::text_at(pod, &["status", "podIP"]);
    let ip: IpAddr =
        ip.parse().map_err(|_| Status::unavailable(format!("pod {} has no address yet", meta::name(pod))))?;
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut declared = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let number = match (port, port.parse::<u16>()) {
        ("", _) => declared.next().and_then(|entry| entry["containerPort"].as_u64()),
        (_, Ok(number)) => Some(u64::from(number)),
        (name, Err(_)) => {
            declared.find(|entry| entry["name"] == name).and_then(|entry| entry["containerPort"].as_u64())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok());
    let number = number.or_else(|| port.is_empty().then_some(80));
    let number = number.ok_or_else(|| Status::bad_request(format!("pod {} has no port {port:?}", meta::name(pod))))?;
    Ok(SocketAddr::new(ip, number))
}

/// The addresses that serve a service's port.
pub fn endpoints(service: &Value, endpoints: &Value, port: &str) -> Vec<SocketAddr> {
    let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = match (port, port.parse::<u64>()) {
        ("", _) => ports.first(),
        (_, Ok(number)) => ports.iter().find(|entry| entry["port"] == number),
        (name, Err(_)) => ports.iter().find(|entry| entry["name"] == name),
    };
    let Some(wanted) = wanted else { return Vec::new() };
    let name = meta::text_at(wanted, &["name"]);
    let mut found = Vec::new();
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        let mut ports = subset["ports"].as_array().into_iter().flatten();
        let Some(entry) = ports.find(|entry| meta::text_at(entry, &["name"]) == name) else { continue };
        let Some(port) = entry["port"].as_u64().and_then(|port| u16::try_from(port).ok()) else { continue };
        for address in subset["addresses"].as_array().into_iter().flatten() {
            if let Ok(ip) = meta::text_at(address, &["ip"]).parse::<IpAddr>() {
                found.push(SocketAddr::new(ip, port));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn proxy_targets_are_read() {
        for (text, scheme, name, port) in [
            ("web", "", "web", ""),
            ("web:80", "", "web", "80"),
            ("https:web:", "https", "web", ""),
            ("http:web:admin", "http", "web", "admin"),
        ] {
            assert_eq!(named(text).expect("a target"), Named { scheme, name, port });
        }
        assert!(named("a:b:c:d").is_err() && named("ftp:a:b").is_err() && named(":80").is_err());
    }

    #[test]
    fn addresses_of_the_host_itself_are_no_targets() {
        for (address, expected) in [
            ("10.88.0.11", true),
            ("192.168.1.5", true),
            ("203.0.113.7", true),
            ("fd00::1", true),
            ("2001:db8::1", true),
            ("127.0.0.1", false),
            ("127.8.8.8", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("169.254.169.254", false),
            ("fe80::1", false),
            ("224.0.0.1", false),
            ("ff02::1", false),
            ("255.255.255.255", false),
        ] {
            assert_eq!(is_proxyable(address.parse().expect("an address")), expected, "{address}");
        }
    }

    #[test]
    fn places_follow_from_objects() {
        let node = json!({"status": {"addresses": [
            {"type": "Hostname", "address": "w1"}, {"type": "InternalIP", "address": "10.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10251}}}});
        assert_eq!(agent_of(&node).map(|place| place.to_string()).as_deref(), Some("10.0.0.1:10251"));
        let the_pod = json!({"status": {"podIP": "10.42.0.5"}, "spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]}});
        for (port, expected) in [("", "10.42.0.5:8080"), ("web", "10.42.0.5:8080"), ("81", "10.42.0.5:81")] {
            assert_eq!(pod(&the_pod, port).expect("a place").to_string(), expected);
        }
        let service = json!({"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}});
        let found = json!({"subsets": [{"addresses": [{"ip": "10.42.0.5"}], "ports": [{"name": "b", "port": 9}]}]});
        assert_eq!(endpoints(&service, &found, "81"), ["10.42.0.5:9".parse().expect("an address")]);
        assert_eq!(endpoints(&service, &found, "80"), []);
    }
}
