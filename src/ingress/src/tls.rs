//! Which certificate answers for which name: the claims of Ingresses, and the look-up among them. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::Ingress;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::routes::by_age;

/// A Secret by namespace and name.
pub type SecretName = (String, String);

/// An entry of `spec.tls`, for one of its hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// `shop.example.org`, `*.example.org`, or nothing for every name that nobody else claims.
    pub host: String,
    /// Where the certificate lies.
    pub secret: SecretName,
}

/// What these Ingresses claim, the oldest first. An entry without hosts is for every name; one without a Secret
/// claims nothing.
pub fn claims(ingresses: &[Arc<Ingress>]) -> Vec<Claim> {
    let mut claims = Vec::new();
    for ingress in by_age(ingresses) {
        let namespace = ingress.metadata.namespace.clone().unwrap_or_default();
        for entry in ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten()) {
            let Some(name) = entry.secret_name.as_ref().filter(|name| !name.is_empty()) else { continue };
            let secret = (namespace.clone(), name.clone());
            match entry.hosts.as_deref() {
                None | Some([]) => claims.push(Claim { host: String::new(), secret }),
                Some(hosts) => claims
                    .extend(hosts.iter().map(|host| Claim { host: host.to_ascii_lowercase(), secret: secret.clone() })),
            }
        }
    }
    claims
}

/// The certificates by name.
#[derive(Debug, Default)]
pub struct Certificates {
    /// `shop.example.org`.
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// `example.org` for `*.example.org`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    /// Of an entry without hosts.
    any: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// The table of these claims. Of two claims of a name the first has it whose Secret `find` can read.
    pub fn build(claims: &[Claim], find: impl Fn(&SecretName) -> Option<Arc<CertifiedKey>>) -> Self {
        let mut table = Self::default();
        for claim in claims {
            let Some(key) = find(&claim.secret) else { continue };
            match (claim.host.as_str(), claim.host.strip_prefix("*.")) {
                ("", _) => {
                    table.any.get_or_insert(key);
                }
                (_, Some(domain)) => {
                    table.wildcard.entry(domain.to_string()).or_insert(key);
                }
                (host, None) => {
                    table.exact.entry(host.to_string()).or_insert(key);
                }
            }
        }
        table
    }

    /// What is shown to a client that asks for this name; `None` where nobody claims it.
    pub fn choose(&self, server_name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let name = server_name.unwrap_or_default().to_ascii_lowercase();
        let exact = self.exact.get(&name);
        let wildcard = || name.split_once('.').and_then(|(_, domain)| self.wildcard.get(domain));
        exact.or_else(wildcard).or(self.any.as_ref()).cloned()
    }
}

/// Why a Secret is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A key of the Secret is not there, or holds nothing of the sort.
    #[error("{0} is missing or holds no PEM of its kind")]
    Missing(&'static str),
    /// The two do not belong together, or the key is of a sort that is not known.
    #[error("tls.crt and tls.key cannot be used together")]
    Pair(#[source] rustls::Error),
}

/// Certificate and key of a Secret, as `kubectl create secret tls` makes it.
///
/// # Errors
/// What is wrong with it.
pub fn certified(secret: &Secret) -> Result<CertifiedKey, Unusable> {
    let data = |name| secret.data.as_ref().and_then(|data| data.get(name)).map(|bytes| bytes.0.as_slice());
    let chain = data("tls.crt").unwrap_or_default();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(Unusable::Missing("tls.crt"))?;
    let key = PrivateKeyDer::from_pem_slice(data("tls.key").unwrap_or_default());
    let key = key.map_err(|_| Unusable::Missing("tls.key"))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(Unusable::Pair)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use serde_json::json;

    fn ingress(name: &str, created: &str, tls: serde_json::Value) -> Arc<Ingress> {
        let metadata = json!({"name": name, "namespace": "default", "creationTimestamp": created});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": {"tls": tls}})).unwrap())
    }

    fn secret(certificate: &str, key: &str) -> Secret {
        let data = [("tls.crt", certificate), ("tls.key", key)];
        let data = data.map(|(name, text)| (name.to_string(), ByteString(text.as_bytes().to_vec())));
        Secret { data: Some(data.into()), ..Secret::default() }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["shop.example.org".to_string()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn key() -> Arc<CertifiedKey> {
        let (certificate, key) = pair();
        Arc::new(certified(&secret(&certificate, &key)).unwrap())
    }

    #[test]
    fn the_most_specific_name_wins_and_the_older_claim_of_one() {
        let ingresses = [
            ingress(
                "young",
                "2026-02-01T00:00:00Z",
                json!([{"hosts": ["shop.example.org"], "secretName": "young"}, {"secretName": "any"}]),
            ),
            ingress(
                "old",
                "2026-01-01T00:00:00Z",
                json!([{"hosts": ["Shop.example.org"], "secretName": "old"},
                    {"hosts": ["*.example.org"], "secretName": "wild"}, {"hosts": ["bare.example.org"]}]),
            ),
        ];
        let keys: HashMap<String, Arc<CertifiedKey>> =
            ["young", "old", "wild", "any"].map(|name| (name.to_string(), key())).into();
        let table = Certificates::build(&claims(&ingresses), |(_, name)| keys.get(name).cloned());
        for (name, wanted) in [
            (Some("shop.example.org"), "old"),
            (Some("SHOP.example.org"), "old"),
            (Some("other.example.org"), "wild"),
            (Some("bare.example.org"), "wild"),
            (Some("a.b.example.org"), "any"),
            (Some("elsewhere.net"), "any"),
            (None, "any"),
        ] {
            let found = table.choose(name).unwrap();
            assert!(Arc::ptr_eq(&found, &keys[wanted]), "{name:?} has {wanted}");
        }
        let without_old = Certificates::build(&claims(&ingresses), |(_, name)| match name.as_str() {
            "young" => Some(keys["young"].clone()),
            _ => None,
        });
        assert!(Arc::ptr_eq(&without_old.choose(Some("shop.example.org")).unwrap(), &keys["young"]));
        assert!(without_old.choose(Some("other.example.org")).is_none());
    }

    #[test]
    fn a_secret_that_is_no_pair_is_told_apart() {
        let (certificate, key) = pair();
        let (_, other_key) = pair();
        for (secret, wanted) in [
            (secret("", &key), "tls.crt is missing"),
            (secret(&key, &key), "tls.crt is missing"),
            (secret(&certificate, ""), "tls.key is missing"),
            (secret(&certificate, &other_key), "cannot be used together"),
            (Secret::default(), "tls.crt is missing"),
        ] {
            let said = certified(&secret).unwrap_err().to_string();
            assert!(said.contains(wanted), "{said}");
        }
    }
}
