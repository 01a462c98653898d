//! What a fresh server has.

use serde_json::json;

use crate::support::{eventually, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_server_has_its_range_and_its_flow_control() {
    let server = start().await;
    let text = server.kubectl(&["get", "servicecidrs", "kubernetes", "--no-headers"]).await;
    assert!(text.starts_with("kubernetes   10.43.0.0/16"), "{text}");
    let (_, cidr) = server.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").await;
    let condition = &cidr["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("Ready"), &json!("True")), "{cidr}");
    let levels = server.kubectl(&["get", "prioritylevelconfigurations", "-o", "name"]).await;
    assert_eq!(levels.lines().count(), 8, "{levels}");
    let schemas = server.kubectl(&["get", "flowschemas", "-o", "name"]).await;
    assert_eq!(schemas.lines().count(), 11, "{schemas}");
    eventually("every FlowSchema says that its level exists", || async {
        let text = server.kubectl(&["get", "flowschemas", "--no-headers"]).await;
        text.lines().all(|line| line.ends_with("False")).then_some(())
    })
    .await;
    // A schema that leads nowhere says so.
    let lost = json!({
        "metadata": {"name": "lost"},
        "spec": {"priorityLevelConfiguration": {"name": "nowhere"}, "matchingPrecedence": 5000},
    });
    server.create("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", lost).await;
    eventually("the schema says that its level is missing", || async {
        let (_, schema) = server.get("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/lost").await;
        (schema["status"]["conditions"][0]["status"] == "True").then_some(())
    })
    .await;
    server.stop().await;
}
