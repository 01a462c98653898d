//! Service accounts, their tokens, reviews of access, and requests for certificates, by every verb there is.

use serde_json::{Value, json};

use crate::json_of;
use crate::support::{Cluster, eventually};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

// conformance: TokenRequest then TokenReview authenticates
#[tokio::test(flavor = "multi_thread")]
async fn a_requested_token_is_known_for_whom_it_is_meant() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    cluster.succeeds(&admin, &["create", "serviceaccount", "robot"]).await;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": ["vault"], "expirationSeconds": 3600}});
    let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    let token = cluster.post(&admin, path, &request).await["status"]["token"].clone();
    let review = async |audiences: Value| {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token, "audiences": audiences}});
        cluster.post(&admin, "/apis/authentication.k8s.io/v1/tokenreviews", &review).await["status"].clone()
    };
    let known = review(json!(["vault", "other"])).await;
    assert_eq!((&known["authenticated"], &known["audiences"]), (&json!(true), &json!(["vault"])), "{known}");
    assert_eq!(known["user"]["username"], "system:serviceaccount:default:robot");
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!(known["user"]["groups"], groups);
    let credential = &known["user"]["extra"]["authentication.kubernetes.io/credential-id"][0];
    assert!(credential.as_str().is_some_and(|id| id.starts_with("JTI=")), "{known}");
    let unknown = review(json!([])).await;
    assert!(unknown["authenticated"] != true && unknown["error"].is_string(), "{unknown}");
    cluster.fails(&cluster.token(token.as_str().expect("a token")), &["auth", "whoami"]).await;
    cluster.stop().await;
}

// conformance: ServiceAccount lifecycle with watch
// conformance: ServiceAccount update
#[tokio::test(flavor = "multi_thread")]
async fn service_accounts_are_made_found_changed_and_deleted() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let listed = json_of(&cluster.succeeds(&admin, &["get", "--raw", "/api/v1/serviceaccounts"]).await);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "robot", "namespace": "default", "labels": {"a": "b"}}});
    cluster.create(&admin, &account).await;
    let found = cluster.succeeds(&admin, &["get", "serviceaccounts", "-A", "-l", "a=b", "-o", "name"]).await;
    assert_eq!(found.trim(), "serviceaccount/robot");
    let patch = r#"{"automountServiceAccountToken": false}"#;
    cluster.succeeds(&admin, &["patch", "serviceaccount", "robot", "-p", patch]).await;
    let mut robot = json_of(&cluster.succeeds(&admin, &["get", "serviceaccount", "robot", "-o", "json"]).await);
    assert_eq!(robot["automountServiceAccountToken"], false);
    robot["automountServiceAccountToken"] = json!(true);
    let file = cluster.file("robot.json", &robot);
    cluster.succeeds(&admin, &["replace", "-f", &file]).await;
    cluster.succeeds(&admin, &["delete", "serviceaccounts", "-l", "a=b"]).await;
    // What has been is sent at once.
    let since = listed["metadata"]["resourceVersion"].as_str().expect("a list has one");
    let watch = format!("/api/v1/serviceaccounts?watch=1&labelSelector=a%3Db&resourceVersion={since}&timeoutSeconds=5");
    let events = cluster.succeeds(&admin, &["get", "--raw", &watch]).await;
    let types: Vec<&str> = ["ADDED", "MODIFIED", "DELETED"].into_iter().filter(|kind| events.contains(kind)).collect();
    assert_eq!(types, ["ADDED", "MODIFIED", "DELETED"], "{events}");
    cluster.stop().await;
}

