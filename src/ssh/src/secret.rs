//! Passwords and passphrases, kept out of logs.

use std::fmt;
use std::sync::Arc;

/// A password or passphrase. `Debug` never shows it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself; never put it into an error, a log line or an argument.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where a secret comes from when it turns out to be needed: called with what it is for
/// (`passphrase for /root/.ssh/id_ed25519`), answers `None` when there is none.
///
/// It may block (it may ask a person); it is called off the async threads.
#[derive(Clone)]
pub struct SecretSource(Arc<Ask>);

type Ask = dyn Fn(&str) -> Option<Secret> + Send + Sync;

impl SecretSource {
    /// A source that calls `ask`.
    pub fn new(ask: impl Fn(&str) -> Option<Secret> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// A source that always gives the same secret.
    pub fn fixed(secret: Secret) -> Self {
        Self::new(move |_| Some(secret.clone()))
    }

    /// Asks for the secret that `purpose` names.
    pub fn ask(&self, purpose: &str) -> Option<Secret> {
        (self.0)(purpose)
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSource(..)")
    }
}
