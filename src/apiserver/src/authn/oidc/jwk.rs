//! Keys of issuers (RFC 7517) and what they sign (RFC 7518): RSA with PKCS #1 and PSS padding, and ECDSA, with SHA-2.
//! Symmetric keys, `none` and everything else verify nothing.

use aws_lc_rs::signature::{
    self, EcdsaVerificationAlgorithm, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

/// How many keys of an issuer are looked at.
const KEYS_MAX: usize = 100;

#[derive(Debug, Deserialize)]
struct Set {
    keys: Vec<Raw>,
}

#[derive(Debug, Deserialize)]
struct Raw {
    #[serde(default)]
    kty: String,
    #[serde(default)]
    kid: String,
    #[serde(default, rename = "use")]
    usage: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// How tokens name it.
    pub id: String,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// The curve, and the point as X9.62 writes it.
    Elliptic {
        curve: Curve,
        point: Vec<u8>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

/// The keys of a JSON Web Key Set that verify signatures; others are passed over.
///
/// # Errors
/// What is no such set.
pub fn parse_set(bytes: &[u8]) -> Result<Vec<Key>, String> {
    let set: Set = serde_json::from_slice(bytes).map_err(|error| format!("no JSON Web Key Set: {error}"))?;
    let signing = set.keys.into_iter().filter(|raw| matches!(raw.usage.as_str(), "" | "sig"));
    Ok(signing.filter_map(|raw| raw.read()).take(KEYS_MAX).collect())
}

impl Raw {
    fn read(self) -> Option<Key> {
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        let material = match self.kty.as_str() {
            "RSA" => {
                let strip = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect();
                Material::Rsa { modulus: strip(decode(&self.n)?), exponent: strip(decode(&self.e)?) }
            }
            "EC" => {
                let (curve, size) = match self.crv.as_str() {
                    "P-256" => (Curve::P256, 32),
                    "P-384" => (Curve::P384, 48),
                    "P-521" => (Curve::P521, 66),
                    _ => return None,
                };
                let (x, y) = (decode(&self.x)?, decode(&self.y)?);
                if x.len() != size || y.len() != size {
                    return None;
                }
                Material::Elliptic { curve, point: [&[4][..], &x, &y].concat() }
            }
            _ => return None,
        };
        Some(Key { id: self.kid, material })
    }
}

impl Key {
    /// Whether the key has signed `message` by an algorithm as tokens name it: `RS256`.
    pub fn verifies(&self, algorithm: &str, message: &[u8], signed: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { modulus, exponent } => rsa(algorithm).is_some_and(|parameters| {
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signed).is_ok()
            }),
            Material::Elliptic { curve, point } => elliptic(algorithm, *curve)
                .is_some_and(|algorithm| UnparsedPublicKey::new(algorithm, point).verify(message, signed).is_ok()),
        }
    }
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn elliptic(algorithm: &str, curve: Curve) -> Option<&'static EcdsaVerificationAlgorithm> {
    Some(match (algorithm, curve) {
        ("ES256", Curve::P256) => &signature::ECDSA_P256_SHA256_FIXED,
        ("ES384", Curve::P384) => &signature::ECDSA_P384_SHA384_FIXED,
        ("ES512", Curve::P521) => &signature::ECDSA_P521_SHA512_FIXED,
        _ => return None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair, RsaKeyPair};
    use serde_json::{Value, json};

    use super::*;

    /// A key that signs, and its public half.
    pub(in crate::authn::oidc) fn elliptic_pair(id: &str) -> (EcdsaKeyPair, Value) {
        pair(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", id)
    }

    fn pair(algorithm: &'static signature::EcdsaSigningAlgorithm, curve: &str, id: &str) -> (EcdsaKeyPair, Value) {
        let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
        let point = &pair.public_key().as_ref()[1..];
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = point.split_at(point.len() / 2);
        let jwk = json!({"kty": "EC", "use": "sig", "kid": id, "crv": curve, "x": encode(x), "y": encode(y)});
        (pair, jwk)
    }

    fn key(jwk: Value) -> Key {
        parse_set(json!({"keys": [jwk]}).to_string().as_bytes()).expect("a set").remove(0)
    }

    #[test]
    fn each_curve_has_its_algorithm() {
        for (algorithm, curve, name) in [
            (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", "ES256"),
            (&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", "ES384"),
            (&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521", "ES512"),
        ] {
            let (pair, jwk) = pair(algorithm, curve, "a");
            let signed = pair.sign(&SystemRandom::new(), b"message").expect("signed");
            let key = key(jwk);
            for other in ["ES256", "ES384", "ES512", "RS256", "HS256", "none"] {
                assert_eq!(key.verifies(other, b"message", signed.as_ref()), other == name, "{curve} {other}");
            }
            assert!(!key.verifies(name, b"another", signed.as_ref()));
        }
    }

    #[test]
    fn rsa_signs_with_either_padding() {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key");
        let public = pair.public_key();
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let modulus = encode(public.modulus().big_endian_without_leading_zero());
        let exponent = encode(public.exponent().big_endian_without_leading_zero());
        let key = key(json!({"kty": "RSA", "kid": "r", "n": modulus, "e": exponent}));
        for (padding, name) in [
            (&signature::RSA_PKCS1_SHA256, "RS256"),
            (&signature::RSA_PKCS1_SHA384, "RS384"),
            (&signature::RSA_PKCS1_SHA512, "RS512"),
            (&signature::RSA_PSS_SHA256, "PS256"),
            (&signature::RSA_PSS_SHA384, "PS384"),
            (&signature::RSA_PSS_SHA512, "PS512"),
        ] {
            let mut signed = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &SystemRandom::new(), b"message", &mut signed).expect("signed");
            for other in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "HS256", "none"] {
                assert_eq!(key.verifies(other, b"message", &signed), other == name, "{name} {other}");
            }
        }
    }

    #[test]
    fn keys_for_other_things_are_passed_over() {
        let (_, jwk) = elliptic_pair("a");
        let with = |field: &str, value: &str| {
            let mut jwk = jwk.clone();
            jwk[field] = value.into();
            jwk
        };
        let set =
            json!({"keys": [with("use", "enc"), with("crv", "secp256k1"), with("kty", "oct"), with("x", "AA"), jwk]});
        let keys = parse_set(set.to_string().as_bytes()).expect("a set");
        assert_eq!(keys.len(), 1);
        assert!(parse_set(b"{}").is_err());
    }
}
