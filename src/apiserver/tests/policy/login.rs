//! Users from outside: tokens of an OpenID Connect issuer and of a webhook, and permission by a webhook.

use std::sync::Arc;
use std::time::Duration;

use apiserver::authn::webhook::Settings;
use apiserver::policy::Access;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::outside::Outside;
use crate::support::{Cluster, eventually};

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn jwk(pair: &EcdsaKeyPair, id: &str) -> Value {
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": id, "x": encode(x), "y": encode(y)})
}

/// A token of an issuer that holds for an hour.
fn token(pair: &EcdsaKeyPair, id: &str, issuer: &str, changes: &Value) -> String {
    let mut claims = json!({"iss": issuer, "aud": "rkctl", "sub": "ann", "groups": ["dev"], "team": "blue",
        "exp": jiff::Timestamp::now().as_second() + 3600});
    for (claim, value) in changes.as_object().into_iter().flatten() {
        claims[claim] = value.clone();
    }
    let header = json!({"alg": "ES256", "kid": id});
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signed = pair.sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
    format!("{message}.{}", encode(signed.as_ref()))
}

/// An issuer with one key, which can be exchanged.
async fn issuer(keys: Arc<std::sync::Mutex<Value>>) -> Outside {
    let own: Arc<std::sync::OnceLock<String>> = Arc::default();
    let known = own.clone();
    let outside = Outside::start(move |path, _| {
        let url = known.get().cloned().unwrap_or_default();
        match path {
            "/.well-known/openid-configuration" => json!({"issuer": url, "jwks_uri": format!("{url}/keys")}),
            "/keys" => json!({"keys": [keys.lock().expect("not poisoned").clone()]}),
            _ => Value::Null,
        }
    })
    .await;
    own.set(outside.url.clone()).expect("set once");
    outside
}

