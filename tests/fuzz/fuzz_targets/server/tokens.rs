//! JSON Web Tokens and the keys that they are checked with: nobody without a key makes a token, and what a key is said
//! to be can be read again.
#![no_main]

use std::sync::LazyLock;

use apiserver::authn::claims::{self, Claims};
use apiserver::authn::keys::Verifier;
use apiserver::authn::oidc::jwk;
use apiserver::decoders::{claims_of, holds_at};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

/// Nobody has the other half.
const PUBLIC: &[u8] = b"-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEXHgDyegV/yzuPktBmEsClgthN4cx\n\
SWYlnA5rbftO6bVPNojJZxDiQIzcET74Jkl2+fq6IHd3gC5PA1oldKAULg==\n\
-----END PUBLIC KEY-----\n";

static VERIFIERS: LazyLock<Vec<Verifier>> = LazyLock::new(|| vec![Verifier::parse(PUBLIC).expect("a public key")]);

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (first, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if let Ok(token) = std::str::from_utf8(first) {
        for now_s in [0, i64::MAX, i64::MIN] {
            let told = claims::verify(token, "i", &VERIFIERS, &["a".to_string()], now_s);
            assert!(!matches!(told, Ok(Some(_))), "it was signed by nobody");
        }
        assert!(!matches!(claims::signed::<Claims>(token, "i", &VERIFIERS), Ok(Some(_))));
        if let Some(claims) = claims_of(token) {
            let holds = holds_at(&claims, 0);
            assert!(!holds || claims["exp"].is_number());
        }
    }
    if let Ok(verifier) = Verifier::parse(first) {
        let set = json!({"keys": [verifier.jwk]}).to_string();
        assert_eq!(jwk::parse_set(set.as_bytes()).expect("a set").len(), 1);
    }
    if let Ok(keys) = jwk::parse_set(first) {
        for key in keys {
            for algorithm in ["RS256", "PS512", "ES256", "ES384", "ES512", "none", "HS256"] {
                let verified = key.verifies(algorithm, b"message", rest);
                assert!(!verified || !matches!(algorithm, "none" | "HS256"));
            }
        }
    }
});
