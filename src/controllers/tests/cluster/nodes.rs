//! Nodes that join, fall silent, come back and go.

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use super::support::{Cluster, eventually, start};

fn deployment() -> Value {
    let tolerate = |key: &str| json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"tolerations": [tolerate("not-ready"), tolerate("unreachable")],
                "containers": [{"name": "c", "image": "v1"}]}}}})
}

const READY: &str = "-o jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
const RUNNING_ON: &str = "get pods --field-selector status.phase=Running -o jsonpath={range.items[*]}{.spec.nodeName}:{.metadata.deletionTimestamp};{end}";

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_loses_its_pods_and_recovers() {
    let cluster = start().await;
    for node in ["w1", "w2"] {
        cluster.node(node).await;
    }
    cluster.apply(deployment()).await;
    cluster.until(RUNNING_ON, |out| out.contains("w1:;") && out.contains("w2:;")).await;
    let cidrs = cluster.kubectl("get nodes -o jsonpath={.items[*].spec.podCIDR}").await;
    assert_eq!(cidrs, "10.42.0.0/24 10.42.1.0/24");
    cluster.kill("w2");
    cluster.until(&format!("get node w2 {READY}"), |out| out == "Unknown").await;
    let taints = "get node w2 -o jsonpath={.spec.taints[*].effect}:{.spec.taints[0].key}";
    cluster.until(taints, |out| out.contains("NoExecute") && out.ends_with("node.kubernetes.io/unreachable")).await;
    cluster.until(RUNNING_ON, |out| out.matches("w1:;").count() == 2).await;
    let lost =
        "get pods -o jsonpath={.items[?(@.spec.nodeName==\"w2\")].status.conditions[?(@.type==\"Ready\")].status}";
    cluster.until(lost, |out| out == "False").await;
    cluster.revive("w2").await;
    cluster.until(&format!("get node w2 {READY}"), |out| out == "True").await;
    cluster.until("get node w2 -o jsonpath={.spec.taints}", str::is_empty).await;
    cluster.until("get pods -o name", |out| out.lines().count() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_node_is_silent_nobody_is_evicted() {
    let cluster = start().await;
    cluster.node("w1").await;
    cluster.apply(deployment()).await;
    cluster.until(RUNNING_ON, |out| out.matches("w1:;").count() == 2).await;
    cluster.kill("w1");
    cluster.until("get node w1 -o jsonpath={.spec.taints[*].effect}", |out| out == "NoSchedule").await;
    let pods = cluster.kubectl("get pods -o jsonpath={.items[*].metadata.deletionTimestamp}").await;
    assert_eq!(pods, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_most_nodes_are_silent_at_once_nobody_is_evicted() {
    let cluster = start().await;
    for node in ["w1", "w2", "w3", "w4"] {
        cluster.node(node).await;
    }
    let mut deployment = deployment();
    deployment["spec"]["replicas"] = json!(4);
    // Those that fall silent first must not lose theirs before the others' silence is noticed.
    for toleration in [0, 1] {
        deployment["spec"]["template"]["spec"]["tolerations"][toleration]["tolerationSeconds"] = json!(30);
    }
    cluster.apply(deployment).await;
    cluster.until(RUNNING_ON, |out| ["w2:;", "w3:;", "w4:;"].iter().all(|node| out.contains(node))).await;
    for node in ["w2", "w3", "w4"] {
        cluster.kill(node);
    }
    let effects = "get nodes w2 w3 w4 -o jsonpath={range.items[*]}{.spec.taints[*].effect};{end}";
    cluster.until(effects, |out| out == "NoSchedule;NoSchedule;NoSchedule;").await;
    let pods = cluster.kubectl("get pods -o jsonpath={.items[*].metadata.deletionTimestamp}").await;
    assert_eq!(pods, "");
    // Fewer are believed.
    for node in ["w2", "w3"] {
        cluster.revive(node).await;
    }
    cluster.until("get node w4 -o jsonpath={.spec.taints[*].effect}", |out| out.contains("NoExecute")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cordoned_nodes_are_tainted_and_pods_of_deleted_nodes_go() {
    let cluster = start().await;
    for node in ["w1", "w2"] {
        cluster.node(node).await;
    }
    cluster.kubectl("cordon w1").await;
    let taints = "get node w1 -o jsonpath={.spec.taints[*].key}";
    cluster.until(taints, |out| out == "node.kubernetes.io/unschedulable").await;
    cluster.apply(deployment()).await;
    cluster.until(RUNNING_ON, |out| out.matches("w2:;").count() == 2).await;
    cluster.kubectl("uncordon w1").await;
    cluster.until(taints, str::is_empty).await;
    cluster.kill("w2");
    cluster.kubectl("delete node w2").await;
    cluster.until(RUNNING_ON, |out| out == "w1:;w1:;").await;
}

async fn ask(cluster: &Cluster, user: &str, name: &str, signer: &str, usage: &str, sans: &[&str]) {
    let key = pki::generate_key().expect("a key");
    let sans: Vec<pki::San> = sans.iter().map(|san| pki::San::parse(san)).collect();
    let pem = pki::new_request(&key, "system:node:w1", &["system:nodes".to_string()], &sans).expect("a request");
    let request = json!({"metadata": {"name": name}, "spec": {"request": ByteString(pem.into_bytes()),
        "signerName": format!("kubernetes.io/{signer}"), "usages": ["digital signature", usage]}});
    let request: CertificateSigningRequest = serde_json::from_value(request).expect("a request");
    let api = Api::all(cluster.client_of(user));
    api.create(&PostParams::default(), &request).await.expect("the request is taken");
}

async fn is_issued(cluster: &Cluster, name: &str) {
    let line = format!("get csr {name} -o jsonpath={{.status.certificate}}");
    cluster.until(&line, |out| !out.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_its_certificates_and_nothing_more() {
    let cluster = start().await;
    cluster.node("w1").await;
    ask(&cluster, "system:bootstrap:abcdef", "join", "kube-apiserver-client-kubelet", "client auth", &[]).await;
    ask(&cluster, "system:node:w1", "renew", "kube-apiserver-client-kubelet", "client auth", &[]).await;
    ask(&cluster, "system:node:w1", "serve", "kubelet-serving", "server auth", &["w1", "10.0.0.1"]).await;
    ask(&cluster, "system:node:w1", "steal", "kubelet-serving", "server auth", &["kubernetes.default"]).await;
    for name in ["join", "renew", "serve"] {
        is_issued(&cluster, name).await;
    }
    cluster.kubectl("certificate deny steal").await;
    let listed = cluster.kubectl("get csr --no-headers").await;
    let issued = "Approved,Issued";
    for (name, state) in [("join", issued), ("renew", issued), ("serve", issued), ("steal", "Denied")] {
        let line = listed.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        assert!(line.trim_end().ends_with(state), "{listed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_certificate_comes_as_soon_as_the_node_lists_what_it_serves_under() {
    let cluster = start().await;
    ask(&cluster, "system:node:w1", "early", "kubelet-serving", "server auth", &["w1", "10.0.0.1"]).await;
    cluster.node("w1").await;
    is_issued(&cluster, "early").await;
    // The API server's address, until an administrator says that the node is on its host.
    let address = json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"},
        {"type": "Hostname", "address": "w1"}]}});
    let patch = ["patch", "node", "w1", "--subresource=status", "-p", &address.to_string()];
    assert!(cluster.kubectl_output(&patch).await.status.success());
    ask(&cluster, "system:node:w1", "shared", "kubelet-serving", "server auth", &["w1", "192.0.2.1"]).await;
    ask(&cluster, "system:node:w1", "own", "kubelet-serving", "server auth", &["w1"]).await;
    is_issued(&cluster, "own").await;
    assert_eq!(cluster.kubectl("get csr shared -o jsonpath={.status.conditions}").await, "");
    cluster.kubectl("label node w1 node-role.kubernetes.io/control-plane=").await;
    is_issued(&cluster, "shared").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_say_whose_nodes_get_client_certificates() {
    let cluster = start().await;
    let bind = |role: &str| {
        format!("create clusterrolebinding {} --clusterrole={role} --user=deployer", role.replace(':', "-"))
    };
    cluster.kubectl(&bind("system:node-bootstrapper")).await;
    cluster.kubectl(&bind("system:certificates.k8s.io:certificatesigningrequests:nodeclient")).await;
    cluster.kubectl("delete clusterrolebinding rkctl:node-autoapprove-bootstrap").await;
    // Each takes effect when the server has followed the change.
    let may = async |user: &str| {
        let line = format!("auth can-i create certificatesigningrequests --subresource=nodeclient {user}");
        String::from_utf8_lossy(&cluster.kubectl_output(&line.split(' ').collect::<Vec<_>>()).await.stdout).trim()
            == "yes"
    };
    eventually("the deployer may and hosts may not", || async {
        may("--as=deployer").await && !may("--as=system:bootstrap:abcdef --as-group=system:bootstrappers").await
    })
    .await;
    ask(&cluster, "system:bootstrap:abcdef", "unbound", "kube-apiserver-client-kubelet", "client auth", &[]).await;
    ask(&cluster, "deployer", "bound", "kube-apiserver-client-kubelet", "client auth", &[]).await;
    is_issued(&cluster, "bound").await;
    assert_eq!(cluster.kubectl("get csr unbound -o jsonpath={.status.conditions}").await, "");
}
