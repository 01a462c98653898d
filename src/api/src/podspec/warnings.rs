//! What a pod spec may say and had better not.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::CONTAINER_LISTS;
use crate::check::At;
use crate::read;

/// Labels of nodes that have another name now.
const OLD_NODE_LABELS: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
];

/// Warnings about the pod spec at `path` of the object.
pub(crate) fn of_spec(object: &Value, path: &str) -> Vec<String> {
    let spec = At::root(object).at(path);
    let mut warnings = Vec::new();
    for (label, since, instead) in OLD_NODE_LABELS {
        if read::map(spec.value, "nodeSelector").contains_key(label) {
            let at = spec.at("nodeSelector").path.key(label);
            warnings.push(format!("{at}: deprecated since {since}; use {instead:?} instead"));
        }
    }
    let mut ports = HashMap::new();
    for list in CONTAINER_LISTS {
        for container in spec.items(list) {
            repeated_variables(&container, &mut warnings);
            if list == "containers" {
                repeated_ports(&container, &mut ports, &mut warnings);
            }
        }
    }
    warnings
}

fn repeated_variables(container: &At<'_>, warnings: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for variable in container.items("env") {
        let name = variable.at("name").text();
        if !seen.insert(name) {
            let wrong = format!("hides previous definition of {name:?}, which may be dropped when using apply");
            warnings.push(format!("{}: {wrong}", variable.path));
        }
    }
}

fn repeated_ports(container: &At<'_>, seen: &mut HashMap<(i64, String), String>, warnings: &mut Vec<String>) {
    for port in container.items("ports") {
        let key = (read::int(port.value, "containerPort"), read::text(port.value, "protocol").to_string());
        if let Some(first) = seen.get(&key) {
            warnings.push(format!("{}: duplicate port definition with {first}", port.path));
        } else {
            seen.insert(key, port.path.to_string());
        }
    }
}
