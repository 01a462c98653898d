//! Who asks: client certificates, front proxies, tokens of service accounts and of hosts that join. What a user may
//! do is decided in `authz`; anonymous requests and impersonation are the request handler's.

pub mod bootstrap_token;
pub mod certificate;
pub mod claims;
pub mod configuration;
pub mod discovery;
pub mod figures;
pub mod front_proxy;
pub mod keys;
pub mod last_used;
pub mod oidc;
pub mod reviews;
pub mod secret_token;
pub mod service_account;
pub mod token_request;
pub mod webhook;

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;

use crate::plugin::{Authenticator, Connection};
use crate::request::User;
use crate::status::{Result, Status};

/// The WebSocket subprotocol in which browsers, which cannot set headers, carry a token.
pub(crate) const PROTOCOL_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// What a token says of its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Who it is.
    pub user: User,
    /// For whom the token is meant, as far as that is among those asked for.
    pub audiences: Vec<String>,
}

/// Reads one kind of bearer token.
#[async_trait]
pub trait TokenReader: Send + Sync + 'static {
    /// Whose token it is, where it is meant for one of `audiences`; `None` where it is of another kind.
    ///
    /// # Errors
    /// A token of this kind that does not hold, in words for the log and for TokenReviews.
    async fn read(&self, token: &str, audiences: &[String]) -> std::result::Result<Option<Bearer>, Refusal>;
}

/// Why a token does not hold; never contains the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self(status.message().to_string())
    }
}

/// Every kind of token the server knows.
#[derive(Clone)]
pub struct Tokens {
    /// Asked in order.
    pub readers: Vec<Arc<dyn TokenReader>>,
    /// What tokens for this server are meant for.
    pub api_audiences: Vec<String>,
}

impl Tokens {
    /// Whose token it is.
    ///
    /// # Errors
    /// The token does not hold, or nobody knows its kind.
    pub async fn read(&self, token: &str, audiences: &[String]) -> std::result::Result<Bearer, Refusal> {
        for reader in &self.readers {
            if let Some(bearer) = reader.read(token, audiences).await? {
                return Ok(bearer);
            }
        }
        Err(Refusal("invalid bearer token".to_string()))
    }
}

#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, _connection: &Connection, headers: &HeaderMap) -> Result<Option<User>> {
        let Some(token) = bearer_token(headers) else { return Ok(None) };
        match self.read(&token, &self.api_audiences).await {
            Ok(bearer) => Ok(Some(bearer.user)),
            Err(refusal) => {
                tracing::debug!("a bearer token does not hold: {refusal}");
                Err(Status::unauthorized())
            }
        }
    }
}

/// The token of an `Authorization: Bearer` header, or of a WebSocket's subprotocols.
pub fn bearer_token(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        let (scheme, token) = value.trim().split_once(' ')?;
        let token = token.trim();
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_string());
    }
    let protocols = headers.get_all(http::header::SEC_WEBSOCKET_PROTOCOL);
    let mut protocols = protocols.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let encoded = protocols.find_map(|protocol| protocol.trim().strip_prefix(PROTOCOL_PREFIX))?;
    let token = BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?;
    String::from_utf8(token).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_in_the_authorization_header_or_a_websocket_protocol() {
        let cases = [
            (http::header::AUTHORIZATION, "Bearer abc", Some("abc")),
            (http::header::AUTHORIZATION, "bearer  abc ", Some("abc")),
            (http::header::AUTHORIZATION, "Basic abc", None),
            (http::header::AUTHORIZATION, "Bearer", None),
            (
                http::header::SEC_WEBSOCKET_PROTOCOL,
                "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj",
                Some("abc"),
            ),
            (http::header::SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io", None),
        ];
        for (name, value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a header value"));
            assert_eq!(bearer_token(&headers).as_deref(), expected, "{value}");
        }
    }
}
