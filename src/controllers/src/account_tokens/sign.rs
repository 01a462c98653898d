//! Tokens without an end, with the claims that Kubernetes gives them.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::ResourceExt;
use serde_json::json;

use crate::common::error::Error;

/// By this issuer they are told from the tokens that pods are given.
const ISSUER: &str = "kubernetes/serviceaccount";

/// Signs tokens with the key of service accounts.
pub struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    /// A signer with a P-256 or RSA key in PEM; `None` where it is neither.
    pub fn new(pem: &str) -> Option<Self> {
        let elliptic = EncodingKey::from_ec_pem(pem.as_bytes()).map(|key| (Algorithm::ES256, key));
        let found = elliptic.or_else(|_| EncodingKey::from_rsa_pem(pem.as_bytes()).map(|key| (Algorithm::RS256, key)));
        let signer = found.ok().map(|(algorithm, key)| Self { algorithm, key })?;
        // A key of another curve is found at start and not at the first secret.
        jsonwebtoken::encode(&Header::new(signer.algorithm), &json!({}), &signer.key).ok().map(|_| signer)
    }

    /// The token that a secret holds for an account.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign(&self, account: &ServiceAccount, namespace: &str, secret: &str) -> Result<String, Error> {
        let name = account.name_any();
        let claims = json!({
            "iss": ISSUER,
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "kubernetes.io/serviceaccount/namespace": namespace,
            "kubernetes.io/serviceaccount/secret.name": secret,
            "kubernetes.io/serviceaccount/service-account.name": name,
            "kubernetes.io/serviceaccount/service-account.uid": account.metadata.uid,
        });
        let mut header = Header::new(self.algorithm);
        header.typ = None;
        jsonwebtoken::encode(&header, &claims, &self.key)
            .map_err(|source| Error::Sign { object: format!("Secret {namespace}/{secret}"), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_private_key_signs() {
        let key = pki::generate_key().unwrap();
        assert!(Signer::new(&key).is_some());
        assert!(Signer::new(&pki::public_key_pem("sa.key", &key).unwrap()).is_none());
        assert!(Signer::new("").is_none());
    }
}
