//! What pods are made from, and what happens when it changes or comes late.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use testkit::images::busybox;

use crate::bench::Bench;
use crate::containerd::LATE;
use crate::lives::{BUSYBOX, condition, phase, waits_for};
use crate::server::NODE;

/// What should take a second or two may take this long on a busy machine; polling each half minute would be later.
const SOON: Duration = Duration::from_secs(12);

pub async fn a_changed_config_map_reaches_its_volume_in_seconds(bench: &Bench) {
    let map: ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": "changing" }, "data": { "k": "first" } })).unwrap();
    bench.config_maps.create(&PostParams::default(), &map).await.unwrap();
    let pod = bench
        .run(
            "reader",
            json!({ "terminationGracePeriodSeconds": 1,
                "containers": [{ "name": "app", "image": BUSYBOX, "command": ["sleep", "3600"],
                    "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }],
                "volumes": [{ "name": "v", "configMap": { "name": "changing" } }] }),
        )
        .await;
    bench.until("reader", "it is ready", |pod| condition(pod, "Ready") == "True").await;
    let file = bench.volume(&pod, "configmap", "v").join("k");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "first");
    let change = Patch::Merge(json!({ "data": { "k": "second" } }));
    bench.config_maps.patch("changing", &PatchParams::default(), &change).await.unwrap();
    testkit::eventually_async(SOON, "the change is in the volume", async || {
        std::fs::read_to_string(&file).is_ok_and(|text| text == "second")
    })
    .await;
    bench.delete("reader").await;
}

pub async fn a_pod_that_waits_for_a_secret_starts_when_it_comes(bench: &Bench) {
    let from = json!({ "secretKeyRef": { "name": "late", "key": "k" } });
    bench
        .run(
            "waiting",
            json!({ "terminationGracePeriodSeconds": 1, "containers": [{ "name": "app", "image": BUSYBOX,
                "command": ["sleep", "3600"], "env": [{ "name": "E", "valueFrom": from }] }] }),
        )
        .await;
    bench.until("waiting", "it says what it lacks", |pod| waits_for(pod, "CreateContainerConfigError")).await;
    let secret: Secret =
        serde_json::from_value(json!({ "metadata": { "name": "late" }, "stringData": { "k": "v" } })).unwrap();
    bench.secrets.create(&PostParams::default(), &secret).await.unwrap();
    bench.within(SOON, "waiting", "it runs", |pod| phase(pod) == "Running").await;
    bench.delete("waiting").await;
}

pub async fn a_pod_starts_as_soon_as_its_image_is_there(bench: &Bench) {
    bench
        .run(
            "imageless",
            json!({ "terminationGracePeriodSeconds": 1, "containers": [{ "name": "app", "image": LATE,
                "imagePullPolicy": "Never", "command": ["sleep", "3600"] }] }),
        )
        .await;
    bench.until("imageless", "it says what it lacks", |pod| waits_for(pod, "ErrImageNeverPull")).await;
    bench.containerd.import(&[busybox().renamed(LATE)]);
    bench.within(SOON, "imageless", "it runs", |pod| phase(pod) == "Running").await;
    bench.delete("imageless").await;
}

pub async fn a_static_pod_is_seen_while_its_manifest_lies_there(bench: &Bench) {
    let manifest = bench.folder.path().join("manifests/still.json");
    let spec = json!({ "terminationGracePeriodSeconds": 1,
        "containers": [{ "name": "app", "image": BUSYBOX, "command": ["sleep", "3600"] }] });
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "still" }, "spec": spec });
    std::fs::write(&manifest, pod.to_string()).unwrap();
    let mirror = format!("still-{NODE}");
    bench.until(&mirror, "its mirror is ready", |pod| condition(pod, "Ready") == "True").await;
    std::fs::remove_file(&manifest).unwrap();
    testkit::eventually_async(crate::PATIENCE, "its mirror is gone", async || {
        bench.pods.get_opt(&mirror).await.is_ok_and(|pod| pod.is_none())
    })
    .await;
}
