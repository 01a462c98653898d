//! What the downward API tells a pod of itself: `fieldRef` and `resourceFieldRef`.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use super::resources;
use crate::quantity;

/// What is known of the pod and its node beside the object.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The node's name.
    pub node_name: String,
    /// The node's addresses, the main one first.
    pub host_ips: Vec<IpAddr>,
    /// The pod's addresses, the main one first; known once there is a sandbox.
    pub pod_ips: Vec<String>,
    /// What the node can give to pods: thousandths of a processor, bytes of memory, bytes of disk.
    pub allocatable: Allocatable,
}

/// What limits default to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allocatable {
    /// Thousandths of a processor.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory_bytes: i64,
    /// Bytes.
    pub disk_bytes: i64,
}

/// The value of a `fieldRef`; `None` where the path is not one of the downward API's.
pub fn field(pod: &Pod, path: &str, facts: &Facts) -> Option<String> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    Some(match path {
        "metadata.name" => metadata.name.clone().unwrap_or_default(),
        "metadata.namespace" => metadata.namespace.clone().unwrap_or_default(),
        "metadata.uid" => metadata.uid.clone().unwrap_or_default(),
        "metadata.labels" => list(metadata.labels.as_ref()),
        "metadata.annotations" => list(metadata.annotations.as_ref()),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" => facts.host_ips.first().map(ToString::to_string).unwrap_or_default(),
        "status.hostIPs" => facts.host_ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => {
            let (map, key) = path.strip_suffix("']")?.split_once("['")?;
            let map = match map {
                "metadata.labels" => metadata.labels.as_ref(),
                "metadata.annotations" => metadata.annotations.as_ref(),
                _ => return None,
            };
            map.and_then(|map| map.get(key).cloned()).unwrap_or_default()
        }
    })
}

/// Labels or annotations, one `key="value"` a line, values quoted.
fn list(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// The value of a `resourceFieldRef`; `default_container` is whose environment it is in.
pub fn resource(pod: &Pod, selector: &ResourceFieldSelector, default_container: &str, facts: &Facts) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let name = selector.container_name.as_deref().unwrap_or(default_container);
    let container = spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|c| c.name == name)?;
    let (kind, resource) = selector.resource.split_once('.')?;
    let milli = amount(container, kind, resource, facts)?;
    // Processor time is told in whole processors by default, everything else in single units.
    let divisor = selector.divisor.as_ref().map(|divisor| divisor.0.as_str()).filter(|divisor| *divisor != "0");
    let divisor = quantity::milli(divisor.unwrap_or("1")).filter(|divisor| *divisor > 0)?;
    Some(((milli + divisor - 1) / divisor).to_string())
}

fn amount(container: &Container, kind: &str, resource: &str, facts: &Facts) -> Option<i128> {
    let given = match kind {
        "limits" => resources::limit(container, resource),
        "requests" => resources::request(container, resource),
        _ => return None,
    };
    if let Some(given) = given {
        return Some(given);
    }
    if kind == "requests" {
        return Some(0);
    }
    Some(match resource {
        "cpu" => i128::from(facts.allocatable.milli_cpu),
        "memory" => i128::from(facts.allocatable.memory_bytes) * 1000,
        "ephemeral-storage" => i128::from(facts.allocatable.disk_bytes) * 1000,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_reads_itself() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "web", "labels": { "app": "web", "tier": "a\"b" } },
            "spec": { "containers": [{ "name": "a", "resources": { "limits": { "cpu": "1500m", "memory": "64Mi" } } }] },
        }))
        .unwrap();
        let facts = Facts { node_name: "w1".into(), pod_ips: vec!["10.42.0.2".into()], ..Default::default() };
        assert_eq!(field(&pod, "metadata.name", &facts).unwrap(), "web");
        assert_eq!(field(&pod, "metadata.labels", &facts).unwrap(), "app=\"web\"\ntier=\"a\\\"b\"");
        assert_eq!(field(&pod, "metadata.labels['app']", &facts).unwrap(), "web");
        assert_eq!(field(&pod, "status.podIP", &facts).unwrap(), "10.42.0.2");
        assert_eq!(field(&pod, "spec.unknown", &facts), None);
        let get = |name: &str, divisor: &str| {
            let selector = json!({ "resource": name, "divisor": divisor });
            resource(&pod, &serde_json::from_value(selector).unwrap(), "a", &facts).unwrap()
        };
        assert_eq!(get("limits.cpu", "0"), "2");
        assert_eq!(get("limits.cpu", "1m"), "1500");
        assert_eq!(get("limits.memory", "1Mi"), "64");
        assert_eq!(get("requests.cpu", "1m"), "1500");
    }
}
