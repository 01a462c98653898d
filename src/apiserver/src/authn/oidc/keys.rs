//! The keys of one issuer: found through its discovery document when its first token comes, kept, and asked for again
//! where a token names a key that is not among them, but not more often than a bound says. It is asked by a task of its
//! own, for all who wait, so that nobody's giving up begins it anew. An issuer that does not answer keeps the keys it had.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::watch;

use super::jwk::{Key, parse_set};
use crate::authn::Refusal;
use crate::authn::configuration::Issuer;

/// Whoever sends tokens that nobody has signed makes us ask the issuer no more often than this, counted from when it was
/// last asked and from when that came to an end.
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
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Arc<Known>,
    /// When the issuer was last asked, or that came to an end.
    asked: Option<Instant>,
    /// It did not answer when it was last asked.
    is_silent: bool,
    /// Closes when the question that is open is answered.
    open: Option<watch::Receiver<()>>,
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
    pub async fn verify(
        issuer: &Arc<Issuer>,
        fetch: &Arc<dyn Fetch>,
        signature: &Signature<'_>,
    ) -> Result<(), Refusal> {
        let keys = &issuer.keys;
        let known = keys.lock().known.clone();
        if known.verifies(signature) {
            // Nobody waits for keys that are only looked at again.
            if !known.is_fresh() {
                keys.question(issuer, fetch, TRY_AGAIN_AFTER);
            }
            return Ok(());
        }
        if let Some(mut open) = keys.question(issuer, fetch, ASK_AGAIN_AFTER) {
            // It closes without a word.
            let _ = open.changed().await;
        }
        let (known, is_silent) = {
            let state = keys.lock();
            (state.known.clone(), state.is_silent)
        };
        match (known.verifies(signature), is_silent) {
            (true, _) => Ok(()),
            (false, true) => Err(Refusal("oidc: the keys of the issuer cannot be read".to_string())),
            (false, false) => {
                Err(Refusal("oidc: failed to verify signature: no key of the issuer has made it".to_string()))
            }
        }
    }

    /// The question that is open, or a new one where the last is long enough ago.
    fn question(
        &self,
        issuer: &Arc<Issuer>,
        fetch: &Arc<dyn Fetch>,
        again_after: Duration,
    ) -> Option<watch::Receiver<()>> {
        let mut state = self.lock();
        if let Some(open) = state.open.as_ref().filter(|open| open.has_changed().is_ok()) {
            return Some(open.clone());
        }
        if state.asked.is_some_and(|asked| asked.elapsed() < again_after) {
            return None;
        }
        let (ends, open) = watch::channel(());
        (state.asked, state.open) = (Some(Instant::now()), Some(open.clone()));
        let (issuer, fetch) = (issuer.clone(), fetch.clone());
        tokio::spawn(async move {
            let found = ask(&issuer, &*fetch).await;
            issuer.keys.found(&issuer.url, found);
            drop(ends);
        });
        Some(open)
    }

    fn found(&self, url: &str, found: Result<Vec<Key>, String>) {
        let mut state = self.lock();
        (state.asked, state.is_silent) = (Some(Instant::now()), found.is_err());
        match found {
            Ok(keys) => state.known = Arc::new(Known { keys, since: Some(Instant::now()) }),
            Err(why) => tracing::warn!(issuer = url, "the keys of an issuer cannot be read: {why}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
