//! Keys of pods: made on the pod's node, of the type that the pod asks for, with a request that shows that the key is
//! there and says nothing else (KEP-4317).

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, RsaKeySize};

use crate::error::Error;

/// The types of keys that pods can have (`core/v1` PodCertificateProjection's `keyType`).
pub const KEY_TYPES: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];

/// A key and the request for its certificate.
pub struct PodKey {
    /// PKCS#8 PEM.
    pub key_pem: String,
    /// PKCS#10 in DER, without a subject.
    pub request: Vec<u8>,
}

impl fmt::Debug for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodKey").finish_non_exhaustive()
    }
}

/// Makes a key of one of [`KEY_TYPES`]. Large RSA keys take seconds.
///
/// # Errors
/// [`Error::KeyType`] for another type, [`Error::Crypto`] where the key cannot be made.
pub fn pod_key(key_type: &str) -> Result<PodKey, Error> {
    let crypto = |doing| move |source| Error::Crypto { doing, source };
    let key = match key_type {
        "RSA3072" => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072),
        "RSA4096" => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
        "ECDSAP256" => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        "ECDSAP384" => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        "ECDSAP521" => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512),
        "ED25519" => ed25519(),
        other => return Err(Error::KeyType { key_type: other.to_owned() }),
    };
    let key = key.map_err(crypto("making a key"))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(crypto("making a certificate signing request"))?;
    Ok(PodKey { key_pem: key.serialize_pem(), request: request.der().to_vec() })
}

/// In the first version of PKCS#8, which everybody reads: the second has the public key too.
fn ed25519() -> Result<KeyPair, rcgen::Error> {
    let unspecified = |_| rcgen::Error::RingUnspecified;
    let made = Ed25519KeyPair::generate().map_err(unspecified)?;
    let der: Pkcs8V1Der<'static> = made.as_der().map_err(unspecified)?;
    KeyPair::try_from(der.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::PublicKeyData;
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::FromDer;

    #[test]
    fn keys_are_made_for_every_type_and_requests_say_nothing_else() {
        for key_type in KEY_TYPES {
            let made = pod_key(key_type).expect(key_type);
            let key = KeyPair::from_pem(&made.key_pem).expect("a key that is read again");
            let (_, request) = X509CertificationRequest::from_der(&made.request).expect(key_type);
            let info = &request.certification_request_info;
            assert_eq!(info.subject_pki.subject_public_key.data, key.der_bytes(), "{key_type}");
            assert_eq!(info.subject.iter().count(), 0, "{key_type}");
            assert_eq!(request.requested_extensions().into_iter().flatten().count(), 0, "{key_type}");
            assert!(!format!("{made:?}").contains("PRIVATE"));
            // SEQUENCE, its length in one to three octets, then the version.
            let header =
                if key.serialized_der()[1] < 0x80 { 2 } else { 2 + usize::from(key.serialized_der()[1] & 0x7f) };
            assert_eq!(key.serialized_der()[header..header + 3], [2, 1, 0], "{key_type}");
        }
        let refused = pod_key("RSA1024").expect_err("is refused");
        assert_eq!(
            refused.to_string(),
            "no pod has keys of type `RSA1024`: take one of RSA3072, RSA4096, ECDSAP256, ECDSAP384, ECDSAP521, ED25519"
        );
    }
}
