//! That whoever asks for a certificate has the key: the signature of a PKCS#10 request (RFC 2986), and which keys pods
//! may have.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::asn1_rs::{FromDer, Integer, Sequence};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

const RSA_KEY: &str = "1.2.840.113549.1.1.1";
/// SHA-256, SHA-384 and SHA-512 with PKCS#1 version 1.5, and PSS.
const RSA_SIGNATURES: [&str; 4] =
    ["1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13", "1.2.840.113549.1.1.10"];
const EC_KEY: &str = "1.2.840.10045.2.1";
const ED25519_KEY: &str = "1.3.101.112";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";
const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";
const ECDSA_WITH_SHA384: &str = "1.2.840.10045.4.3.3";
const ECDSA_WITH_SHA512: &str = "1.2.840.10045.4.3.4";
/// What moduli of RSA may have.
const RSA_BITS: [usize; 2] = [3072, 4096];

/// Whether a request is signed with the key that it is for, by an algorithm of that kind of key.
pub(super) fn is_signed_by_its_key(request: &X509CertificationRequest<'_>) -> bool {
    let key = &request.certification_request_info.subject_pki;
    if !is_of_kind(key, &request.signature_algorithm.algorithm.to_id_string()) {
        return false;
    }
    match request.verify_signature() {
        Ok(()) => true,
        Err(X509Error::SignatureUnsupportedAlgorithm) => is_signed_with_sha512(request),
        Err(_) => false,
    }
}

/// Whether a signature's algorithm is one of this kind of key: the library goes by the algorithm alone, and takes the bits
/// of one kind of key for those of another. None has SHA-1, which is broken.
fn is_of_kind(key: &SubjectPublicKeyInfo<'_>, algorithm: &str) -> bool {
    match key.algorithm.algorithm.to_id_string().as_str() {
        EC_KEY => [ECDSA_WITH_SHA256, ECDSA_WITH_SHA384, ECDSA_WITH_SHA512].contains(&algorithm),
        ED25519_KEY => algorithm == ED25519_KEY,
        RSA_KEY => RSA_SIGNATURES.contains(&algorithm),
        _ => false,
    }
}

/// Whether the bits of an RSA key are modulus and exponent and nothing more.
fn is_whole_rsa(bits: &[u8]) -> bool {
    let numbers = Sequence::from_der(bits).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, numbers)| numbers);
    numbers.is_some_and(|numbers| {
        let second = Integer::from_der(&numbers.content).ok();
        let after = second.and_then(|(rest, _)| Integer::from_der(rest).ok());
        after.is_some_and(|(rest, _)| rest.is_empty())
    })
}

/// The curves and digests that the library for certificates leaves out.
fn is_signed_with_sha512(request: &X509CertificationRequest<'_>) -> bool {
    let key = &request.certification_request_info.subject_pki;
    let algorithm = request.signature_algorithm.algorithm.to_id_string();
    let verifier: &'static dyn VerificationAlgorithm = match (curve(key).as_deref(), algorithm.as_str()) {
        (Some(P521), ECDSA_WITH_SHA256) => &signature::ECDSA_P521_SHA256_ASN1,
        (Some(P521), ECDSA_WITH_SHA384) => &signature::ECDSA_P521_SHA384_ASN1,
        (Some(P521), ECDSA_WITH_SHA512) => &signature::ECDSA_P521_SHA512_ASN1,
        (Some(P384), ECDSA_WITH_SHA512) => &signature::ECDSA_P384_SHA512_ASN1,
        (Some(P256), ECDSA_WITH_SHA512) => &signature::ECDSA_P256_SHA512_ASN1,
        _ => return false,
    };
    let signed = request.certification_request_info.raw;
    UnparsedPublicKey::new(verifier, &key.subject_public_key.data).verify(signed, &request.signature_value.data).is_ok()
}

fn curve(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    Some(key.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string())
}

/// Why pods may not have such a key.
pub(super) fn key_fault(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    match key.algorithm.algorithm.to_id_string().as_str() {
        ED25519_KEY => None,
        EC_KEY => match curve(key).as_deref() {
            Some(P256 | P384 | P521) => None,
            _ => Some("elliptic public keys must use curve P256, P384, or P521".to_string()),
        },
        _ => match key.parsed() {
            Ok(PublicKey::RSA(_)) if !is_whole_rsa(&key.subject_public_key.data) => {
                Some("nothing may follow modulus and exponent of an RSA key".to_string())
            }
            Ok(PublicKey::RSA(rsa)) if RSA_BITS.contains(&rsa.key_size()) => None,
            Ok(PublicKey::RSA(_)) => Some("RSA keys must have modulus size 3072 or 4096".to_string()),
            _ => Some("unknown public key type; supported types are Ed25519, ECDSA, and RSA".to_string()),
        },
    }
}

/// Whether two keys are the same one.
pub(super) fn is_same_key(left: &SubjectPublicKeyInfo<'_>, right: &SubjectPublicKeyInfo<'_>) -> bool {
    // Parameters are compared where they say something: those of RSA are written in more ways than one.
    left.algorithm.algorithm == right.algorithm.algorithm
        && curve(left) == curve(right)
        && left.subject_public_key.data == right.subject_public_key.data
}
