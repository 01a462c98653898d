//! Tokens of service accounts that lie in secrets.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::support::{Cluster, start};

/// What the server says of a token.
async fn review(cluster: &Cluster, token: &str) -> Value {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let request = http::Request::post("/apis/authentication.k8s.io/v1/tokenreviews")
        .header("content-type", "application/json")
        .body(review.to_string().into_bytes())
        .expect("a request");
    let mut answer = cluster.admin.request::<Value>(request).await.expect("a review");
    answer["status"].take()
}

fn secret(account: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "robot-token", "annotations": {"kubernetes.io/service-account.name": account}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_secret_is_filled_and_goes_with_its_account() {
    let cluster = start().await;
    cluster.kubectl("create serviceaccount robot").await;
    let uid = cluster.kubectl("get serviceaccount robot -o jsonpath={.metadata.uid}").await;
    cluster.apply(secret("robot")).await;
    let data = |key: &str| format!("get secret robot-token -o jsonpath={{.data.{key}}}");
    let decoded = |text: &str| String::from_utf8(BASE64_STANDARD.decode(text).expect("base64")).expect("text");
    let token = decoded(&cluster.until(&data("token"), |out| !out.is_empty()).await);
    assert_eq!(decoded(&cluster.kubectl(&data("namespace")).await), "default");
    assert!(decoded(&cluster.kubectl(&data("ca\\.crt")).await).starts_with("-----BEGIN CERTIFICATE-----"));
    let found = review(&cluster, &token).await;
    assert_eq!(found["authenticated"], true, "{found}");
    assert_eq!(found["user"]["username"], "system:serviceaccount:default:robot");
    assert_eq!(found["user"]["uid"], uid.as_str());
    // Who cleans up sees by the label which tokens are in use.
    let used = "get secret robot-token -o jsonpath={.metadata.labels.kubernetes\\.io/legacy-token-last-used}";
    let day = cluster.until(used, |out| !out.is_empty()).await;
    assert!(day.parse::<jiff::civil::Date>().is_ok(), "{day}");

    cluster.kubectl("delete serviceaccount robot").await;
    cluster.until("get secrets -o name", |out| !out.contains("robot-token")).await;
    cluster.kubectl("create serviceaccount robot").await;
    let found = review(&cluster, &token).await;
    assert!(found["authenticated"] != true, "another account of the same name: {found}");
    cluster.apply(secret("nobody")).await;
    cluster.until("get secrets -o name", |out| !out.contains("robot-token")).await;
}
