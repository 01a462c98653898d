//! When a signer is asked, and what is made of its answers.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{TokenRequestSpec, TokenRequestStatus};
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::{Value, json};

use super::*;
use crate::objects::{Changed, Standalone};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn request(status: Value) -> PodCertificateRequest {
    let spec = json!({ "nodeName": "n", "nodeUID": "n", "podName": "p", "podUID": "u", "serviceAccountName": "s",
        "serviceAccountUID": "s", "signerName": "example.com/own", "stubPKCS10Request": "" });
    let metadata = json!({ "name": "req-1", "namespace": "n" });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status })).unwrap()
}

fn condition(type_: &str) -> Value {
    json!({ "type": type_, "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z" })
}

/// Issued at second 0, for an hour, to be renewed after half of it.
fn issued(certificate: &str) -> Value {
    let chain = format!("words\n{}words\n", pem::encode(pem::CERTIFICATE, certificate.as_bytes()));
    json!({ "conditions": [condition("Issued")], "certificateChain": chain, "notBefore": "1970-01-01T00:00:00Z",
        "notAfter": "1970-01-01T01:00:00Z", "beginRefreshAt": "1970-01-01T00:30:00Z" })
}

#[test]
fn a_signer_is_asked_at_the_beginning_and_when_the_certificate_is_to_be_renewed() {
    let asked = || Some(Asked { name: "req-1".into(), key_pem: "new key".into() });
    let current = || {
        Some(Credentials { key_pem: "key".into(), chain_pem: "c".into(), refresh_at: at(1800), not_after: at(3600) })
    };
    let taken = Next::Take(Credentials {
        key_pem: "new key".into(),
        chain_pem: pem::encode(pem::CERTIFICATE, b"c"),
        refresh_at: at(1800) + SPREAD_MAX / 2,
        not_after: at(3600),
    });
    let refused = |reason: &'static str, words: &str| Next::Refused {
        reason,
        message: format!("PodCertificateRequest n/req-1 {words}, reason=\"R\", message=\"m\""),
    };
    let held = |current, asked| Held { current, asked, ..Held::default() };
    let pending = || Some(request(json!({})));
    let with = |status: Value| Some(request(status));
    for (case, held, seen, now, expected) in [
        ("nothing", held(None, None), None, 0, Next::Ask),
        ("asked and not answered", held(None, asked()), pending(), 0, Next::Keep),
        ("the request was deleted", held(None, asked()), None, 0, Next::Ask),
        ("issued", held(None, asked()), with(issued("c")), 0, taken),
        (
            "denied",
            held(None, asked()),
            with(json!({ "conditions": [condition("Denied")] })),
            0,
            refused("Denied", "was denied"),
        ),
        (
            "failed",
            held(None, asked()),
            with(json!({ "conditions": [condition("Failed")] })),
            0,
            refused("Failed", "failed"),
        ),
        ("fresh", held(current(), None), None, 1799, Next::Keep),
        ("to be renewed", held(current(), None), None, 1800, Next::Ask),
        ("being renewed", held(current(), asked()), pending(), 1801, Next::Keep),
        ("refused once", Held { refusal: Some("r".into()), ..held(current(), None) }, None, 4000, Next::Keep),
    ] {
        assert!(decide(&held, seen.as_ref(), 0.5, at(now)) == expected, "{case}");
    }
}

#[test]
fn renewals_are_spread_within_what_is_left() {
    for (left_s, spread, expected_s) in
        [(3600, 0.0, 0), (3600, 0.5, 150), (600, 0.99999, 149), (0, 0.5, 0), (-5, 0.5, 0)]
    {
        assert_eq!(delay(SignedDuration::from_secs(left_s), spread).as_secs(), expected_s, "{left_s} {spread}");
    }
}

/// A signer that answers as the test says.
#[derive(Default)]
struct Signer {
    asked: Mutex<Vec<PodCertificateRequest>>,
    status: Mutex<Value>,
}