fn configuration(folder: &TempDir, issuer: &Outside, more: &str) -> std::path::PathBuf {
    let authority = serde_json::to_string(&issuer.authority).expect("JSON");
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer: {{url: '{}', \
         certificateAuthority: {authority}, audiences: [rkctl]}}\n  claimMappings:\n    username: {{expression: \"'oidc:' + \
         claims.sub\"}}\n    groups: {{claim: groups, prefix: 'oidc:'}}\n    extra: [{{key: acme.io/team, \
         valueExpression: claims.team}}]\n  userValidationRules: [{{expression: \"!user.username.endsWith(':root')\", \
         message: nobody is root}}]\n{more}",
        issuer.url
    );
    let path = folder.path().join("authentication.yaml");
    std::fs::write(&path, text).expect("written");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn bearers_of_an_issuers_tokens_are_who_it_says() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let keys = Arc::new(std::sync::Mutex::new(jwk(&pair, "one")));
    let (outside, folder) = (issuer(keys).await, TempDir::new().expect("a folder"));
    let anonymous = "anonymous: {enabled: true, conditions: [{path: /readyz}]}\n";
    let access = Access { authentication: Some(configuration(&folder, &outside, anonymous)), ..Access::default() };
    let cluster = Cluster::start_with(access).await;
    let with = |changes: Value| cluster.token(&token(&pair, "one", &outside.url, &changes));

    let me = cluster.succeeds(&with(json!({})), &["auth", "whoami", "-o", "json"]).await;
    let me: Value = serde_json::from_str(&me).expect("JSON");
    let user = &me["status"]["userInfo"];
    assert_eq!(user["username"], "oidc:ann");
    assert_eq!(user["groups"], json!(["oidc:dev", "system:authenticated"]));
    assert_eq!(user["extra"]["acme.io/team"], json!(["blue"]));

    for (what, changes) in [
        ("another audience", json!({"aud": "other"})),
        ("an hour ago", json!({"exp": jiff::Timestamp::now().as_second() - 3600})),
        ("a user that a rule refuses", json!({"sub": "a:root"})),
        ("another issuer", json!({"iss": "https://127.0.0.1:1"})),
    ] {
        let refused = cluster.fails(&with(changes), &["auth", "whoami"]).await;
        assert!(refused.contains("Unauthorized") || refused.contains("must be logged in"), "{what}: {refused}");
    }
    let stranger = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let forged = cluster.token(&token(&stranger, "one", &outside.url, &json!({})));
    cluster.fails(&forged, &["auth", "whoami"]).await;
    assert_eq!(outside.count("/keys"), 1, "strangers do not make the server ask again and again");

    assert_eq!(cluster.get_anonymously("/readyz").await.0, 200);
    assert_eq!(cluster.get_anonymously("/version").await.0, 401);

    // The file is read again: from now on nobody is anonymous, and what is broken changes nothing.
    configuration(&folder, &outside, "anonymous: {enabled: false}\n");
    eventually("nobody is anonymous", || async { (cluster.get_anonymously("/readyz").await.0 == 401).then_some(()) })
        .await;
    std::fs::write(folder.path().join("authentication.yaml"), "kind: Nothing").expect("written");
    tokio::time::sleep(Duration::from_millis(5500)).await;
    assert_eq!(cluster.get_anonymously("/readyz").await.0, 401);
    cluster.succeeds(&with(json!({})), &["auth", "whoami"]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_says_whose_a_token_is_and_is_not_asked_twice() {
    let outside = Outside::start(|path, review| {
        assert_eq!((path, &review["kind"]), ("/tokens", &json!("TokenReview")));
        let user = json!({"username": "web", "groups": ["outside"], "uid": "7"});
        let status = match review["spec"]["token"].as_str() {
            Some("opaque") => json!({"authenticated": true, "user": user}),
            _ => json!({"authenticated": false}),
        };
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
    })
    .await;
    let folder = TempDir::new().expect("a folder");
    let settings =
        Settings { kubeconfig: outside.kubeconfig(&folder, "tokens", "/tokens"), cache_ttl: Duration::from_secs(120) };
    let cluster = Cluster::start_with(Access { token_webhook: Some(settings), ..Access::default() }).await;
    for _ in 0..3 {
        let me = cluster.succeeds(&cluster.token("opaque"), &["auth", "whoami", "-o", "json"]).await;
        assert!(me.contains("\"username\": \"web\""), "{me}");
    }
    assert_eq!(outside.count("/tokens"), 1);
    cluster.fails(&cluster.token("another"), &["auth", "whoami"]).await;
    // Tokens of service accounts are known without asking.
    let admin = cluster.certificate("admin", &["system:masters"]);
    cluster.succeeds(&admin, &["create", "serviceaccount", "sa"]).await;
    let account = cluster.succeeds(&admin, &["create", "token", "sa"]).await;
    let before = outside.count("/tokens");
    let me = cluster.succeeds(&cluster.token(account.trim()), &["auth", "whoami"]).await;
    assert!(me.contains("system:serviceaccount:default:sa"), "{me}");
    assert_eq!(outside.count("/tokens"), before);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_permits_and_refuses_beside_roles() {
    let outside = Outside::start(|_, review| {
        let spec = &review["spec"];
        let status = match (spec["user"].as_str(), spec["resourceAttributes"]["resource"].as_str()) {
            (Some("ann"), Some("pods")) => json!({"allowed": true, "reason": "ann may see pods"}),
            (Some("root"), Some("secrets")) => json!({"allowed": false, "denied": true, "reason": "no secrets"}),
            _ => json!({"allowed": false}),
        };
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "status": status})
    })
    .await;
    let folder = TempDir::new().expect("a folder");
    let kubeconfig = outside.kubeconfig(&folder, "authz", "/may");
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- type: Webhook\n  \
         name: outside\n  webhook:\n    timeout: 3s\n    subjectAccessReviewVersion: v1\n    \
         matchConditionSubjectAccessReviewVersion: v1\n    failurePolicy: Deny\n    connectionInfo: {{type: \
         KubeConfigFile, kubeConfigFile: '{}'}}\n    matchConditions:\n    - expression: has(request.resourceAttributes)\n    \
         - expression: \"!request.user.startsWith('system:')\"\n- {{type: Node, name: node}}\n- {{type: RBAC, name: \
         rbac}}\n",
        kubeconfig.display()
    );
    let file = folder.path().join("authorization.yaml");
    std::fs::write(&file, text).expect("written");
    let cluster = Cluster::start_with(Access { authorization: Some(file), ..Access::default() }).await;
    let (ann, root) = (cluster.certificate("ann", &[]), cluster.certificate("root", &[]));
    let admin = cluster.certificate("admin", &["system:masters"]);
    let binding = ["create", "clusterrolebinding", "root", "--clusterrole=cluster-admin", "--user=root"];
    cluster.succeeds(&admin, &binding).await;
    cluster.succeeds(&ann, &["get", "pods"]).await;
    let asked = outside.count("/may");
    cluster.succeeds(&ann, &["get", "pods"]).await;
    assert_eq!(outside.count("/may"), asked, "what was permitted is not asked again");
    let refused = cluster.fails(&ann, &["get", "services"]).await;
    assert!(refused.contains("cannot list resource \"services\""), "{refused}");
    let refused = cluster.fails(&root, &["get", "secrets"]).await;
    assert!(refused.contains("no secrets"), "{refused}");
    eventually("the role permits", || async { cluster.output(&root, &["get", "services"]).await.2.then_some(()) })
        .await;
    let listed = cluster.succeeds(&ann, &["auth", "can-i", "--list"]).await;
    assert!(!listed.is_empty());
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": "ann",
        "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let reviewed = cluster.post(&admin, path, &review).await;
    assert_eq!(reviewed["status"], json!({"allowed": true, "reason": "ann may see pods"}));
    let others = outside.asked.lock().expect("not poisoned").clone();
    assert!(others.iter().all(|(_, review)| !review["spec"]["user"].as_str().unwrap_or("").starts_with("system:")));

    // Where it is gone, the policy of the file counts.
    drop(outside);
    let refused = cluster.fails(&ann, &["get", "nodes"]).await;
    assert!(refused.contains("cannot be asked"), "{refused}");
    cluster.succeeds(&admin, &["get", "nodes"]).await;
    cluster.stop().await;
}
