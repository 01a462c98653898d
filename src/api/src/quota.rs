//! What objects take of a ResourceQuota: for admission, which counts what is about to be written, and for the
//! controller, which counts what is there. Which namespace, and what else is counted, is not known here.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use machinery::meta;
use machinery::quantity::Quantity;
use serde_json::Value;

use crate::read;

mod compute;
mod scope;
#[cfg(test)]
mod tests;

pub(crate) use compute::containers_ask;
pub use scope::in_scope;

/// Amounts by the names that quotas use: `requests.cpu`, `count/deployments.apps`.
pub type Amounts = BTreeMap<String, Quantity>;

/// A claim on devices of which all are asked for may get this many (`AllocationResultsMaxSize`).
const DEVICES_MAX: i64 = 32;

/// Adds amounts up.
pub fn add(sum: &mut Amounts, amounts: Amounts) {
    for (name, amount) in amounts {
        let entry = sum.entry(name).or_default();
        *entry = *entry + amount;
    }
}

/// Keeps the larger of each.
pub fn raise(most: &mut Amounts, amounts: Amounts) {
    for (name, amount) in amounts {
        let entry = most.entry(name).or_default();
        *entry = (*entry).max(amount);
    }
}

/// The amount that a JSON value writes; `None` for what is none.
pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// The amounts of a map such as `spec.hard`.
pub fn amounts(value: &Value) -> Amounts {
    value.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), quantity(value)?))).collect()
}

/// The objects that a name in `spec.hard` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted<'a> {
    /// Every object of a resource; its group is empty for the core group.
    Objects { group: &'a str, resource: &'a str },
    /// What objects of a resource ask for or have; as well.
    Parts { group: &'a str, resource: &'a str },
}

/// What is counted under a name.
pub fn counted(name: &str) -> Counted<'_> {
    if let Some(counted) = name.strip_prefix("count/") {
        let (resource, group) = counted.split_once('.').unwrap_or((counted, ""));
        return Counted::Objects { group, resource };
    }
    let core = |resource| Counted::Parts { group: "", resource };
    match name {
        "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas" => {
            Counted::Objects { group: "", resource: name }
        }
        "services" | "services.loadbalancers" | "services.nodeports" => core("services"),
        "persistentvolumeclaims" | "requests.storage" => core("persistentvolumeclaims"),
        _ if name.contains(".storageclass.storage.k8s.io/") => core("persistentvolumeclaims"),
        _ if name.ends_with(".deviceclass.resource.k8s.io/devices") => {
            Counted::Parts { group: "resource.k8s.io", resource: "resourceclaims" }
        }
        _ => core("pods"),
    }
}

/// The name under which every object of a resource counts.
pub fn count_name(group: &str, resource: &str) -> String {
    if group.is_empty() { format!("count/{resource}") } else { format!("count/{resource}.{group}") }
}

/// What one object takes of each resource that a quota can name.
pub fn cost(group: &str, resource: &str, object: &Value, now: Timestamp) -> Amounts {
    let one = Quantity::from_units(1);
    let mut cost = Amounts::from([(count_name(group, resource), one)]);
    match (group, resource) {
        ("", "pods") if !has_ended(object, now) => {
            cost.insert("pods".to_string(), one);
            cost.extend(compute::of_pod(object));
        }
        ("", "services") => of_service(object, &mut cost),
        ("", "persistentvolumeclaims") => of_claim(object, &mut cost),
        ("", "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas") => {
            cost.insert(resource.to_string(), one);
        }
        ("resource.k8s.io", "resourceclaims") => cost.extend(devices(object)),
        _ => {}
    }
    cost
}

/// A pod that has ended, or should have, takes nothing but its place among the objects.
fn has_ended(pod: &Value, now: Timestamp) -> bool {
    let grace = meta::value_at(pod, &["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
    let late = meta::deletion_timestamp(pod)
        .zip(grace)
        .is_some_and(|(at, grace)| at.saturating_add(SignedDuration::from_secs(grace)).is_ok_and(|end| end < now));
    late || matches!(read::text(pod, "status.phase"), "Succeeded" | "Failed")
}

fn of_service(service: &Value, cost: &mut Amounts) {
    let ports = read::list(service, "spec.ports");
    let (kind, mut node_ports) = (read::text(service, "spec.type"), ports.len());
    cost.insert("services".to_string(), Quantity::from_units(1));
    if kind == "LoadBalancer" {
        cost.insert("services.loadbalancers".to_string(), Quantity::from_units(1));
        if read::at(service, "spec.allocateLoadBalancerNodePorts") == &Value::Bool(false) {
            node_ports = ports.iter().filter(|port| read::int(port, "nodePort") != 0).count();
        }
    }
    if matches!(kind, "NodePort" | "LoadBalancer") {
        let node_ports = i64::try_from(node_ports).unwrap_or(i64::MAX);
        cost.insert("services.nodeports".to_string(), Quantity::from_units(node_ports));
    }
}

fn of_claim(claim: &Value, cost: &mut Amounts) {
    let one = Quantity::from_units(1);
    let asked = quantity(&claim["spec"]["resources"]["requests"]["storage"]).unwrap_or_default();
    // What is being taken back of an expansion counts until it is given up.
    let given = quantity(&claim["status"]["allocatedResources"]["storage"]).unwrap_or_default();
    let storage = asked.max(given);
    cost.insert("persistentvolumeclaims".to_string(), one);
    cost.insert("requests.storage".to_string(), storage);
    let annotated = meta::annotation(claim, "volume.beta.kubernetes.io/storage-class");
    let class = annotated.unwrap_or_else(|| read::text(claim, "spec.storageClassName"));
    if !class.is_empty() {
        let of_class = format!("{class}.storageclass.storage.k8s.io");
        cost.insert(format!("{of_class}/persistentvolumeclaims"), one);
        cost.insert(format!("{of_class}/requests.storage"), storage);
    }
}

/// The most devices of each class that a claim may get.
fn devices(claim: &Value) -> Amounts {
    let of = |request: &Value| {
        let count = match read::text(request, "allocationMode") {
            "All" => DEVICES_MAX,
            _ => request["count"].as_i64().unwrap_or(1),
        };
        let class = read::text(request, "deviceClassName");
        (!class.is_empty())
            .then(|| (format!("{class}.deviceclass.resource.k8s.io/devices"), Quantity::from_units(count)))
    };
    let mut sum = Amounts::new();
    for request in read::list(claim, "spec.devices.requests") {
        let mut most = Amounts::from_iter(of(&request["exactly"]));
        for alternative in read::list(request, "firstAvailable") {
            raise(&mut most, Amounts::from_iter(of(alternative)));
        }
        add(&mut sum, most);
    }
    sum
}
