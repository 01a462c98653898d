//! Pods from their first container to their end.

use std::time::Instant;

use k8s_openapi::api::core::v1::{ConfigMap, ContainerState, ContainerStatus, Pod, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::bench::Bench;
use crate::server::NODE;

/// A shell and the usual tools.
pub const BUSYBOX: &str = "rkctl.local/busybox:1";

pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

pub fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

pub fn condition(pod: &Pod, type_: &str) -> String {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut found = conditions.filter(|condition| condition.type_ == type_);
    found.next().map(|condition| condition.status.clone()).unwrap_or_default()
}

pub fn waits_for(pod: &Pod, reason: &str) -> bool {
    let state = container(pod).and_then(|container| container.state.clone()).unwrap_or_default();
    state.waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some(reason))
}

fn state(pod: &Pod) -> ContainerState {
    container(pod).and_then(|container| container.state.clone()).unwrap_or_default()
}

pub async fn init_containers_env_and_volumes(bench: &Bench) {
    let map: ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": "lives" }, "data": { "k": "from-map", "file": "text" } }))
            .unwrap();
    bench.config_maps.create(&PostParams::default(), &map).await.unwrap();
    let secret: Secret =
        serde_json::from_value(json!({ "metadata": { "name": "lives" }, "stringData": { "s": "from-secret" } }))
            .unwrap();
    bench.secrets.create(&PostParams::default(), &secret).await.unwrap();
    let host = bench.folder.path().join("host");
    std::fs::create_dir(&host).unwrap();
    let print = "echo $PLAIN $EXPANDED $ESCAPED $NAME $NODE $LIMIT $MAP $SECRET $P_k; cat /made/init /map/renamed /secret/s /down/labels /all/file; \
                 echo; stat -L -c %a /map/renamed /tokens/token; echo out >/host/file; df /memory | grep -c tmpfs";
    let created = bench
        .run(
            "everything",
            json!({
                "restartPolicy": "Never",
                "initContainers": [{ "name": "init", "image": BUSYBOX, "command": ["sh", "-c", "echo initialised >/made/init"],
                    "volumeMounts": [{ "name": "work", "mountPath": "/made" }] }],
                "containers": [{ "name": "app", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c"], "args": [format!("{print}; echo $(PLAIN)")],
                    "resources": { "limits": { "memory": "64Mi", "cpu": "200m" } },
                    "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "lives" } }],
                    "env": [
                        { "name": "PLAIN", "value": "plain" },
                        { "name": "EXPANDED", "value": "$(PLAIN)-more" },
                        { "name": "ESCAPED", "value": "$$(PLAIN)" },
                        { "name": "NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                        { "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } },
                        { "name": "LIMIT", "valueFrom": { "resourceFieldRef": { "resource": "limits.memory", "divisor": "1Mi" } } },
                        { "name": "MAP", "valueFrom": { "configMapKeyRef": { "name": "lives", "key": "k" } } },
                        { "name": "SECRET", "valueFrom": { "secretKeyRef": { "name": "lives", "key": "s" } } },
                    ],
                    "volumeMounts": [
                        { "name": "work", "mountPath": "/made" }, { "name": "map", "mountPath": "/map" },
                        { "name": "secret", "mountPath": "/secret" }, { "name": "down", "mountPath": "/down" },
                        { "name": "all", "mountPath": "/all" }, { "name": "tokens", "mountPath": "/tokens" },
                        { "name": "host", "mountPath": "/host" }, { "name": "memory", "mountPath": "/memory" },
                    ] }],
                "volumes": [
                    { "name": "work", "emptyDir": {} },
                    { "name": "memory", "emptyDir": { "medium": "Memory" } },
                    { "name": "host", "hostPath": { "path": host, "type": "Directory" } },
                    { "name": "map", "configMap": { "name": "lives", "items": [{ "key": "file", "path": "renamed", "mode": 0o400 }] } },
                    { "name": "secret", "secret": { "secretName": "lives" } },
                    { "name": "down", "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } },
                    { "name": "all", "projected": { "sources": [{ "configMap": { "name": "lives" } }] } },
                    { "name": "tokens", "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } },
                ],
            }),
        )
        .await;
    let pod = bench.until("everything", "it succeeds", |pod| ["Succeeded", "Failed"].contains(&phase(pod))).await;
    let expected = format!(
        "plain plain-more $(PLAIN) everything {NODE} 64 from-map from-secret from-map\n\
         initialised\ntextfrom-secretapp=\"everything\"text\n400\n644\n1\nplain\n"
    );
    assert_eq!(bench.log(&created, "app"), expected);
    assert_eq!(phase(&pod), "Succeeded");
    assert_eq!(std::fs::read_to_string(host.join("file")).unwrap(), "out\n");
    let terminated = state(&pod).terminated.expect("it ended");
    assert_eq!((terminated.exit_code, terminated.reason.as_deref()), (0, Some("Completed")));
    assert_eq!((condition(&pod, "Initialized"), condition(&pod, "Ready")), ("True".into(), "False".into()));
    bench.delete("everything").await;
}

pub async fn probes_hooks_and_grace(bench: &Bench) {
    let marks = bench.folder.path().join("marks");
    std::fs::create_dir(&marks).unwrap();
    let hook = |name: &str| json!({ "exec": { "command": ["sh", "-c", format!("echo done >/marks/{name}")] } });
    bench
        .run(
            "served",
            json!({
                "terminationGracePeriodSeconds": 20,
                "containers": [{ "name": "app", "image": "rkctl.local/web:1",
                    "ports": [{ "name": "http", "containerPort": 8080 }],
                    "startupProbe": { "tcpSocket": { "port": 8080 }, "periodSeconds": 1, "failureThreshold": 60 },
                    "readinessProbe": { "httpGet": { "path": "/healthz", "port": "http" }, "periodSeconds": 1 },
                    "livenessProbe": { "exec": { "command": ["true"] }, "periodSeconds": 1, "timeoutSeconds": 20 },
                    "lifecycle": { "postStart": hook("started"), "preStop": hook("stopping") },
                    "volumeMounts": [{ "name": "marks", "mountPath": "/marks" }] }],
                "volumes": [{ "name": "marks", "hostPath": { "path": marks } }],
            }),
        )
        .await;
    let pod = bench.until("served", "it is ready", |pod| condition(pod, "Ready") == "True").await;
    for type_ in ["PodReadyToStartContainers", "Initialized", "ContainersReady"] {
        assert_eq!(condition(&pod, type_), "True", "{type_}");
    }
    let status = pod.status.as_ref().unwrap();
    let host_ip = bench.serving.ip().to_string();
    assert_eq!((phase(&pod), status.host_ip.as_deref()), ("Running", Some(host_ip.as_str())));
    assert!(status.pod_ip.as_deref().is_some_and(|ip| ip.starts_with("10.253.")), "{:?}", status.pod_ip);
    assert_eq!(container(&pod).unwrap().started, Some(true));
    assert!(marks.join("started").exists() && !marks.join("stopping").exists());
    // This one does not end when it is asked to.
    bench
        .run(
            "stubborn",
            json!({ "terminationGracePeriodSeconds": 3, "containers": [
                { "name": "app", "image": BUSYBOX, "command": ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"] },
            ] }),
        )
        .await;
    bench.until("stubborn", "it runs", |pod| phase(pod) == "Running").await;
    let begun = Instant::now();
    tokio::join!(bench.delete("served"), bench.delete("stubborn"));
    assert!(begun.elapsed().as_secs() >= 3, "the grace was cut short: {:?}", begun.elapsed());
    assert!(marks.join("stopping").exists());
}

pub async fn a_failed_liveness_probe_restarts_the_container(bench: &Bench) {
    bench
        .run(
            "sick",
            json!({ "terminationGracePeriodSeconds": 1, "containers": [{ "name": "app", "image": BUSYBOX,
                "command": ["sh", "-c", "sleep 3600"],
                "livenessProbe": { "exec": { "command": ["false"] }, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 20 } }] }),
        )
        .await;
    let pod = bench
        .until("sick", "it was restarted", |pod| container(pod).is_some_and(|container| container.restart_count > 0))
        .await;
    let last = container(&pod).unwrap().last_state.clone().and_then(|state| state.terminated).expect("a former run");
    assert_eq!((last.exit_code, last.reason.as_deref()), (137, Some("Error")));
    bench.delete("sick").await;
}

pub async fn a_probe_that_takes_too_long_restarts_the_container(bench: &Bench) {
    bench
        .run(
            "slow",
            json!({ "terminationGracePeriodSeconds": 1, "containers": [{ "name": "app", "image": BUSYBOX,
                "command": ["sh", "-c", "sleep 3600"],
                "livenessProbe": { "exec": { "command": ["sleep", "600"] }, "periodSeconds": 1, "failureThreshold": 1 } }] }),
        )
        .await;
    bench
        .until("slow", "it was restarted", |pod| container(pod).is_some_and(|container| container.restart_count > 0))
        .await;
    bench.delete("slow").await;
}

pub async fn a_readiness_gate_that_somebody_opens_stays_open(bench: &Bench) {
    bench
        .run(
            "gated",
            json!({ "terminationGracePeriodSeconds": 1, "readinessGates": [{ "conditionType": "example.com/gate" }],
                "containers": [{ "name": "app", "image": BUSYBOX, "command": ["sh", "-c", "sleep 3600"] }] }),
        )
        .await;
    let pod = bench.until("gated", "its containers are ready", |pod| condition(pod, "ContainersReady") == "True").await;
    assert_eq!(condition(&pod, "Ready"), "False");
    let open = |status: &str| {
        let condition = json!({ "type": "example.com/gate", "status": status });
        Patch::Strategic(json!({ "status": { "conditions": [condition] } }))
    };
    for (status, ready) in [("True", "True"), ("False", "False"), ("True", "True")] {
        bench.pods.patch_status("gated", &PatchParams::default(), &open(status)).await.unwrap();
        let pod = bench.until("gated", "its gate is seen", |pod| condition(pod, "Ready") == ready).await;
        assert_eq!(condition(&pod, "example.com/gate"), status);
        let ready = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).unwrap();
        let ready = ready.iter().find(|condition| condition.type_ == "Ready").unwrap();
        assert_eq!(ready.reason.as_deref(), (status == "False").then_some("ReadinessGatesNotReady"));
    }
    bench.delete("gated").await;
}

pub async fn a_crashing_container_waits_and_a_failed_pod_tells_why(bench: &Bench) {
    let failing = |policy: &str| {
        json!({ "restartPolicy": policy, "containers": [{ "name": "app", "image": BUSYBOX,
            "command": ["sh", "-c", "echo no luck >/dev/termination-log; exit 3"] }] })
    };
    bench.run("once", failing("Never")).await;
    bench.run("again", failing("OnFailure")).await;
    let pod = bench.until("once", "it failed", |pod| phase(pod) == "Failed").await;
    let end = state(&pod).terminated.expect("it ended");
    assert_eq!((end.exit_code, end.message.as_deref(), end.reason.as_deref()), (3, Some("no luck\n"), Some("Error")));
    let pod = bench.until("again", "it waits", |pod| waits_for(pod, "CrashLoopBackOff")).await;
    assert_eq!(phase(&pod), "Running");
    assert!(container(&pod).unwrap().restart_count >= 1);
    tokio::join!(bench.delete("once"), bench.delete("again"));
}
