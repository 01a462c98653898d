//! The fields of a Service that hold addresses and ports: which are used, what an update carries over, and filling
//! in what is missing.

use std::collections::HashSet;
use std::net::IpAddr;

use machinery::field::{FieldError, FieldErrors, Path};
use machinery::meta;
use serde_json::{Value, json};

use super::allocator::{Promise, Refusal};

/// Addresses and ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Used {
    pub addresses: HashSet<IpAddr>,
    pub ports: HashSet<u16>,
}

impl Used {
    pub fn extend(&mut self, other: Self) {
        self.addresses.extend(other.addresses);
        self.ports.extend(other.ports);
    }

    pub fn remove(&mut self, other: &Self) {
        self.addresses.retain(|address| !other.addresses.contains(address));
        self.ports.retain(|port| !other.ports.contains(port));
    }
}

fn type_of(service: &Value) -> &str {
    match meta::text_at(service, &["spec", "type"]) {
        "" => "ClusterIP",
        type_ => type_,
    }
}

fn has_address(service: &Value) -> bool {
    type_of(service) != "ExternalName"
}

fn has_node_ports(service: &Value) -> bool {
    match type_of(service) {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"] != Value::Bool(false),
        _ => false,
    }
}

fn needs_health_port(service: &Value) -> bool {
    type_of(service) == "LoadBalancer" && meta::text_at(service, &["spec", "externalTrafficPolicy"]) == "Local"
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

/// What a service has.
pub fn used(service: &Value) -> Used {
    let spec = &service["spec"];
    let listed = spec["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let addresses = listed.chain(spec["clusterIP"].as_str()).filter_map(|text| text.parse().ok()).collect();
    let ports = spec["ports"].as_array().into_iter().flatten();
    let ports = ports.filter_map(|entry| port(&entry["nodePort"])).chain(port(&spec["healthCheckNodePort"])).collect();
    Used { addresses, ports }
}

fn remove(service: &mut Value, field: &str) {
    if let Some(spec) = service["spec"].as_object_mut() {
        spec.remove(field);
    }
}

/// Takes over from `old` what a client that does not know its addresses and ports left out, and drops what does
/// not go with the new type.
pub fn carry_over(service: &mut Value, old: &Value) {
    if has_address(service) && has_address(old) {
        let absent = meta::text_at(service, &["spec", "clusterIP"]).is_empty()
            && service["spec"]["clusterIPs"].as_array().is_none_or(Vec::is_empty);
        if absent {
            for field in ["clusterIP", "clusterIPs"] {
                if let Some(value) = old["spec"].get(field) {
                    service["spec"][field] = value.clone();
                }
            }
        }
    } else if !has_address(service) && service["spec"]["clusterIP"] == old["spec"]["clusterIP"] {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            remove(service, field);
        }
    }
    let keeps_ports = has_node_ports(service) && has_node_ports(old);
    let drops_ports = !has_node_ports(service) && has_node_ports(old);
    let before: Vec<Value> = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    for entry in service["spec"]["ports"].as_array_mut().into_iter().flatten() {
        let same = |other: &&Value| other["port"] == entry["port"] && other["protocol"] == entry["protocol"];
        let twin = before.iter().find(same).and_then(|twin| port(&twin["nodePort"]));
        if keeps_ports && port(&entry["nodePort"]).is_none() {
            if let Some(twin) = twin {
                entry["nodePort"] = twin.into();
            }
        } else if drops_ports
            && twin == port(&entry["nodePort"])
            && let Some(entry) = entry.as_object_mut()
        {
            entry.remove("nodePort");
        }
    }
    if needs_health_port(service) && needs_health_port(old) && port(&service["spec"]["healthCheckNodePort"]).is_none() {
        service["spec"]["healthCheckNodePort"] = old["spec"]["healthCheckNodePort"].clone();
    } else if !needs_health_port(service) && needs_health_port(old) {
        remove(service, "healthCheckNodePort");
    }
}

/// Takes what the service names and fills in what it leaves open.
pub fn assign(service: &mut Value, promise: &mut Promise, errors: &mut FieldErrors) {
    if !service["spec"].is_object() {
        return;
    }
    let spec = Path::new("spec");
    if has_address(service) {
        assign_address(service, promise, &spec, errors);
    }
    assign_ports(service, promise, &spec, errors);
    if needs_health_port(service) {
        let path = spec.child("healthCheckNodePort");
        let chosen = match port(&service["spec"]["healthCheckNodePort"]) {
            Some(named) => promise.take_port(named).map(|()| named),
            None => promise.any_port(&HashSet::new()),
        };
        match chosen {
            Ok(port) => service["spec"]["healthCheckNodePort"] = port.into(),
            Err(refusal) => errors.push(port_error(&path, &service["spec"]["healthCheckNodePort"], refusal, promise)),
        }
    }
}

fn assign_address(service: &mut Value, promise: &mut Promise, spec: &Path, errors: &mut FieldErrors) {
    let named = match meta::text_at(service, &["spec", "clusterIP"]) {
        "" => service["spec"]["clusterIPs"][0].as_str().unwrap_or_default().to_string(),
        named => named.to_string(),
    };
    let path = spec.child("clusterIPs").index(0);
    let chosen = match named.as_str() {
        "None" => "None".to_string(),
        "" => match promise.any_address() {
            Ok(address) => address.to_string(),
            Err(_) => {
                let why = "failed to allocate a serviceIP: range is full";
                return errors.push(FieldError {
                    reason: machinery::field::Reason::Internal,
                    ..FieldError::invalid(&path, "", why)
                });
            }
        },
        named => {
            let Ok(address) = named.parse::<IpAddr>() else { return };
            if let Err(refusal) = promise.take_address(address) {
                let why = match refusal {
                    Refusal::OutOfRange => format!(
                        "failed to allocate IP {named}: the provided IP ({named}) is not in the valid range. The range of valid IPs is {}",
                        promise.cidr().map(|cidr| cidr.to_string()).unwrap_or_default()
                    ),
                    _ => format!("failed to allocate IP {named}: provided IP is already allocated"),
                };
                return errors.push(FieldError::invalid(&path, named, why));
            }
            named.to_string()
        }
    };
    service["spec"]["clusterIP"] = chosen.as_str().into();
    if service["spec"]["clusterIPs"].as_array().is_none_or(|list| list.len() < 2) {
        service["spec"]["clusterIPs"] = json!([chosen]);
    }
    let family = match promise.cidr() {
        Some(ipnet::IpNet::V6(_)) => "IPv6",
        _ => "IPv4",
    };
    check_families(&service["spec"], family, spec, errors);
    if service["spec"].get("ipFamilies").is_none() {
        service["spec"]["ipFamilies"] = json!([family]);
    }
    if service["spec"].get("ipFamilyPolicy").is_none() {
        service["spec"]["ipFamilyPolicy"] = "SingleStack".into();
    }
}

/// The cluster has addresses of one family, and a service that asks for more would answer at none.
fn check_families(service_spec: &Value, family: &str, spec: &Path, errors: &mut FieldErrors) {
    for (at, asked) in service_spec["ipFamilies"].as_array().into_iter().flatten().enumerate() {
        if asked != family {
            let path = spec.child("ipFamilies").index(at);
            errors.push(FieldError::invalid(&path, asked.clone(), "not configured on this cluster"));
        }
    }
    if service_spec["ipFamilyPolicy"] == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid(&spec.child("ipFamilyPolicy"), "RequireDualStack", why));
    }
}

