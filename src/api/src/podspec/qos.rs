//! The quality-of-service class that a pod's requests and limits come to.

use std::collections::BTreeMap;

use machinery::quantity::Quantity;
use serde_json::Value;

use crate::read;

const RESOURCES: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed` where every container requests all it is limited to, `BestEffort` where none asks for anything, else
/// `Burstable`.
pub(crate) fn class(spec: &Value) -> &'static str {
    let own = read::at(spec, "resources");
    let all: Vec<&Value> = if own.is_null() {
        let containers = read::list(spec, "containers").iter().chain(read::list(spec, "initContainers"));
        containers.map(|container| read::at(container, "resources")).collect()
    } else {
        vec![own]
    };
    let amounts: Vec<(Amounts, Amounts)> =
        all.iter().map(|resources| (amounts(resources, "requests"), amounts(resources, "limits"))).collect();
    if amounts.iter().all(|(requests, limits)| requests.is_empty() && limits.is_empty()) {
        return "BestEffort";
    }
    let is_guaranteed = amounts.iter().all(|(requests, limits)| limits.len() == RESOURCES.len() && requests == limits);
    if is_guaranteed { "Guaranteed" } else { "Burstable" }
}

type Amounts = BTreeMap<&'static str, i64>;

/// Amounts above zero, in thousandths. A limit without a request requests as much.
fn amounts(resources: &Value, kind: &str) -> Amounts {
    let of = |kind: &str, name: &str| -> Option<i64> {
        let text = read::scalar(read::at(read::at(resources, kind), name));
        text.parse::<Quantity>().ok().map(Quantity::to_millis)
    };
    let amount = |name: &&'static str| {
        let amount = of(kind, name).or_else(|| if kind == "requests" { of("limits", name) } else { None })?;
        (amount > 0).then_some((*name, amount))
    };
    RESOURCES.iter().filter_map(amount).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_class_follows_requests_and_limits() {
        let full = json!({"cpu": "1", "memory": "1Gi"});
        let cases = [
            (json!([{}]), "BestEffort"),
            (json!([{"resources": {"requests": {"cpu": "0"}}}]), "BestEffort"),
            (json!([{"resources": {"requests": {"example.com/gpu": "1"}}}]), "BestEffort"),
            (json!([{"resources": {"requests": full, "limits": full}}]), "Guaranteed"),
            (json!([{"resources": {"limits": full}}]), "Guaranteed"),
            (json!([{"resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": full}}]), "Guaranteed"),
            (json!([{"resources": {"requests": full, "limits": full}}, {}]), "Burstable"),
            (json!([{"resources": {"requests": {"cpu": "1"}}}]), "Burstable"),
            (json!([{"resources": {"requests": {"cpu": "1"}, "limits": full}}]), "Guaranteed"),
            (json!([{"resources": {"requests": {"cpu": "500m"}, "limits": full}}]), "Burstable"),
        ];
        for (containers, expected) in cases {
            assert_eq!(class(&json!({"containers": containers})), expected, "{containers}");
        }
    }
}
