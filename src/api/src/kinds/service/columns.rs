//! What `kubectl get services` shows.

use jiff::Timestamp;
use serde_json::Value;

use crate::read;
use crate::resource::Column;
use crate::table::{NONE, UNKNOWN, age, age_column, joined, labels, name, name_column, text, text_or, wide};

pub(super) const COLUMNS: &[Column<'static>] = &[
    name_column(),
    text("Type", "How the service is reached."),
    text("Cluster-IP", "The address within the cluster."),
    text("External-IP", "The addresses outside of the cluster."),
    text("Port(s)", "The ports, with node ports after a colon."),
    age_column(),
    wide("Selector", "The labels of the pods behind the service."),
];

pub(super) fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        read::text(object, "spec.type").into(),
        text_or(object, "spec.clusterIP", NONE).into(),
        external(object).into(),
        joined(read::list(object, "spec.ports").iter().map(port)).into(),
        age(object, now),
        labels(read::at(object, "spec.selector")).into(),
    ]
}

fn port(port: &Value) -> String {
    let (number, protocol) = (read::int(port, "port"), read::text(port, "protocol"));
    match read::int(port, "nodePort") {
        0 => format!("{number}/{protocol}"),
        node_port => format!("{number}:{node_port}/{protocol}"),
    }
}

fn external(object: &Value) -> String {
    let own = || read::texts(object, "spec.externalIPs").map(str::to_string);
    match read::text(object, "spec.type") {
        "ClusterIP" | "NodePort" => joined(own()),
        "LoadBalancer" => {
            let all: Vec<String> = load_balancer(object).into_iter().chain(own()).collect();
            if all.is_empty() { "<pending>".to_string() } else { all.join(",") }
        }
        "ExternalName" => read::text(object, "spec.externalName").to_string(),
        _ => UNKNOWN.to_string(),
    }
}

/// The addresses or names that a load balancer gave, each once.
pub(in crate::kinds) fn load_balancer(object: &Value) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for ingress in read::list(object, "status.loadBalancer.ingress") {
        let shown = text_or(ingress, "ip", read::text(ingress, "hostname"));
        if !shown.is_empty() && !found.contains(&shown) {
            found.push(shown);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_and_ports_read_as_kubectl_prints_them() {
        let cases = [
            (
                json!({"type": "ClusterIP", "clusterIP": "10.43.0.1", "ports": [{"port": 80, "protocol": "TCP"}]}),
                ["ClusterIP", "10.43.0.1", "<none>", "80/TCP"],
            ),
            (
                json!({"type": "NodePort", "clusterIP": "10.43.0.2", "externalIPs": ["1.2.3.4"],
                    "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}),
                ["NodePort", "10.43.0.2", "1.2.3.4", "80:30080/TCP,53/UDP"],
            ),
            (
                json!({"type": "LoadBalancer", "clusterIP": "10.43.0.3", "ports": []}),
                ["LoadBalancer", "10.43.0.3", "<pending>", "<none>"],
            ),
            (
                json!({"type": "ExternalName", "externalName": "example.com"}),
                ["ExternalName", "<none>", "example.com", "<none>"],
            ),
            (json!({"type": "ClusterIP", "clusterIP": "None"}), ["ClusterIP", "None", "<none>", "<none>"]),
        ];
        for (spec, expected) in cases {
            let cells = cells(&json!({"metadata": {"name": "s"}, "spec": spec}), Timestamp::UNIX_EPOCH);
            assert_eq!(&cells[1..5], expected);
        }
    }
}
