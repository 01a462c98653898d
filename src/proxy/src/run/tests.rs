use serde_json::json;
use testkit::netns::Namespace;
use tokio_util::sync::CancellationToken;

use super::*;

#[test]
fn rules_that_somebody_flushes_are_back_in_seconds() {
    let service = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"clusterIP": "10.43.0.9",
        "ports": [{"port": 80}]}});
    let slice = json!({"metadata": {"name": "web-1", "namespace": "default", "labels": {SERVICE_NAME: "web"}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.42.1.2"]}],
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}]});
    let host = Namespace::new("rkpr");
    host.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let slices = "/apis/discovery.k8s.io/v1/endpointslices";
            let api = testkit::api::still(&[("/api/v1/services", vec![service]), (slices, vec![slice])]);
            let config = Config { node_name: "w1".into(), cluster_cidr: "10.42.0.0/16".parse().unwrap() };
            let proxy = run(config, Context::new(api, CancellationToken::new()));
            let written = async |limit_s| {
                testkit::eventually_async(Duration::from_secs(limit_s), "the rules are there", async || {
                    let table = nft::list_table("ip", TABLE).await.map_err(|error| error.to_string())?;
                    let there = table.as_ref().is_some_and(|text| text.contains("10.42.1.2 . 8080"));
                    if there { Ok(()) } else { Err(format!("{table:?}")) }
                })
                .await;
            };
            let user = async {
                written(20).await;
                for _ in 0..2 {
                    nft::apply("flush ruleset").await.unwrap();
                    // Far less than the time between two looks.
                    written(10).await;
                }
            };
            tokio::select! {
                _ = proxy => panic!("the proxy ended"),
                () = user => {}
            }
        });
    });
}