#[async_trait]
impl Objects for Signer {
    async fn certificate_request(&self, _: &str, name: &str) -> Result<Option<Arc<PodCertificateRequest>>, Error> {
        let mut found = self.asked.lock().unwrap().iter().find(|found| found.name_any() == name).cloned();
        if let Some(found) = &mut found {
            found.status = serde_json::from_value(self.status.lock().unwrap().clone()).unwrap();
        }
        Ok(found.map(Arc::new))
    }
    async fn ask_for_certificate(&self, ask: Ask<'_>) -> Result<PodCertificateRequest, Error> {
        assert_eq!(ask.projection.user_annotations.as_ref().map(|found| found["example.com/a"].as_str()), Some("b"));
        let mut asked = self.asked.lock().unwrap();
        let mut made = request(json!(null));
        made.metadata.name = Some(format!("req-{}", asked.len()));
        asked.push(made.clone());
        Ok(made)
    }
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Arc<ConfigMap>, Error> {
        Standalone.config_map(namespace, name).await
    }
    async fn secret(&self, namespace: &str, name: &str) -> Result<Arc<Secret>, Error> {
        Standalone.secret(namespace, name).await
    }
    async fn token(&self, namespace: &str, name: &str, spec: TokenRequestSpec) -> Result<TokenRequestStatus, Error> {
        Standalone.token(namespace, name, spec).await
    }
    async fn runtime_class(&self, name: &str) -> Result<Arc<RuntimeClass>, Error> {
        Standalone.runtime_class(name).await
    }
    async fn trust_bundle(&self, name: &str) -> Result<Arc<ClusterTrustBundle>, Error> {
        Standalone.trust_bundle(name).await
    }
    async fn trust_bundles(&self, signer: &str) -> Result<Vec<Arc<ClusterTrustBundle>>, Error> {
        Standalone.trust_bundles(signer).await
    }
    async fn services(&self, _: &str) -> Vec<Arc<Service>> {
        Vec::new()
    }
    fn follow(&self, _: &Pod, _: &Changed) {}
    fn forget(&self, _: &str) {}
}

#[tokio::test]
async fn a_certificate_is_waited_for_kept_and_renewed_with_another_key() {
    let (signer, all) = (Signer::default(), PodCertificates::default());
    let pod: Pod =
        serde_json::from_value(json!({ "metadata": { "name": "p", "namespace": "n", "uid": "u" } })).unwrap();
    let projection =
        json!({ "signerName": "example.com/own", "keyType": "ED25519", "userAnnotations": { "example.com/a": "b" } });
    let projection: PodCertificateProjection = serde_json::from_value(projection).unwrap();
    let key = || Key { uid: "u".into(), volume: "v".into(), source: 0 };
    let get = async || all.get(&pod, key(), &projection, &signer, &Events::Log).await;
    let status = |status: Value| *signer.status.lock().unwrap() = status;
    let count = || signer.asked.lock().unwrap().len();
    assert!(matches!(get().await, Err(Error::Waiting(_))), "asked just now");
    assert!(matches!(get().await, Err(Error::Pod(_))), "told as trouble from the second look on");
    assert_eq!(count(), 1);
    // Its time is long over: it is taken, and asked for again at the next look.
    status(issued("first"));
    let first = get().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(first.chain_pem, pem::encode(pem::CERTIFICATE, b"first"));
    status(json!(null));
    assert!(get().await.is_ok_and(|found| found == first), "while it is renewed");
    assert_eq!(count(), 2);
    status(issued("second"));
    let second = get().await.unwrap_or_else(|error| panic!("{error}"));
    assert!(second.chain_pem != first.chain_pem && second.key_pem != first.key_pem);
    // A refused renewal leaves what is there.
    status(json!({ "conditions": [condition("Denied")] }));
    for _ in 0..3 {
        assert!(get().await.is_ok_and(|found| found == second));
    }
    assert_eq!(count(), 3);
    all.forget("u");
    assert!(matches!(get().await, Err(Error::Waiting(_))));
    let refused = get().await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.ends_with("was denied, reason=\"R\", message=\"m\""), "{refused}");
    assert_eq!(get().await.err().map(|error| error.to_string()), Some(refused), "and is not asked again");
}
