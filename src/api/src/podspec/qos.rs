//! The quality-of-service class that a pod's requests and limits come to.

use machinery::qos::{self, Amount, Claim};
use machinery::quantity::Quantity;
use serde_json::Value;

use crate::read;

/// The class of service of a pod with this spec; the agent asks the same [`machinery::qos`].
pub(crate) fn class(spec: &Value) -> &'static str {
    let own = read::at(spec, "resources");
    let names = ["requests", "limits"].into_iter().flat_map(|kind| read::map(own, kind).keys().map(String::as_str));
    let pod = qos::counts(names).then(|| claim(own));
    let containers = read::list(spec, "containers").iter().chain(read::list(spec, "initContainers"));
    qos::class(pod, containers.map(|container| claim(read::at(container, "resources")))).name()
}

fn claim(resources: &Value) -> Claim {
    let of = |kind: &str, name: &str| {
        let text = read::scalar(read::at(read::at(resources, kind), name));
        text.parse::<Quantity>().ok().map(|amount| i128::from(amount.to_millis()))
    };
    ["cpu", "memory"].map(|name| Amount { request: of("requests", name), limit: of("limits", name) })
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
        for (own, expected) in [
            (json!({"limits": {"cpu": "200m", "memory": "64Mi"}}), "Guaranteed"),
            (json!({"requests": {"cpu": "200m"}}), "Burstable"),
            (json!({}), "BestEffort"),
        ] {
            assert_eq!(class(&json!({"resources": own, "containers": [{}]})), expected, "{own}");
        }
        let asks_by_containers = json!({"resources": {}, "containers": [{"resources": {"limits": full}}]});
        assert_eq!(class(&asks_by_containers), "Guaranteed");
    }
}
