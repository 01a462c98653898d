//! The Pod Security labels of namespaces, as people meet them.

use serde_json::{Value, json};

use crate::support::Cluster;

fn pod(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["containers"] = json!([{"name": "c", "image": "i"}]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_a_namespace_refuse_and_warn() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    cluster.succeeds(&admin, &["create", "namespace", "n"]).await;
    cluster.succeeds(&admin, &["create", "serviceaccount", "default", "-n", "n"]).await;
    let on_host = cluster.file("host.json", &pod("host", json!({"hostNetwork": true, "hostPID": true})));
    let create = |file: &str| ["create", "-n", "n", "-f", file].map(str::to_string);
    let run = async |arguments: [String; 5]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        cluster.output(&admin, &arguments).await
    };
    assert!(run(create(&on_host)).await.2);
    // Pods that are there stay, and are told of.
    let label = ["label", "namespace", "n", "pod-security.kubernetes.io/enforce=baseline"];
    let (_, said, succeeded) = cluster.output(&admin, &label).await;
    let expected = "Warning: existing pods in namespace \"n\" violate the new PodSecurity enforce level \
                    \"baseline:latest\"\nWarning: host: host namespaces\n";
    assert!(succeeded && said.contains(expected), "{said}");
    let another = cluster.file("another.json", &pod("another", json!({"hostPID": true})));
    let (_, refused, succeeded) = run(create(&another)).await;
    let expected = "Error from server (Forbidden): error when creating \"";
    assert!(!succeeded && refused.contains(expected), "{refused}");
    let expected =
        "pods \"another\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)";
    assert!(refused.contains(expected), "{refused}");
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"hostIPC": true, "containers": [{"name": "c", "image": "i"}]}},
    }});
    let (_, said, succeeded) = run(create(&cluster.file("deployment.json", &deployment))).await;
    let expected = "Warning: would violate PodSecurity \"baseline:latest\": host namespaces (hostIPC=true)";
    assert!(succeeded && said.contains(expected), "{said}");
    let wrong = ["label", "--overwrite", "namespace", "n", "pod-security.kubernetes.io/enforce=bassline"];
    let refused = cluster.fails(&admin, &wrong).await;
    assert!(refused.contains("must be one of privileged, baseline, restricted"), "{refused}");
    cluster.stop().await;
}
