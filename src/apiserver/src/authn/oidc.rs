//! Bearers of JSON Web Tokens of issuers that the authentication configuration names (OpenID Connect Core 1.0). Whose
//! token it is is told by its `iss`, before any key is tried; tokens of this cluster's own issuer are others' business.

pub mod fetch;
pub mod jwk;
pub mod keys;
pub mod mapping;

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use stdx::clock::Clock;

use super::configuration::{Current, Issuer};
use super::{Bearer, Refusal, TokenReader};
use keys::{Fetch, Keys, Signature};

/// A token that begins to hold later than this from now is refused; clocks of issuers may be so far ahead.
const NOT_BEFORE_LEEWAY_S: f64 = 300.0;

/// Reads tokens of issuers.
pub struct OidcTokens<C> {
    /// Which issuers there are.
    pub configuration: Arc<Current>,
    /// Judges times.
    pub clock: C,
    /// Gets their keys.
    pub fetch: Arc<dyn Fetch>,
    /// What a token is meant for that is meant for one of its issuer's audiences.
    pub api_audiences: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    crit: Option<Value>,
}

#[async_trait]
impl<C: Clock> TokenReader for OidcTokens<C> {
    async fn read(&self, token: &str, audiences: &[String]) -> Result<Option<Bearer>, Refusal> {
        let configuration = self.configuration.get();
        if configuration.issuers.is_empty() {
            return Ok(None);
        }
        let Some((header, claims)) = parts(token) else { return Ok(None) };
        let by = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        let Some(issuer) = configuration.issuers.iter().find(|issuer| issuer.url == by) else { return Ok(None) };
        if !audiences.iter().any(|audience| self.api_audiences.contains(audience)) {
            return Err(Refusal("oidc: the token is meant for this server alone".to_string()));
        }
        verify(issuer, &self.fetch, token, &header).await?;
        check_times(&claims, self.clock.now().as_millisecond())?;
        check_audience(&claims, &issuer.audiences)?;
        for rule in &issuer.rules {
            rule.check(&claims)?;
        }
        let user = issuer.mappings.user(&claims)?;
        for rule in &issuer.user_rules {
            rule.check(&user)?;
        }
        Ok(Some(Bearer { user, audiences: Vec::new() }))
    }
}

/// Header and claims of what has the form of a JSON Web Token.
pub(crate) fn parts(token: &str) -> Option<(Header, Value)> {
    let mut parts = token.split('.');
    let (header, claims) = (parts.next()?, parts.next()?);
    if parts.next().is_none() || parts.next().is_some() {
        return None;
    }
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
    let claims: Value = serde_json::from_slice(&decode(claims)?).ok()?;
    claims.is_object().then_some((serde_json::from_slice(&decode(header)?).ok()?, claims))
}

async fn verify(issuer: &Arc<Issuer>, fetch: &Arc<dyn Fetch>, token: &str, header: &Header) -> Result<(), Refusal> {
    if header.crit.is_some() {
        return Err(Refusal("oidc: the token has extensions that have to be understood and are not".to_string()));
    }
    let malformed = || Refusal("oidc: malformed signature".to_string());
    let (message, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
    let signature =
        Signature { algorithm: &header.alg, key_id: &header.kid, message: message.as_bytes(), bytes: &bytes };
    Keys::verify(issuer, fetch, &signature).await
}

pub(crate) fn check_times(claims: &Value, now_ms: i64) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal(format!("oidc: {why}")));
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
    let now_s = now_ms as f64 / 1000.0;
    match claims.get("exp").and_then(Value::as_f64) {
        None => return refuse("the token never expires"),
        Some(expiry) if expiry < now_s => return refuse("verify token: oidc: token is expired"),
        Some(_) => {}
    }
    match claims.get("nbf") {
        None | Some(Value::Null) => Ok(()),
        Some(begins) => match begins.as_f64() {
            Some(begins) if begins <= now_s + NOT_BEFORE_LEEWAY_S => Ok(()),
            _ => refuse("the token is not valid yet"),
        },
    }
}

fn check_audience(claims: &Value, wanted: &[String]) -> Result<(), Refusal> {
    let is_wanted = |audience: &Value| audience.as_str().is_some_and(|text| wanted.iter().any(|own| own == text));
    let is_meant = match &claims["aud"] {
        Value::Array(all) => all.iter().any(is_wanted),
        one => is_wanted(one),
    };
    match is_meant {
        true => Ok(()),
        false => Err(Refusal("oidc: verify token: oidc: expected audience in the configured ones".to_string())),
    }
}

#[cfg(test)]
mod tests;
