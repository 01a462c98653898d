//! What a Service keeps and loses when it is updated.

use serde_json::{Value, json};

use crate::edit::{fill, items_at, remove, set};
use crate::read;

fn has_addresses(service: &Value) -> bool {
    read::text(service, "spec.type") != "ExternalName"
}

fn has_node_ports(service: &Value) -> bool {
    matches!(read::text(service, "spec.type"), "NodePort" | "LoadBalancer")
}

/// `clusterIP` is the first of `clusterIPs`; a client that knows only one of the two says both.
pub(super) fn normalize_addresses(object: &mut Value, old: Option<&Value>) {
    let one = read::text(object, "spec.clusterIP").to_string();
    let all = read::at(object, "spec.clusterIPs").clone();
    let Some(spec) = object.get_mut("spec") else { return };
    let Some(old) = old else {
        if !one.is_empty() && all.is_null() {
            set(spec, "clusterIPs", json!([one]));
        } else if let Some(first) = all.get(0).filter(|_| one.is_empty()) {
            set(spec, "clusterIP", first.clone());
        }
        return;
    };
    let (old_one, old_all) = (read::text(old, "spec.clusterIP"), read::at(old, "spec.clusterIPs"));
    if one != old_one && &all == old_all {
        match one.as_str() {
            "" => drop(remove(spec, "clusterIPs")),
            one => set(spec, "clusterIPs", json!([one])),
        }
    } else if one == old_one && &all != old_all {
        match all.get(0) {
            Some(first) => set(spec, "clusterIP", first.clone()),
            None => drop(remove(spec, "clusterIP")),
        }
    } else if !one.is_empty() && all.is_null() {
        set(spec, "clusterIPs", json!([one]));
    }
}

/// A client that leaves out what was allocated does not mean to lose it.
pub(super) fn keep_allocated(object: &mut Value, old: &Value) {
    if has_addresses(old) && has_addresses(object) {
        let is_unset =
            read::text(object, "spec.clusterIP").is_empty() && read::list(object, "spec.clusterIPs").is_empty();
        if let Some(spec) = object.get_mut("spec") {
            for field in ["clusterIP", "clusterIPs"] {
                let allocated = read::at(read::at(old, "spec"), field).clone();
                if is_unset && !allocated.is_null() {
                    set(spec, field, allocated);
                }
            }
            for field in ["ipFamilies", "ipFamilyPolicy"] {
                let chosen = read::at(read::at(old, "spec"), field).clone();
                if !chosen.is_null() {
                    fill(spec, field, chosen);
                }
            }
        }
    }
    if has_node_ports(old) && has_node_ports(object) {
        let key = |port: &Value| (read::text(port, "protocol").to_string(), read::int(port, "port"));
        for port in items_at(object, "spec.ports").filter(|port| read::int(port, "nodePort") == 0) {
            let before = read::list(old, "spec.ports").iter().find(|found| key(found) == key(port));
            if let Some(allocated) = before.map(|found| read::int(found, "nodePort")).filter(|number| *number != 0) {
                set(port, "nodePort", allocated);
            }
        }
    }
    let checked = read::int(old, "spec.healthCheckNodePort");
    if let Some(spec) = object.get_mut("spec").filter(|spec| checked != 0 && needs_health_check(spec)) {
        fill(spec, "healthCheckNodePort", checked);
    }
}

fn needs_health_check(spec: &Value) -> bool {
    read::text(spec, "type") == "LoadBalancer" && read::text(spec, "externalTrafficPolicy") == "Local"
}

/// A change of type takes away what only the old type had, unless the client changed it in the same request.
pub(super) fn drop_unused(object: &mut Value, old: &Value) {
    let was = |path: &str| read::at(old, path).clone();
    let lost_addresses = has_addresses(old) && !has_addresses(object);
    let lost_node_ports = has_node_ports(old) && !has_node_ports(object);
    let lost_balancer =
        read::text(old, "spec.type") == "LoadBalancer" && read::text(object, "spec.type") != "LoadBalancer";
    let Some(spec) = object.get_mut("spec") else { return };
    let mut forget = |names: &[&str]| {
        for name in names {
            if read::at(spec, name) == &was(&format!("spec.{name}")) {
                remove(spec, name);
            }
        }
    };
    if lost_addresses {
        forget(&["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]);
    }
    if lost_node_ports && read::list(spec, "externalIPs").is_empty() {
        remove_if_same(spec, old, "externalTrafficPolicy");
    }
    if lost_balancer {
        for name in ["allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"] {
            remove_if_same(spec, old, name);
        }
    }
    if lost_node_ports {
        for (at, port) in items_at(spec, "ports").enumerate() {
            let before = read::list(old, "spec.ports").get(at).map_or(0, |port| read::int(port, "nodePort"));
            if read::int(port, "nodePort") == before {
                remove(port, "nodePort");
            }
        }
    }
}

fn remove_if_same(spec: &mut Value, old: &Value, name: &str) {
    if read::at(spec, name) == read::at(read::at(old, "spec"), name) {
        remove(spec, name);
    }
}
