//! What of the cluster's certificates everybody finds, and what is not kept.

use std::time::Duration;

use k8s_openapi::api::certificates::v1::PodCertificateRequest;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::support::{eventually, start};

// conformance: kube-root-ca.crt in every namespace; recreated if deleted, reconciled if edited
#[tokio::test(flavor = "multi_thread")]
async fn every_namespace_has_the_clusters_authority_whatever_is_done_to_it() {
    let cluster = start().await;
    let authority = cluster.file("ca.crt");
    let read = "get configmap kube-root-ca.crt -n team -o jsonpath={.data}";
    let wanted = json!({"ca.crt": authority}).to_string();
    let is_whole =
        |out: &str| serde_json::from_str(out).ok() == serde_json::from_str::<serde_json::Value>(&wanted).ok();
    cluster.kubectl("create namespace team").await;
    cluster.until(read, is_whole).await;
    let uid = "get configmap kube-root-ca.crt -n team -o jsonpath={.metadata.uid}";
    let first = cluster.kubectl(uid).await;
    cluster.kubectl("delete configmap kube-root-ca.crt -n team").await;
    cluster.until(uid, |out| !out.is_empty() && out != first).await;
    cluster.until(read, is_whole).await;
    cluster.kubectl(r#"patch configmap kube-root-ca.crt -n team -p {"data":{"ca.crt":"other","more":"x"}}"#).await;
    cluster.until(read, is_whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_is_published_as_a_bundle_and_no_other_of_its_signer_is() {
    let cluster = start().await;
    let bundles =
        "get clustertrustbundles --field-selector=spec.signerName=kubernetes.io/kube-apiserver-serving -o name";
    let is_one = |out: &str| out.lines().count() == 1;
    let own = cluster.until(bundles, is_one).await;
    let name = own.rsplit('/').next().expect("a name").to_string();
    assert!(name.starts_with("kubernetes.io:kube-apiserver-serving:"), "{name}");
    let text = format!("get clustertrustbundle {name} -o jsonpath={{.spec.trustBundle}}");
    assert_eq!(cluster.kubectl(&text).await, cluster.file("ca.crt").trim());
    cluster.kubectl(&format!("delete clustertrustbundle {name}")).await;
    cluster.until(bundles, |out| out == own).await;
    let other = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle",
        "metadata": {"name": "kubernetes.io:kube-apiserver-serving:old"},
        "spec": {"signerName": "kubernetes.io/kube-apiserver-serving", "trustBundle": cluster.file("ca.crt")}});
    cluster.apply(other).await;
    cluster.until(bundles, |out| out == own).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_requests_for_pods_certificates_are_deleted() {
    let cluster = start().await;
    let made = pki::pod_key("ED25519").expect("a key");
    let spec = json!({"signerName": "example.com/own", "podName": "p", "podUID": "pu", "serviceAccountName": "default",
        "serviceAccountUID": "su", "nodeName": "n", "nodeUID": "nu", "stubPKCS10Request": k8s_openapi::ByteString(made.request)});
    let request = json!({"metadata": {"name": "r"}, "spec": spec});
    let request: PodCertificateRequest = serde_json::from_value(request).expect("a request");
    let api: Api<PodCertificateRequest> = Api::namespaced(cluster.admin.clone(), "default");
    api.create(&PostParams::default(), &request).await.expect("it is taken");
    let began = std::time::Instant::now();
    eventually("the request is deleted", || async { api.get_opt("r").await.is_ok_and(|found| found.is_none()) }).await;
    // Times of creation are whole seconds.
    assert!(began.elapsed() >= Duration::from_secs(1), "it was kept for its time");
}
