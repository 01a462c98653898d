//! Encryption of values at rest, in the form in which Kubernetes keeps them: `k8s:enc:PROVIDER:v1:KEY:` and what the
//! provider makes of the value. Rules say by key which values; of the providers of a rule the first writes and all
//! read, which is how keys are rotated. Values are encrypted on their way to disk or etcd and held plain in memory.

use std::fmt;

use bytes::Bytes;

mod aesgcm;
mod secretbox;

/// What every encrypted value begins with; no object does.
const ENCRYPTED: &[u8] = b"k8s:enc:";

/// A key with the name that values are marked with.
#[derive(Clone)]
pub struct Key {
    name: String,
    secret: Vec<u8>,
}

impl Key {
    /// `name` must have no colon and `secret` the length of the provider: that is seen to by [`Provider`].
    pub fn new(name: &str, secret: Vec<u8>) -> Self {
        Self { name: name.to_string(), secret }
    }
}

/// The name alone: secrets are in no log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// Too short, too long.
    #[error("key {name} of {provider} has {found} bytes, it must have {wanted}")]
    Length {
        /// Of the key.
        name: String,
        /// The provider.
        provider: &'static str,
        /// Bytes it has.
        found: usize,
        /// Bytes it must have, in words.
        wanted: &'static str,
    },
    /// It would not be found again.
    #[error("{0:?} is no name for a key: it must be there and have no colon")]
    Name(String),
    /// Two keys of one name.
    #[error("there are two keys {0}")]
    Twice(String),
    /// A provider without keys.
    #[error("{0} has no keys")]
    None(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cipher {
    AesGcm,
    Secretbox,
}

impl Cipher {
    fn name(self) -> &'static str {
        match self {
            Self::AesGcm => "aesgcm",
            Self::Secretbox => "secretbox",
        }
    }

    fn seal(self, secret: &[u8], key: &str, value: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::AesGcm => aesgcm::seal(secret, key, value),
            Self::Secretbox => secretbox::seal(secret, value),
        }
    }

    fn open(self, secret: &[u8], key: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::AesGcm => aesgcm::open(secret, key, sealed),
            Self::Secretbox => secretbox::open(secret, sealed),
        }
    }
}

/// One way to keep a value.
#[derive(Debug, Clone)]
pub struct Provider(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Keys(Cipher, Vec<Key>),
    Identity,
}

impl Provider {
    /// As it is.
    pub fn identity() -> Self {
        Self(Kind::Identity)
    }

    /// AES-GCM with random nonces and keys of 16, 24 or 32 bytes; the store's key is authenticated too, so a value
    /// cannot be moved. A key must be rotated before it has sealed 2³² values.
    ///
    /// # Errors
    /// Keys that cannot be used.
    pub fn aesgcm(keys: Vec<Key>) -> Result<Self, KeyError> {
        Self::with(Cipher::AesGcm, keys, &[16, 24, 32], "16, 24 or 32")
    }

    /// XSalsa20 and Poly1305, as NaCl's secretbox, with keys of 32 bytes.
    ///
    /// # Errors
    /// Keys that cannot be used.
    pub fn secretbox(keys: Vec<Key>) -> Result<Self, KeyError> {
        Self::with(Cipher::Secretbox, keys, &[32], "32")
    }

    fn with(cipher: Cipher, keys: Vec<Key>, lengths: &[usize], wanted: &'static str) -> Result<Self, KeyError> {
        if keys.is_empty() {
            return Err(KeyError::None(cipher.name()));
        }
        for (at, Key { name, secret }) in keys.iter().enumerate() {
            if name.is_empty() || name.contains(':') {
                return Err(KeyError::Name(name.clone()));
            }
            if keys[..at].iter().any(|other| other.name == *name) {
                return Err(KeyError::Twice(name.clone()));
            }
            if !lengths.contains(&secret.len()) {
                let (name, provider, found) = (name.clone(), cipher.name(), secret.len());
                return Err(KeyError::Length { name, provider, found, wanted });
            }
        }
        Ok(Self(Kind::Keys(cipher, keys)))
    }
}

