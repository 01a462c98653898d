//! Certificates of pods and bundles of roots as their users meet them: whole, through every verb, and by right.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::json_of;
use crate::support::{Cluster, eventually};

const GROUP: &str = "/apis/certificates.k8s.io/v1";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/namespaces/default/podcertificaterequests";
const BUNDLES: &str = "/apis/certificates.k8s.io/v1/clustertrustbundles";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

async fn send(cluster: &Cluster, method: &str, path: &str, kind: &str, body: &Value) -> Result<Value, String> {
    let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = request.body(body).expect("a request");
    cluster.client.request::<Value>(request).await.map_err(|error| error.to_string())
}

async fn taken(cluster: &Cluster, method: &str, path: &str, kind: &str, body: &Value) -> Value {
    let answer = send(cluster, method, path, kind, body).await;
    answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// A key's request, and the status with a certificate for it that begins now and lives an hour.
fn signed() -> (String, Value) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = BASE64_STANDARD.encode(params.serialize_request(&key).expect("a request").der());
    let begin = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - 60).expect("a time");
    let hour = jiff::SignedDuration::from_hours(1);
    let at = |time: jiff::Timestamp| {
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(time.as_second().unsigned_abs())
    };
    (params.not_before, params.not_after) = (at(begin), at(begin + hour));
    let chain = params.self_signed(&key).expect("a certificate").pem();
    let condition = json!({"type": "Issued", "status": "True", "reason": "Test", "message": "m",
        "lastTransitionTime": begin.to_string()});
    let status = json!({"certificateChain": chain, "notBefore": begin.to_string(), "notAfter": (begin + hour).to_string(),
        "beginRefreshAt": (begin + hour / 2).to_string(), "conditions": [condition]});
    (request, status)
}

fn request(name: &str, stub: &str) -> Value {
    json!({"apiVersion": "certificates.k8s.io/v1", "kind": "PodCertificateRequest", "metadata": {"name": name},
        "spec": {"signerName": "example.com/own", "podName": "p", "podUID": "pu", "serviceAccountName": "default",
            "serviceAccountUID": "su", "nodeName": "n1", "nodeUID": "nu", "stubPKCS10Request": stub}})
}

fn root(name: &str) -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").pem()
}

async fn is_served(cluster: &Cluster, resource: &str, verbs: usize) {
    let groups = taken(cluster, "GET", "/apis", JSON, &Value::Null).await;
    let groups = groups["groups"].as_array().cloned().unwrap_or_default();
    let group = groups.iter().find(|group| group["name"] == "certificates.k8s.io").expect("the group");
    assert!(group["versions"].as_array().is_some_and(|all| all.iter().any(|version| version["version"] == "v1")));
    let list = taken(cluster, "GET", GROUP, JSON, &Value::Null).await;
    let resources = list["resources"].as_array().cloned().unwrap_or_default();
    let found = resources.iter().find(|found| found["name"] == resource).expect("the resource");
    assert_eq!(found["verbs"].as_array().map(Vec::len), Some(verbs), "{found}");
}

