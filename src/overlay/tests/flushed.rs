//! Somebody flushes the ruleset of a host: what the overlay put there is back long before its next look.

use std::time::Duration;

use datapath::nft;
use overlay::{Config, host};
use serde_json::json;
use testkit::netns::Namespace;
use tokio_util::sync::CancellationToken;

#[test]
fn tables_that_somebody_flushes_are_back_in_seconds() {
    let netns = Namespace::new("rkovf");
    netns.exec("ip link add u0 type veth peer name u1");
    netns.exec("ip addr add 10.99.0.1/24 dev u0");
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        node_name: "h1".into(),
        node_ip: [10, 99, 0, 1].into(),
        cluster_cidr: "10.42.0.0/16".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        vni: 4096,
        port: 8472,
        cni_config_path: folder.path().join("10-rkctl.conflist"),
        cni_data_dir: folder.path().join("cni"),
    };
    let port = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""});
    let lease = json!({"containerId": "a", "ifname": "eth0", "netns": netns.path(), "ports": [port]});
    std::fs::create_dir_all(config.cni_data_dir.join("leases")).unwrap();
    std::fs::write(config.cni_data_dir.join("leases/10.42.1.2"), lease.to_string()).unwrap();
    let node = json!({"metadata": {"name": "h1"}, "spec": {"podCIDR": "10.42.1.0/24"}});
    netns.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let api = testkit::api::still(&[("/api/v1/nodes", vec![node])]);
            let overlay = overlay::run(config, client::Context::new(api, CancellationToken::new()));
            let user = async {
                written(20).await;
                for _ in 0..2 {
                    nft::apply("flush ruleset").await.unwrap();
                    // Far less than the time between two looks.
                    written(10).await;
                }
            };
            tokio::select! {
                _ = overlay => panic!("the overlay ended"),
                () = user => {}
            }
        });
    });
}

async fn written(limit_s: u64) {
    for (table, rule) in [(host::MASQUERADE_TABLE, "masquerade"), (overlay::cni::HOSTPORTS_TABLE, "10.42.1.2 . 80")] {
        testkit::eventually_async(Duration::from_secs(limit_s), &format!("table {table} is there"), async || {
            let found = nft::list_table("ip", table).await.map_err(|error| error.to_string())?;
            if found.as_ref().is_some_and(|text| text.contains(rule)) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    }
}