/// Which keys of the store a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Those that begin so.
    Prefix(String),
    /// All.
    All,
}

/// Values of some keys, and how they are kept.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Any of these.
    pub keys: Vec<Keys>,
    /// The first writes, all read.
    pub providers: Vec<Provider>,
}

/// How values are kept; the first rule that a key fits counts, and values without a rule are kept as they are.
#[derive(Debug, Clone, Default)]
pub struct Encryption(Vec<Rule>);

/// A value that could be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// As it was before it was sealed.
    pub value: Bytes,
    /// It is not as it would be written now.
    pub stale: bool,
}

/// The random generator or the cipher failed.
#[derive(Debug, thiserror::Error)]
#[error("the value of {0} cannot be encrypted")]
pub struct SealError(String);

impl Encryption {
    /// These rules, in this order.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// Whether every value is kept as it is.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn providers(&self, key: &str) -> &[Provider] {
        let fits = |keys: &Keys| match keys {
            Keys::Prefix(prefix) => key.starts_with(prefix.as_str()),
            Keys::All => true,
        };
        let rule = self.0.iter().find(|rule| rule.keys.iter().any(fits));
        const PLAIN: &[Provider] = &[Provider(Kind::Identity)];
        rule.map_or(PLAIN, |rule| rule.providers.as_slice())
    }

    /// A value as it is kept.
    ///
    /// # Errors
    /// The random generator or the cipher failed.
    pub fn seal(&self, key: &str, value: &Bytes) -> Result<Bytes, SealError> {
        let failed = || SealError(key.to_string());
        match self.providers(key).first() {
            Some(Provider(Kind::Keys(cipher, keys))) => {
                let first = keys.first().ok_or_else(failed)?;
                let sealed = cipher.seal(&first.secret, key, value).ok_or_else(failed)?;
                Ok([&mark(*cipher, first)[..], &sealed].concat().into())
            }
            Some(Provider(Kind::Identity)) => Ok(value.clone()),
            None => Err(failed()),
        }
    }

    /// What was kept.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn open(&self, key: &str, kept: Bytes) -> Result<Opened, String> {
        let encrypted = kept.starts_with(ENCRYPTED);
        let mut failed = None;
        for (at, provider) in self.providers(key).iter().enumerate() {
            match &provider.0 {
                Kind::Identity if !encrypted => return Ok(Opened { value: kept, stale: at > 0 }),
                Kind::Identity => {}
                Kind::Keys(cipher, keys) => {
                    for (number, candidate) in keys.iter().enumerate() {
                        let Some(sealed) = kept.strip_prefix(mark(*cipher, candidate).as_slice()) else { continue };
                        match cipher.open(&candidate.secret, key, sealed) {
                            Some(value) => {
                                return Ok(Opened { value: value.into(), stale: at > 0 || number > 0 });
                            }
                            // Another provider may have another key of that name.
                            None => failed = Some(format!("cannot be decrypted with key {}", candidate.name)),
                        }
                    }
                }
            }
        }
        if let Some(failed) = failed {
            return Err(failed);
        }
        Err(if encrypted {
            let mark = kept.splitn(6, |byte| *byte == b':').take(5).collect::<Vec<_>>().join(&b':');
            format!("is encrypted as {}, which no provider of the encryption configuration reads", printable(&mark))
        } else {
            "is not encrypted, and the encryption configuration has no identity provider to read it".to_string()
        })
    }
}

/// `k8s:enc:aesgcm:v1:NAME:`
fn mark(cipher: Cipher, key: &Key) -> Vec<u8> {
    [ENCRYPTED, format!("{}:v1:{}:", cipher.name(), key.name).as_bytes()].concat()
}

/// Text of unknown origin, short and harmless.
fn printable(bytes: &[u8]) -> String {
    const LONGEST: usize = 80;
    String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]).escape_default().to_string()
}

#[cfg(test)]
mod tests;
