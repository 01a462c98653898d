//! Services whose endpoints somebody keeps by hand, and where traffic is to go.

use serde_json::{Value, json};

use super::support::start;

fn endpoints(ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "db", "labels": {"made": "by-hand"}},
        "subsets": [{"addresses": [{"ip": ip}], "ports": [{"name": "sql", "port": 5432}]}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_kept_by_hand_are_mirrored_until_they_go() {
    let cluster = start().await;
    let ports = json!([{"name": "sql", "port": 5432}]);
    cluster
        .apply(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec": {"ports": ports}}))
        .await;
    cluster.apply(endpoints("192.0.2.7")).await;
    let slices = "get endpointslices -l kubernetes.io/service-name=db \
                  -o jsonpath={range.items[*]}{.endpoints[*].addresses[0]}:{.ports[0].port}:{.metadata.labels.made}{end}";
    cluster.until(slices, |out| out == "192.0.2.7:5432:by-hand").await;
    cluster.apply(endpoints("192.0.2.8")).await;
    cluster.until(slices, |out| out == "192.0.2.8:5432:by-hand").await;
    cluster.kubectl("delete endpointslices -l kubernetes.io/service-name=db").await;
    cluster.until(slices, |out| out == "192.0.2.8:5432:by-hand").await;
    cluster.kubectl("delete endpoints db").await;
    cluster.until(slices, str::is_empty).await;
    let own = "get endpointslices -l kubernetes.io/service-name=kubernetes -o name";
    assert_eq!(cluster.kubectl(own).await.lines().count(), 1, "the API server's own are not mirrored");
}
