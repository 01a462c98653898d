//! Deployments, DaemonSets, services and scheduling.

use serde_json::{Value, json};

use super::support::{BROKEN, start};

fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image,
        "ports": [{"name": "http", "containerPort": 8080}]}]}})
}

fn deployment(replicas: u32, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}}, "template": template("web", image)}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_rolls_out_scales_and_goes_back() {
    let cluster = start().await;
    for node in ["w1", "w2"] {
        cluster.node(node).await;
    }
    cluster.apply(deployment(4, "v1")).await;
    cluster.kubectl("rollout status deployment/web --timeout=60s").await;
    let nodes = cluster.kubectl("get pods -l app=web -o jsonpath={.items[*].spec.nodeName}").await;
    assert!(nodes.contains("w1") && nodes.contains("w2"), "on both nodes: {nodes}");
    cluster.kubectl("scale deployment/web --replicas=6").await;
    cluster.kubectl("rollout status deployment/web --timeout=60s").await;
    cluster.kubectl("set image deployment/web c=v2").await;
    cluster.kubectl("rollout status deployment/web --timeout=60s").await;
    let images = cluster
        .until("get pods -l app=web -o jsonpath={.items[*].spec.containers[0].image}", |out| {
            out.split(' ').count() == 6
        })
        .await;
    assert!(!images.contains("v1"), "{images}");
    cluster.kubectl(&format!("set image deployment/web c={BROKEN}")).await;
    cluster
        .until("get deployment web -o jsonpath={.status.updatedReplicas}/{.status.availableReplicas}", |out| {
            out == "3/5"
        })
        .await;
    let history = cluster.kubectl("rollout history deployment/web").await;
    assert!(history.contains("\n3"), "{history}");
    cluster.kubectl("rollout undo deployment/web").await;
    cluster.kubectl("rollout status deployment/web --timeout=60s").await;
    let image = cluster.kubectl("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}").await;
    assert_eq!(image, "v2");
    let described = cluster.kubectl("describe deployment web").await;
    assert!(described.contains("NewReplicaSetAvailable") && described.contains("Scaled up replica set"), "{described}");
    cluster.kubectl("delete deployment web --wait=false").await;
    cluster.until("get replicasets,pods -o name", str::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_deleted_comes_back_and_a_service_follows() {
    let cluster = start().await;
    cluster.node("w1").await;
    cluster.apply(deployment(2, "v1")).await;
    cluster.kubectl("expose deployment web --port=80 --target-port=http").await;
    let ready = "get endpointslices -l kubernetes.io/service-name=web \
                 -o jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].targetRef.name}";
    let before = cluster.until(ready, |out| out.split_whitespace().count() == 2).await;
    let gone = before.split(' ').next().unwrap().to_string();
    cluster.kubectl(&format!("delete pod {gone}")).await;
    cluster.until(ready, |out| out.split_whitespace().count() == 2 && !out.contains(&gone)).await;
    let old = "get endpoints web -o jsonpath={.subsets[0].addresses[*].ip}:{.subsets[0].ports[0].port}";
    cluster.until(old, |out| out.split_whitespace().count() == 2 && out.ends_with(":8080")).await;
    cluster.kubectl("scale deployment web --replicas=0").await;
    cluster.until(ready, str::is_empty).await;
    cluster.kubectl("delete service web").await;
    cluster.until("get endpoints,endpointslices -o name", |out| !out.contains("web")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_is_on_every_node_also_on_those_that_come_later() {
    let cluster = start().await;
    for node in ["w1", "w2"] {
        cluster.node(node).await;
    }
    let daemon = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": {
        "selector": {"matchLabels": {"app": "agent"}}, "template": template("agent", "v1")}});
    cluster.apply(daemon).await;
    cluster.kubectl("rollout status daemonset/agent --timeout=60s").await;
    cluster.node("w3").await;
    let nodes = "get pods -l app=agent -o jsonpath={.items[*].spec.nodeName}";
    let on = |out: &str| {
        let mut nodes: Vec<String> = out.split_whitespace().map(str::to_string).collect();
        nodes.sort();
        nodes
    };
    cluster.until(nodes, |out| on(out) == ["w1", "w2", "w3"]).await;
    cluster.kubectl("set image daemonset/agent c=v2").await;
    cluster.kubectl("rollout status daemonset/agent --timeout=60s").await;
    let images = "get pods -l app=agent -o jsonpath={.items[*].spec.containers[0].image}";
    cluster.until(images, |out| out == "v2 v2 v2").await;
    cluster.kubectl("rollout undo daemonset/agent").await;
    cluster.kubectl("rollout status daemonset/agent --timeout=60s").await;
    cluster.until(images, |out| out == "v1 v1 v1").await;
    let revisions = cluster.kubectl("get controllerrevisions -o jsonpath={.items[*].revision}").await;
    assert!(revisions.contains('3') && revisions.split(' ').count() == 2, "{revisions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fits_nowhere_says_why_and_starts_when_room_comes() {
    let cluster = start().await;
    cluster.node("w1").await;
    let mut pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "big"}, "spec": template("x", "v1")["spec"]});
    pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "w2"});
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "3"}});
    cluster.apply(pod).await;
    let why = "get pod big -o jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].message}";
    let said = cluster.until(why, |out| !out.is_empty()).await;
    assert!(
        said.starts_with("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."),
        "{said}"
    );
    let event = "get events --field-selector reason=FailedScheduling -o jsonpath={.items[0].message}";
    cluster.until(event, |out| out == said).await;
    cluster.node("w2").await;
    cluster.until("get pod big -o jsonpath={.spec.nodeName}:{.status.phase}", |out| out == "w2:Running").await;
    let scheduled = "get events --field-selector reason=Scheduled -o jsonpath={.items[0].message}";
    cluster.until(scheduled, |out| out == "Successfully assigned default/big to w2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn important_pods_make_room_for_themselves() {
    let cluster = start().await;
    cluster.node("w1").await;
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "vip"},
        "value": 1000});
    cluster.apply(class).await;
    let pod = |name: &str, class: &str| {
        let spec = template("x", "v1")["spec"].clone();
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
        pod["spec"]["priorityClassName"] = json!(class);
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "3"}});
        pod
    };
    cluster.apply(pod("low", "")).await;
    cluster.until("get pod low -o jsonpath={.status.phase}", |out| out == "Running").await;
    cluster.apply(pod("high", "vip")).await;
    cluster.until("get pod high -o jsonpath={.status.phase}", |out| out == "Running").await;
    cluster.until("get pods -o name", |out| out == "pod/high").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_why_nothing_was_created_in_the_servers_words() {
    let cluster = start().await;
    cluster.node("w1").await;
    cluster
        .apply(json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"},
            "spec": {"hard": {"pods": "0", "count/replicasets.apps": "0"}}}))
        .await;
    let daemon = json!({"selector": {"matchLabels": {"app": "log"}}, "template": template("log", "v1")});
    cluster
        .apply(json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "log"}, "spec": daemon}))
        .await;
    cluster.apply(deployment(1, "v1")).await;
    cluster
        .until("get events -o jsonpath={.items[*].message}", |out| {
            let set = out.split("Failed to create new replica set \"").nth(1).and_then(|rest| rest.split_once("\": "));
            out.contains("Error creating: pods \"log-")
                && set.is_some_and(|(name, why)| why.starts_with(&format!("replicasets.apps \"{name}\" is forbidden")))
        })
        .await;
}
