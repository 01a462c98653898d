//! The keys that sign and verify service-account tokens: RSA or P-256, from PEM files.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde_json::{Value, json};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::error::Error;

/// A key that tokens are verified with.
#[derive(Clone)]
pub struct Verifier {
    /// How tokens name it: the hash of the public key, as Kubernetes forms it.
    pub id: String,
    /// RS256 or ES256.
    pub algorithm: Algorithm,
    /// The key.
    pub key: DecodingKey,
    /// As it stands in a JSON Web Key Set.
    pub jwk: Value,
}

/// The key that new tokens are signed with.
#[derive(Clone)]
pub struct Signer {
    /// The public half's name.
    pub id: String,
    /// RS256 or ES256.
    pub algorithm: Algorithm,
    /// The key.
    pub key: EncodingKey,
}

impl Verifier {
    /// Reads a public key file (`sa.pub`).
    ///
    /// # Errors
    /// The file cannot be read or holds no RSA or P-256 public key.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let pem = read(path)?;
        Self::parse(&pem).map_err(|detail| credentials(path, &detail))
    }

    /// Reads a public key in PEM.
    ///
    /// # Errors
    /// What is no RSA or P-256 public key.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| format!("it holds no public key: {error}");
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem).map_err(|error| text(&error))?;
        let der = pem.contents;
        let (_, info) = SubjectPublicKeyInfo::from_der(&der).map_err(|error| text(&error))?;
        let id = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &der));
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        match info.parsed().map_err(|error| text(&error))? {
            PublicKey::RSA(key) => {
                let modulus = strip_zeroes(key.modulus);
                let exponent = strip_zeroes(key.exponent);
                let jwk = json!({"use": "sig", "kty": "RSA", "kid": id, "alg": "RS256",
                    "n": encode(modulus), "e": encode(exponent)});
                let key = DecodingKey::from_rsa_raw_components(modulus, exponent);
                Ok(Self { id, algorithm: Algorithm::RS256, key, jwk })
            }
            PublicKey::EC(point) => {
                let [4, coordinates @ ..] = point.data() else { return Err("its point is compressed".to_string()) };
                if coordinates.len() != 64 {
                    return Err("its curve is not P-256".to_string());
                }
                let (x, y) = (encode(&coordinates[..32]), encode(&coordinates[32..]));
                let key = DecodingKey::from_ec_components(&x, &y).map_err(|error| text(&error))?;
                let jwk = json!({"use": "sig", "kty": "EC", "kid": id, "alg": "ES256", "crv": "P-256", "x": x, "y": y});
                Ok(Self { id, algorithm: Algorithm::ES256, key, jwk })
            }
            _ => Err("its key is neither RSA nor P-256".to_string()),
        }
    }
}

impl Signer {
    /// Reads the private key file (`sa.key`) whose public half is `public`.
    ///
    /// # Errors
    /// The file cannot be read or holds no key of that kind.
    pub fn load(path: &Path, public: &Verifier) -> Result<Self, Error> {
        let pem = read(path)?;
        let parsed = match public.algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(&pem),
            _ => EncodingKey::from_ec_pem(&pem),
        };
        // The library's message could quote what it found; the key must not show up in a log.
        let key = parsed.map_err(|_| credentials(path, "it holds no private key of the kind of its public key"))?;
        let signer = Self { id: public.id.clone(), algorithm: public.algorithm, key };
        signer.prove(public).map_err(|_| credentials(path, "it is not the private key of its public key"))?;
        Ok(signer)
    }

    /// Signs something and verifies it: two files that do not belong together are found at start and not at the
    /// first pod.
    fn prove(&self, public: &Verifier) -> jsonwebtoken::errors::Result<()> {
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::new(self.algorithm), &json!({}), &self.key)?;
        let mut validation = jsonwebtoken::Validation::new(self.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        jsonwebtoken::decode::<Value>(&token, &public.key, &validation).map(drop)
    }
}

fn strip_zeroes(bytes: &[u8]) -> &[u8] {
    let zeroes = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeroes..]
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })
}

fn credentials(path: &Path, detail: &str) -> Error {
    Error::Credentials { path: PathBuf::from(path), detail: detail.to_string() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A fresh P-256 pair, as files `sa.key` and `sa.pub` in `directory`.
    pub(crate) fn write_pair(directory: &Path) -> (PathBuf, PathBuf) {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let (private, public) = (directory.join("sa.key"), directory.join("sa.pub"));
        std::fs::write(&private, pair.serialize_pem()).expect("written");
        std::fs::write(&public, pair.public_key_pem()).expect("written");
        (private, public)
    }

    #[test]
    fn keys_that_belong_together_are_taken_and_others_refused() {
        let (one, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (private, public) = write_pair(one.path());
        let (foreign, _) = write_pair(other.path());
        let verifier = Verifier::load(&public).expect("a public key");
        assert_eq!((verifier.jwk["kty"].as_str(), verifier.jwk["crv"].as_str()), (Some("EC"), Some("P-256")));
        assert_eq!(Signer::load(&private, &verifier).expect("its key").id, verifier.id);
        let refused = Signer::load(&foreign, &verifier).err().expect("is another key");
        assert!(refused.to_string().contains("not the private key"), "{refused}");
        assert!(Verifier::load(&private).is_err());
    }

    #[test]
    fn rsa_keys_are_taken_too() {
        let directory = tempfile::tempdir().expect("a folder");
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
        let (private, public) = (directory.path().join("sa.key"), directory.path().join("sa.pub"));
        std::fs::write(&private, pair.serialize_pem()).expect("written");
        std::fs::write(&public, pair.public_key_pem()).expect("written");
        let verifier = Verifier::load(&public).expect("a public key");
        assert_eq!((verifier.jwk["kty"].as_str(), verifier.jwk["e"].as_str()), (Some("RSA"), Some("AQAB")));
        Signer::load(&private, &verifier).expect("its key");
    }
}
