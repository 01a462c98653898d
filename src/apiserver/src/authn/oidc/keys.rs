//! The keys of one issuer: found through its discovery document when its first token comes, kept, and asked for again
//! where a token names a key that is not among them, but not more often than a bound says. An issuer that does not
//! answer keeps the keys it had.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;

use super::jwk::{Key, parse_set};
use crate::authn::Refusal;
use crate::authn::configuration::Issuer;

/// Whoever sends tokens that nobody has signed makes us ask the issuer no more often than this.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Keys are asked for again after this, so that those that the issuer has taken back go; as long as it does not answer
/// they stay.
const KEEP_FOR: Duration = Duration::from_secs(3600);
/// How often an issuer that does not answer is asked for its keys again while those that are known do.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Gets documents of issuers.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// The body of a successful answer to a GET of an `https://` URL, whose server is believed by `authorities` (PEM).
    ///
    /// # Errors
    /// Why there is none.
    async fn get(&self, url: &str, authorities: Option<&[u8]>) -> Result<Bytes, String>;
}

/// What the discovery document says.
#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// The keys of an issuer.
#[derive(Debug, Default)]
pub struct Keys {
    known: RwLock<Arc<Known>>,
    /// When the issuer was last asked; held while it is.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Vec<Key>,
    since: Option<Instant>,
}

/// A signature of a token, not verified yet.
pub struct Signature<'a> {
    /// `RS256`.
    pub algorithm: &'a str,
    /// The key it names; empty where it names none.
    pub key_id: &'a str,
    /// What is signed.
    pub message: &'a [u8],
    /// The signature.
    pub bytes: &'a [u8],
}

impl Known {
    fn verifies(&self, signature: &Signature<'_>) -> bool {
        let named = |key: &&Key| signature.key_id.is_empty() || key.id == signature.key_id;
        let verifies = |key: &Key| key.verifies(signature.algorithm, signature.message, signature.bytes);
        self.keys.iter().filter(named).any(verifies)
    }

    fn is_fresh(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() < KEEP_FOR)
    }
}

impl Keys {
    /// Passes where one of the issuer's keys has made the signature.
    ///
    /// # Errors
    /// None has, or the issuer cannot be asked for its keys.
    pub async fn verify(&self, issuer: &Issuer, fetch: &dyn Fetch, signature: &Signature<'_>) -> Result<(), Refusal> {
        let known = self.known();
        let mut asked = if known.verifies(signature) {
            // Nobody waits for keys that are only looked at again; one request in a while takes it on.
            match self.asked.try_lock() {
                Ok(asked) if !known.is_fresh() && asked.is_none_or(|asked| asked.elapsed() > TRY_AGAIN_AFTER) => asked,
                _ => return Ok(()),
            }
        } else {
            self.asked.lock().await
        };
        let refused = || Refusal("oidc: failed to verify signature: no key of the issuer has made it".to_string());
        // Somebody else may have asked meanwhile.
        let known = self.known();
        if known.is_fresh() && known.verifies(signature) {
            return Ok(());
        }
        if asked.is_some_and(|asked| asked.elapsed() < ASK_AGAIN_AFTER) {
            return if known.verifies(signature) { Ok(()) } else { Err(refused()) };
        }
        let found = ask(issuer, fetch).await;
        *asked = Some(Instant::now());
        match found {
            Ok(keys) => {
                let found = Arc::new(Known { keys, since: Some(Instant::now()) });
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = found.clone();
                if found.verifies(signature) { Ok(()) } else { Err(refused()) }
            }
            Err(why) => {
                tracing::warn!(issuer = issuer.url, "the keys of an issuer cannot be read: {why}");
                let why = || Refusal("oidc: the keys of the issuer cannot be read".to_string());
                if known.verifies(signature) { Ok(()) } else { Err(why()) }
            }
        }
    }

    fn known(&self) -> Arc<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn ask(issuer: &Issuer, fetch: &dyn Fetch) -> Result<Vec<Key>, String> {
    let authorities = issuer.authorities.as_deref();
    let bytes =
        fetch.get(&issuer.discovery, authorities).await.map_err(|why| format!("{}: {why}", issuer.discovery))?;
    let document: Discovery = serde_json::from_slice(&bytes)
        .map_err(|error| format!("{} is no discovery document: {error}", issuer.discovery))?;
    if document.issuer != issuer.url {
        let (own, said) = (&issuer.url, &document.issuer);
        return Err(format!("the issuer is configured as {own:?} and says that it is {said:?}"));
    }
    if !document.jwks_uri.starts_with("https://") {
        return Err(format!("its jwks_uri {:?} is not https", document.jwks_uri));
    }
    let bytes =
        fetch.get(&document.jwks_uri, authorities).await.map_err(|why| format!("{}: {why}", document.jwks_uri))?;
    parse_set(&bytes).map_err(|why| format!("{}: {why}", document.jwks_uri))
}
