//! What a service-account token says, in the shape Kubernetes gives it (KEP-1205), and how it is signed and checked.
//! Whether what it names still exists is `service_account`'s.

use jsonwebtoken::{Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::keys::{Signer, Verifier};

/// Clocks of hosts may differ by this much.
const LEEWAY_S: i64 = 60;

/// An object by name and uid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// metadata.name
    pub name: String,
    /// metadata.uid
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// The `kubernetes.io` claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kubernetes {
    /// The service account's namespace, and that of what the token is bound to.
    pub namespace: String,
    /// The node of the pod, or the node that the token is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// The pod that the token is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The secret that the token is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// Whose token it is.
    pub serviceaccount: Reference,
}

/// The claims of a token; times in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom the token is meant.
    pub aud: Vec<String>,
    /// When it ends.
    pub exp: i64,
    /// When it was made.
    pub iat: i64,
    /// Who made it.
    pub iss: String,
    /// Its own name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Kubernetes,
    /// When it begins.
    pub nbf: i64,
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub sub: String,
}

/// Who may have made a token, to know ours from others' before any key is tried.
#[derive(Deserialize)]
struct Issuer {
    #[serde(default)]
    iss: String,
}

/// The token of `claims`.
///
/// # Errors
/// The key cannot sign.
pub fn sign(claims: &Claims, signer: &Signer) -> jsonwebtoken::errors::Result<String> {
    let mut header = Header::new(signer.algorithm);
    header.typ = None;
    header.kid = Some(signer.id.clone());
    jsonwebtoken::encode(&header, claims, &signer.key)
}

/// The claims of a token of `issuer` that one of `verifiers` signed, whatever its times and audiences; `None` where
/// another issuer made it or it is no JSON Web Token.
///
/// # Errors
/// A token of that issuer that nobody signed, or that lacks claims.
pub fn signed<C: DeserializeOwned>(token: &str, issuer: &str, verifiers: &[Verifier]) -> Result<Option<C>, Refusal> {
    let Ok(unverified) = jsonwebtoken::dangerous::insecure_decode::<Issuer>(token) else { return Ok(None) };
    if unverified.claims.iss != issuer {
        return Ok(None);
    }
    let header = unverified.header;
    let mut candidates = verifiers
        .iter()
        .filter(|verifier| verifier.algorithm == header.alg && header.kid.as_ref().is_none_or(|id| *id == verifier.id));
    let verified = candidates.find_map(|verifier| {
        // Times and audiences are checked by the caller, against a clock that is passed in.
        let mut validation = Validation::new(verifier.algorithm);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        jsonwebtoken::decode::<C>(token, &verifier.key, &validation).ok()
    });
    verified.map(|token| Some(token.claims)).ok_or_else(|| Refusal("invalid signature".to_string()))
}

/// The claims of a token of ours that is in force at `now_s` and meant for one of `audiences`, with those audiences;
/// `None` where another issuer made it or it is no JSON Web Token.
///
/// # Errors
/// A token of ours that does not hold.
pub fn verify(
    token: &str,
    issuer: &str,
    verifiers: &[Verifier],
    audiences: &[String],
    now_s: i64,
) -> Result<Option<(Claims, Vec<String>)>, Refusal> {
    let Some(claims) = signed::<Claims>(token, issuer, verifiers)? else { return Ok(None) };
    let refuse = |why: &str| Refusal(why.to_string());
    if now_s > claims.exp.saturating_add(LEEWAY_S) {
        return Err(refuse("service account token has expired"));
    }
    if now_s < claims.nbf.saturating_sub(LEEWAY_S) {
        return Err(refuse("service account token is not valid yet"));
    }
    let meant: Vec<String> = audiences.iter().filter(|audience| claims.aud.contains(audience)).cloned().collect();
    if meant.is_empty() {
        return Err(Refusal(format!(
            "token audiences {:?} is invalid for the target audiences {audiences:?}",
            claims.aud
        )));
    }
    Ok(Some((claims, meant)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::keys::tests::write_pair;
    use super::*;

    pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

    pub(crate) fn pair() -> (Signer, Verifier) {
        let directory = tempfile::tempdir().expect("a folder");
        let (private, public) = write_pair(directory.path());
        let verifier = Verifier::load(&public).expect("a public key");
        (Signer::load(&private, &verifier).expect("a private key"), verifier)
    }

    fn claims() -> Claims {
        Claims {
            aud: vec!["a".to_string(), "b".to_string()],
            exp: 2000,
            iat: 1000,
            iss: ISSUER.to_string(),
            jti: "j".to_string(),
            kubernetes: Kubernetes {
                namespace: "ns".to_string(),
                node: None,
                pod: None,
                secret: None,
                serviceaccount: Reference { name: "sa".to_string(), uid: "u".to_string() },
            },
            nbf: 1000,
            sub: "system:serviceaccount:ns:sa".to_string(),
        }
    }

    #[test]
    fn tokens_hold_for_their_audience_and_time_only() {
        let (signer, verifier) = pair();
        let token = sign(&claims(), &signer).expect("signed");
        let check = |audiences: &[&str], now_s| {
            let audiences: Vec<String> = audiences.iter().map(ToString::to_string).collect();
            verify(&token, ISSUER, std::slice::from_ref(&verifier), &audiences, now_s)
        };
        let (found, meant) = check(&["b", "c"], 1500).expect("holds").expect("is ours");
        assert_eq!((found, meant), (claims(), vec!["b".to_string()]));
        assert!(check(&["a"], 2050).is_ok(), "clocks may differ");
        assert!(check(&["a"], 2061).is_err());
        assert!(check(&["a"], 900).is_err());
        assert!(check(&["c"], 1500).is_err());
        assert!(check(&[], 1500).is_err());
    }

    #[test]
    fn tokens_of_other_keys_are_refused_and_of_other_issuers_left_to_others() {
        let (signer, _) = pair();
        let (_, foreign) = pair();
        let token = sign(&claims(), &signer).expect("signed");
        let audiences = ["a".to_string()];
        assert!(verify(&token, ISSUER, std::slice::from_ref(&foreign), &audiences, 1500).is_err());
        assert_eq!(verify(&token, "https://other", std::slice::from_ref(&foreign), &audiences, 1500), Ok(None));
        assert_eq!(
            verify("abcdef.0123456789abcdef", ISSUER, std::slice::from_ref(&foreign), &audiences, 1500),
            Ok(None)
        );
    }

    #[test]
    fn a_token_whose_algorithm_was_swapped_is_refused() {
        let (signer, verifier) = pair();
        let token = sign(&claims(), &signer).expect("signed");
        let (_, rest) = token.split_once('.').expect("three parts");
        for header in ["{\"alg\":\"HS256\"}", "{\"alg\":\"RS256\"}", "{\"alg\":\"none\"}"] {
            use base64::Engine;
            let header = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(header);
            let forged = format!("{header}.{rest}");
            let found = verify(&forged, ISSUER, std::slice::from_ref(&verifier), &["a".to_string()], 1500);
            assert!(!matches!(found, Ok(Some(_))), "{header}");
        }
    }
}