// conformance: SubjectAccessReview and LocalSubjectAccessReview agree with an impersonated client
#[tokio::test(flavor = "multi_thread")]
async fn reviews_of_access_say_what_the_subject_meets() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    cluster.succeeds(&admin, &["create", "serviceaccount", "robot"]).await;
    let role = ["create", "role", "reader", "--verb=get,list", "--resource=configmaps"];
    cluster.succeeds(&admin, &role).await;
    let bind = ["create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:robot"];
    cluster.succeeds(&admin, &bind).await;
    let subject = "system:serviceaccount:default:robot";
    let as_subject = format!("--as={subject}");
    eventually("the binding counts", || async {
        cluster.output(&admin, &["get", "configmaps", &as_subject]).await.2.then_some(())
    })
    .await;
    for (resource, namespace) in
        [("configmaps", "default"), ("secrets", "default"), ("configmaps", "kube-system"), ("pods", "default")]
    {
        let meets = cluster.output(&admin, &["get", resource, "-n", namespace, &as_subject]).await.2;
        for kind in ["SubjectAccessReview", "LocalSubjectAccessReview"] {
            let asked = json!({"verb": "list", "resource": resource, "namespace": namespace});
            let groups = ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"];
            let mut review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind,
                "spec": {"user": subject, "groups": groups, "resourceAttributes": asked}});
            let path = match kind {
                "SubjectAccessReview" => format!("{REVIEWS}/subjectaccessreviews"),
                _ => {
                    review["metadata"] = json!({"namespace": namespace});
                    format!("{REVIEWS}/namespaces/{namespace}/localsubjectaccessreviews")
                }
            };
            let said = cluster.post(&admin, &path, &review).await;
            assert_eq!(said["status"]["allowed"], meets, "{kind} {resource} {namespace}: {said}");
        }
    }
    cluster.stop().await;
}

// conformance: CertificateSigningRequest v1: full verb set, /approval and /status
#[tokio::test(flavor = "multi_thread")]
async fn requests_for_certificates_are_made_approved_and_deleted() {
    let cluster = Cluster::start().await;
    let admin = cluster.certificate("admin", &["system:masters"]);
    let resources = cluster.succeeds(&admin, &["get", "--raw", "/apis/certificates.k8s.io/v1"]).await;
    for name in
        ["certificatesigningrequests", "certificatesigningrequests/approval", "certificatesigningrequests/status"]
    {
        assert!(resources.contains(&format!("\"name\":\"{name}\"")), "{resources}");
    }
    let collection = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    for name in ["one", "two"] {
        let file = cluster.csr_file(name, "system:node:w1", "system:nodes");
        cluster.succeeds(&admin, &["create", "-f", &file]).await;
    }
    assert_eq!(cluster.succeeds(&admin, &["get", "csr", "-o", "name"]).await.lines().count(), 2);
    cluster.succeeds(&admin, &["annotate", "csr", "one", "patched=yes"]).await;
    let mut one = json_of(&cluster.succeeds(&admin, &["get", "csr", "one", "-o", "json"]).await);
    assert_eq!(one["metadata"]["annotations"]["patched"], "yes");
    one["metadata"]["annotations"]["updated"] = json!("yes");
    let file = cluster.file("one.json", &one);
    cluster.succeeds(&admin, &["replace", "-f", &file]).await;

    let mut approval =
        json_of(&cluster.succeeds(&admin, &["get", "--raw", &format!("{collection}/one/approval")]).await);
    assert_eq!(approval["metadata"]["name"], "one");
    approval["status"]["conditions"] = json!([{"type": "Approved", "status": "True", "reason": "E2E", "message": "m"}]);
    let file = cluster.file("approval.json", &approval);
    let approved =
        cluster.succeeds(&admin, &["replace", "--raw", &format!("{collection}/one/approval"), "-f", &file]).await;
    assert_eq!(json_of(&approved)["status"]["conditions"][0]["type"], "Approved");
    let patch =
        r#"{"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "E2E", "message": "m"}]}}"#;
    let patched = ["patch", "csr", "two", "--subresource=status", "--type=merge", "-p", patch, "-o", "json"];
    let patched = json_of(&cluster.succeeds(&admin, &patched).await);
    assert_eq!(patched["status"]["conditions"][0]["type"], "Failed");

    cluster.succeeds(&admin, &["delete", "csr", "one"]).await;
    cluster.succeeds(&admin, &["delete", "csr", "--all"]).await;
    assert_eq!(cluster.succeeds(&admin, &["get", "csr", "-o", "name"]).await, "");
    cluster.stop().await;
}