// conformance: PodCertificateRequest v1 discovery, CRUD, /status
#[tokio::test(flavor = "multi_thread")]
async fn requests_for_pods_certificates_go_through_every_verb() {
    let cluster = Cluster::start().await;
    is_served(&cluster, "podcertificaterequests", 8).await;
    is_served(&cluster, "podcertificaterequests/status", 3).await;
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    for (kind, patch) in [
        (MERGE, label.clone()),
        (STRATEGIC, label.clone()),
        (JSON_PATCH, json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}])),
        (
            APPLY,
            json!({"apiVersion": "certificates.k8s.io/v1", "kind": "PodCertificateRequest", "metadata": label["metadata"]}),
        ),
    ] {
        let (stub, status) = signed();
        let made = taken(&cluster, "POST", REQUESTS, JSON, &request("r", &stub)).await;
        assert_eq!(made["spec"]["maxExpirationSeconds"], 86_400);
        let path = format!("{REQUESTS}/r");
        let manager = if kind == APPLY { "?fieldManager=test" } else { "" };
        let patched = taken(&cluster, "PATCH", &format!("{path}{manager}"), kind, &patch).await;
        assert_eq!(patched["metadata"]["labels"]["a"], "b", "{kind}");
        let whole = match kind {
            JSON_PATCH => {
                let fields = status.as_object().into_iter().flatten();
                let add = |(field, value): (&String, &Value)| json!({"op": "add", "path": format!("/status/{field}"), "value": value});
                // There is no status to add to.
                let mut steps = vec![json!({"op": "add", "path": "/status", "value": {}})];
                steps.extend(fields.map(add));
                json!(steps)
            }
            APPLY => json!({"apiVersion": "certificates.k8s.io/v1", "kind": "PodCertificateRequest", "status": status}),
            _ => json!({"status": status}),
        };
        let issued = taken(&cluster, "PATCH", &format!("{path}/status{manager}"), kind, &whole).await;
        assert_eq!(issued["status"]["certificateChain"], status["certificateChain"], "{kind}");
        // What is told of it later is not believed, and no reason to refuse.
        let mut retold = issued.clone();
        retold["status"]["conditions"][0]["message"] = json!("other words");
        let kept = taken(&cluster, "PUT", &format!("{path}/status"), JSON, &retold).await;
        assert_eq!(kept["status"], issued["status"]);
        assert_eq!(
            taken(&cluster, "GET", &format!("{path}/status"), JSON, &Value::Null).await["status"],
            issued["status"]
        );
        let mut renamed = kept.clone();
        renamed["spec"]["podName"] = json!("other");
        let refused = send(&cluster, "PUT", &path, JSON, &renamed).await.expect_err("is immutable");
        assert!(refused.contains("field is immutable"), "{refused}");
        for (selector, count) in
            [("spec.nodeName%3Dn1", 1), ("spec.signerName%3Dexample.com/own", 1), ("spec.nodeName%3Dn2", 0)]
        {
            let listed =
                taken(&cluster, "GET", &format!("{REQUESTS}?fieldSelector={selector}"), JSON, &Value::Null).await;
            assert_eq!(listed["items"].as_array().map(Vec::len), Some(count), "{selector}");
        }
        taken(&cluster, "DELETE", &path, JSON, &Value::Null).await;
    }
    let (stub, _) = signed();
    taken(&cluster, "POST", REQUESTS, JSON, &request("r", &stub)).await;
    taken(&cluster, "DELETE", REQUESTS, JSON, &Value::Null).await;
    let everywhere = taken(&cluster, "GET", &format!("{GROUP}/podcertificaterequests"), JSON, &Value::Null).await;
    assert_eq!(everywhere["items"], json!([]));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_by_who_may_sign_and_asked_by_who_may_ask() {
    let cluster = Cluster::start().await;
    let (admin, ann) = (cluster.certificate("admin", &["system:masters"]), cluster.certificate("ann", &[]));
    let node = cluster.certificate("system:node:n1", &["system:nodes"]);
    let role = |name: &str, rules: Value| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
    let own = json!({"apiGroups": ["certificates.k8s.io"], "resources": ["podcertificaterequests", "podcertificaterequests/status"],
        "verbs": ["get", "list", "update", "patch"]});
    cluster.create(&admin, &role("answerer", json!([own]))).await;
    cluster.succeeds(&admin, &["create", "clusterrolebinding", "ann", "--clusterrole=answerer", "--user=ann"]).await;
    let (stub, status) = signed();
    taken(&cluster, "POST", REQUESTS, JSON, &request("r", &stub)).await;
    let sign = ["patch", "podcertificaterequest", "r", "--subresource=status", "--type=merge", "-p"];
    let patch = json!({"status": status}).to_string();
    let sign: Vec<&str> = sign.into_iter().chain([patch.as_str()]).collect();
    let refused = eventually("ann may patch", || async {
        let (_, errors, _) = cluster.output(&ann, &sign).await;
        (!errors.contains("cannot patch")).then_some(errors)
    })
    .await;
    let words = "spec.signerName: Forbidden: User \"ann\" is not permitted to \"sign\" for signer \"example.com/own\"";
    assert!(refused.contains(words), "{refused}");
    let signer = json!({"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["example.com/*"], "verbs": ["sign"]});
    cluster.create(&admin, &role("signer", json!([signer]))).await;
    cluster.succeeds(&admin, &["create", "clusterrolebinding", "signer", "--clusterrole=signer", "--user=ann"]).await;
    eventually("ann may sign", || async { cluster.output(&ann, &sign).await.2.then_some(()) }).await;
    let shown = cluster.succeeds(&ann, &["get", "podcertificaterequests"]).await;
    assert!(shown.lines().nth(1).is_some_and(|line| line.ends_with("Issued")), "{shown}");

    // An agent asks for its own pods, and sees its own requests.
    let fields = ["get", "podcertificaterequests", "-o", "name", "--field-selector"];
    let own: Vec<&str> = fields.into_iter().chain(["spec.nodeName=n1"]).collect();
    assert_eq!(cluster.succeeds(&node, &own).await.trim(), "podcertificaterequest.certificates.k8s.io/r");
    for selector in ["spec.nodeName=n2", ""] {
        let others: Vec<&str> = fields.into_iter().chain([selector]).collect();
        let refused = cluster.fails(&node, &others).await;
        assert!(
            refused.contains("can only list/watch podcertificaterequests with spec.nodeName field selector"),
            "{refused}"
        );
    }
    cluster.succeeds(&node, &["get", "podcertificaterequest", "r"]).await;
    let gone = cluster.fails(&node, &["get", "podcertificaterequest", "gone"]).await;
    assert!(gone.contains("NotFound"), "an agent learns that its request was deleted: {gone}");
    let foreign = cluster.file("foreign.json", &request("f", &stub));
    let refused = cluster.fails(&node, &["create", "-f", &foreign]).await;
    assert!(refused.contains("named in the PodCertificateRequest does not exist"), "{refused}");
    assert!(!cluster.output(&node, &sign).await.2, "agents sign nothing");
    cluster.stop().await;
}

// conformance: CRUD certificates.k8s.io/v1
#[tokio::test(flavor = "multi_thread")]
async fn bundles_of_roots_go_through_every_verb_and_belong_to_who_may_attest() {
    let cluster = Cluster::start().await;
    is_served(&cluster, "clustertrustbundles", 8).await;
    let bundle = |name: &str, signer: &str| {
        json!({"apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle", "metadata": {"name": name},
            "spec": {"signerName": signer, "trustBundle": root(name)}})
    };
    let made = taken(&cluster, "POST", BUNDLES, JSON, &bundle("example.com:own:v1", "example.com/own")).await;
    let path = format!("{BUNDLES}/example.com:own:v1");
    for (kind, patch) in [
        (MERGE, json!({"metadata": {"labels": {"merged": "yes"}}})),
        (STRATEGIC, json!({"metadata": {"labels": {"strategic": "yes"}}})),
        (JSON_PATCH, json!([{"op": "add", "path": "/metadata/labels/json", "value": "yes"}])),
    ] {
        taken(&cluster, "PATCH", &path, kind, &patch).await;
    }
    let mut found = taken(&cluster, "GET", &path, JSON, &Value::Null).await;
    assert_eq!(found["metadata"]["uid"], made["metadata"]["uid"]);
    assert_eq!(found["metadata"]["labels"], json!({"merged": "yes", "strategic": "yes", "json": "yes"}));
    found["spec"]["trustBundle"] = json!(root("another"));
    let updated = taken(&cluster, "PUT", &path, JSON, &found).await;
    assert_eq!(updated["spec"], found["spec"]);
    taken(&cluster, "POST", BUNDLES, JSON, &bundle("plain", "")).await;
    let of = |selector: &str| format!("{BUNDLES}?fieldSelector=spec.signerName%3D{selector}");
    let own = taken(&cluster, "GET", &of("example.com/own"), JSON, &Value::Null).await;
    assert_eq!(own["items"].as_array().map(Vec::len), Some(1));

    let (admin, ann) = (cluster.certificate("admin", &["system:masters"]), cluster.certificate("ann", &[]));
    let rules = json!([{"apiGroups": ["certificates.k8s.io"], "resources": ["clustertrustbundles"], "verbs": ["*"]}]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "publisher"}, "rules": rules});
    cluster.create(&admin, &role).await;
    cluster.succeeds(&admin, &["create", "clusterrolebinding", "ann", "--clusterrole=publisher", "--user=ann"]).await;
    let file = cluster.file("own.json", &bundle("example.com:own:v2", "example.com/own"));
    let publish = ["create", "-f", file.as_str()];
    let refused = eventually("ann may create bundles", || async {
        let (_, errors, _) = cluster.output(&ann, &publish).await;
        (!errors.contains("cannot create")).then_some(errors)
    })
    .await;
    assert!(refused.contains("user not permitted to attest for signerName \"example.com/own\""), "{refused}");
    let plain = cluster.file("plain.json", &bundle("plain2", ""));
    cluster.succeeds(&ann, &["create", "-f", &plain]).await;
    let rules = json!([{"apiGroups": ["certificates.k8s.io"], "resources": ["signers"],
        "resourceNames": ["example.com/own"], "verbs": ["attest"]}]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "attester"}, "rules": rules});
    cluster.create(&admin, &role).await;
    cluster
        .succeeds(&admin, &["create", "clusterrolebinding", "attester", "--clusterrole=attester", "--user=ann"])
        .await;
    eventually("ann may attest", || async { cluster.output(&ann, &publish).await.2.then_some(()) }).await;
    let names =
        cluster.succeeds(&ann, &["get", "clustertrustbundles", "-o", "jsonpath={.items[*].metadata.name}"]).await;
    assert_eq!(names, "example.com:own:v1 example.com:own:v2 plain plain2");
    // Service accounts find out whom to trust.
    cluster.succeeds(&admin, &["create", "serviceaccount", "robot"]).await;
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let token = cluster.post(&admin, "/api/v1/namespaces/default/serviceaccounts/robot/token", &token).await;
    let robot = cluster.token(token["status"]["token"].as_str().expect("a token"));
    let seen = json_of(&cluster.succeeds(&robot, &["get", "clustertrustbundle", "plain", "-o", "json"]).await);
    assert_eq!(seen["kind"], "ClusterTrustBundle");
    taken(&cluster, "DELETE", &path, JSON, &Value::Null).await;
    taken(&cluster, "DELETE", BUNDLES, JSON, &Value::Null).await;
    assert_eq!(taken(&cluster, "GET", BUNDLES, JSON, &Value::Null).await["items"], json!([]));
    cluster.stop().await;
}
