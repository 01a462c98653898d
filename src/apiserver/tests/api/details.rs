//! Small things of single kinds that clients look at, each as Kubernetes has it.

use serde_json::{Value, json};

use crate::support::{TestServer, start};

const JSON: &str = "application/json";

async fn post(server: &TestServer, path: &str, body: &Value) -> (u16, Value) {
    server.json("POST", path, JSON, &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eviction_names_its_pod() {
    let server = start().await;
    let pods = "/api/v1/namespaces/default/pods";
    server.create("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    server.create(pods, pod).await;
    for name in [json!({}), json!({"name": "q"})] {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": name});
        let (code, status) = post(&server, &format!("{pods}/p/eviction"), &eviction).await;
        let told = json!("name in URL does not match name in Eviction object");
        assert_eq!((code, &status["message"]), (400, &told), "{eviction}");
    }
    assert_eq!(server.get(&format!("{pods}/p")).await.0, 200);
    server.stop().await;
}

/// The old form of a watch has no place for an object of a namespace without the namespace.
#[tokio::test(flavor = "multi_thread")]
async fn objects_of_namespaces_are_not_found_without_one() {
    let server = start().await;
    for path in ["/api/v1/watch/configmaps/a?timeoutSeconds=1", "/api/v1/configmaps/a", "/api/v1/configmaps/a?watch=1"]
    {
        let (code, status) = server.get(path).await;
        assert_eq!((code, &status["reason"]), (404, &json!("NotFound")), "{path}: {status}");
    }
    let mut nodes = server.watch("/api/v1/watch/namespaces/default?timeoutSeconds=5", "").await;
    assert_eq!(nodes.next_name().await, ("ADDED".to_string(), "default".to_string()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_ends_has_no_grace_period() {
    let server = start().await;
    server.create("/api/v1/namespaces", json!({"metadata": {"name": "a"}})).await;
    let (_, ending) = server.json("DELETE", "/api/v1/namespaces/a", "", "").await;
    assert_eq!(ending["status"]["phase"], "Terminating", "{ending}");
    assert!(ending["metadata"]["deletionTimestamp"].is_string(), "{ending}");
    assert_eq!(ending["metadata"].get("deletionGracePeriodSeconds"), None, "{ending}");
    server.stop().await;
}
