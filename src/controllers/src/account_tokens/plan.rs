//! What a secret lacks: pure.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::ResourceExt;
use serde_json::{Value, json};

/// The annotation that names the account.
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
/// The one that tells it from others of the same name; the controller sets it.
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
const TOKEN: &str = "token";
const AUTHORITY: &str = "ca.crt";
const NAMESPACE: &str = "namespace";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// The account that it was for is gone.
    Delete,
    Fill {
        /// It has no token yet.
        token: bool,
    },
    /// It cannot be filled.
    Immutable,
}

/// The name of the account that the secret is for; empty where it names none.
pub fn account_name(secret: &Secret) -> &str {
    annotation(secret, ACCOUNT_NAME)
}

/// Whether the secret is for this account, and not for another of the same name.
pub fn is_for(secret: &Secret, account: &ServiceAccount) -> bool {
    let uid = annotation(secret, ACCOUNT_UID);
    uid.is_empty() || account.metadata.uid.as_deref() == Some(uid)
}

/// Judges a secret beside the account that has the name it gives.
pub fn step(secret: &Secret, account: &ServiceAccount, authority: &str) -> Step {
    if secret.metadata.deletion_timestamp.is_some() {
        return Step::Nothing;
    }
    if !is_for(secret, account) {
        return Step::Delete;
    }
    let token = value(secret, TOKEN).is_empty();
    let complete = value(secret, AUTHORITY) == authority.as_bytes() && !value(secret, NAMESPACE).is_empty();
    match (token || !complete, secret.immutable == Some(true)) {
        (false, _) => Step::Nothing,
        (true, true) => Step::Immutable,
        (true, false) => Step::Fill { token },
    }
}

/// The merge patch that fills a secret; it holds for the version that was judged.
pub fn filling(secret: &Secret, account: &ServiceAccount, authority: &str, token: Option<&str>) -> Value {
    let bytes = |text: &str| json!(ByteString(text.as_bytes().to_vec()));
    let mut data = json!({AUTHORITY: bytes(authority)});
    if value(secret, NAMESPACE).is_empty() {
        data[NAMESPACE] = bytes(&secret.namespace().unwrap_or_default());
    }
    if let Some(token) = token {
        data[TOKEN] = bytes(token);
    }
    let annotations = json!({ACCOUNT_NAME: account.name_any(), ACCOUNT_UID: account.metadata.uid});
    json!({"metadata": {"uid": secret.metadata.uid, "resourceVersion": secret.metadata.resource_version,
        "annotations": annotations}, "data": data})
}

fn annotation<'a>(secret: &'a Secret, name: &str) -> &'a str {
    secret.annotations().get(name).map(String::as_str).unwrap_or_default()
}

fn value<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(uid: &str, data: Value) -> Secret {
        serde_json::from_value(json!({"metadata": {"name": "s", "namespace": "ns", "resourceVersion": "7",
            "annotations": {ACCOUNT_NAME: "sa", ACCOUNT_UID: uid}}, "data": data}))
        .unwrap()
    }

    #[test]
    fn a_secret_is_filled_left_alone_or_deleted() {
        let account: ServiceAccount =
            serde_json::from_value(json!({"metadata": {"name": "sa", "namespace": "ns", "uid": "u"}})).unwrap();
        // "ca", "ns" and "t" in base64.
        let full = json!({AUTHORITY: "Y2E=", NAMESPACE: "bnM=", TOKEN: "dA=="});
        let mut going = secret("u", json!({}));
        going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let immutable = Secret { immutable: Some(true), ..secret("u", json!({})) };
        for (secret, expected) in [
            (secret("", json!({})), Step::Fill { token: true }),
            (secret("u", full.clone()), Step::Nothing),
            (secret("", full.clone()), Step::Nothing),
            (secret("u", json!({AUTHORITY: "b2xk", NAMESPACE: "bnM=", TOKEN: "dA=="})), Step::Fill { token: false }),
            (secret("v", full), Step::Delete),
            (going, Step::Nothing),
            (immutable, Step::Immutable),
        ] {
            assert_eq!(step(&secret, &account, "ca"), expected, "{secret:?}");
        }
        let filled = filling(&secret("", json!({})), &account, "ca", Some("t"));
        assert_eq!(filled["data"], json!({AUTHORITY: "Y2E=", NAMESPACE: "bnM=", TOKEN: "dA=="}));
        assert_eq!(filled["metadata"]["annotations"][ACCOUNT_UID], "u");
        assert_eq!(filled["metadata"]["resourceVersion"], "7");
    }
}