fn assign_ports(service: &mut Value, promise: &mut Promise, spec: &Path, errors: &mut FieldErrors) {
    let allocates = has_node_ports(service);
    let named = used(service).ports;
    // One number serves two protocols of the same port.
    let mut by_port: Vec<(Value, u16)> = Vec::new();
    let mut entries = service["spec"]["ports"].take();
    for (at, entry) in entries.as_array_mut().into_iter().flatten().enumerate() {
        let path = spec.child("ports").index(at).child("nodePort");
        let chosen = match port(&entry["nodePort"]) {
            Some(named) => promise.take_port(named).map(|()| named),
            None if !allocates => continue,
            None => match by_port.iter().find(|(port, _)| *port == entry["port"]) {
                Some((_, shared)) => Ok(*shared),
                None => promise.any_port(&named),
            },
        };
        match chosen {
            Ok(port) => {
                by_port.push((entry["port"].clone(), port));
                entry["nodePort"] = port.into();
            }
            Err(refusal) => errors.push(port_error(&path, &entry["nodePort"], refusal, promise)),
        }
    }
    if !entries.is_null() {
        service["spec"]["ports"] = entries;
    } else {
        remove(service, "ports");
    }
}

fn port_error(path: &Path, value: &Value, refusal: Refusal, promise: &Promise) -> FieldError {
    let why = match refusal {
        Refusal::Taken => "provided port is already allocated".to_string(),
        Refusal::Exhausted => "failed to allocate a nodePort: range is full".to_string(),
        Refusal::OutOfRange => {
            let (first, last) = (promise.ports().start(), promise.ports().end());
            format!("provided port is not in the valid range. The range of valid ports is {first}-{last}")
        }
    };
    FieldError::invalid(path, value.clone(), why)
}

#[cfg(test)]
mod tests;
