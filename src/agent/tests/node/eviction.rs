//! Pods that take more of the disk than they may.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::lives::{BUSYBOX, condition, phase};

fn writer(file: &str, limit: Value, volume: Value) -> Value {
    let write = format!("dd if=/dev/zero of={file} bs=1M count=12; sleep 600");
    json!({
        // What is full does not wait for it.
        "terminationGracePeriodSeconds": 600,
        "containers": [{ "name": "app", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", write], "resources": { "limits": limit },
            "volumeMounts": [{ "name": "cache", "mountPath": "/cache" }] }],
        "volumes": [{ "name": "cache", "emptyDir": volume }],
    })
}

fn message(pod: &Pod) -> String {
    pod.status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default()
}

pub async fn pods_that_take_too_much_of_the_disk_are_ended(bench: &Bench) {
    let storage = json!({ "ephemeral-storage": "5Mi" });
    bench.run("large-volume", writer("/cache/file", json!({}), json!({ "sizeLimit": "5Mi" }))).await;
    bench.run("large-layer", writer("/file", storage.clone(), json!({}))).await;
    bench.run("large-whole", writer("/cache/file", storage, json!({}))).await;
    let mut modest = writer("/cache/file", json!({ "ephemeral-storage": "50Mi" }), json!({ "sizeLimit": "20Mi" }));
    modest["terminationGracePeriodSeconds"] = json!(0);
    bench.run("modest", modest).await;
    let whole = "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. ";
    let volume = "Usage of EmptyDir volume \"cache\" exceeds the limit \"5Mi\". ";
    for (name, expected) in [("large-volume", volume), ("large-layer", whole), ("large-whole", whole)] {
        let pod = bench.until(name, "it is evicted", |pod| phase(pod) == "Failed").await;
        let reason = pod.status.as_ref().and_then(|status| status.reason.clone());
        assert_eq!((reason.as_deref(), message(&pod).as_str()), (Some("Evicted"), expected));
        // It is the pod that took too much: nothing of the node's disrupts it.
        assert_eq!(condition(&pod, "DisruptionTarget"), "");
    }
    let modest = bench.until("modest", "it runs", |pod| phase(pod) == "Running").await;
    assert_eq!(message(&modest), "");
}
