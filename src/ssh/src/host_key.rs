//! Whether a server is the one that is meant: policies, the check during the handshake, and what is said
//! when it fails.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use russh::Preferred;
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate};

use crate::error::Error;
use crate::known_hosts::{self, KnownHosts, Location, Verdict, fingerprint};

/// How a server's key is judged.
#[derive(Debug, Clone)]
pub enum HostKeyPolicy {
    /// The key must be on record in these `known_hosts` files.
    Strict(Vec<PathBuf>),
    /// A host of which nothing is on record is believed once and its key added to the first file;
    /// a changed or revoked key is still refused.
    AcceptNew(Vec<PathBuf>),
    /// The key must be one of these; no file is read.
    Pinned(Vec<HostKeyPin>),
    /// Every key is taken and nothing is recorded (OpenSSH's `StrictHostKeyChecking no` with no file).
    /// Only for machines that the caller has just made.
    AcceptAny,
}

impl HostKeyPolicy {
    /// Strict, in OpenSSH's usual files.
    pub fn strict() -> Self {
        Self::Strict(usual_files())
    }

    /// Accept-new, in OpenSSH's usual files.
    pub fn accept_new() -> Self {
        Self::AcceptNew(usual_files())
    }

    /// Pinned to keys or fingerprints as text.
    pub fn pinned<'a>(pins: impl IntoIterator<Item = &'a str>) -> Result<Self, HostKeyError> {
        Ok(Self::Pinned(pins.into_iter().map(HostKeyPin::parse).collect::<Result<_, _>>()?))
    }
}

/// The user's own files first: a new key is added to the first.
pub fn usual_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(home) = std::env::home_dir() {
        files.push(home.join(".ssh/known_hosts"));
        files.push(home.join(".ssh/known_hosts2"));
    }
    files.push(PathBuf::from("/etc/ssh/ssh_known_hosts"));
    files.push(PathBuf::from("/etc/ssh/ssh_known_hosts2"));
    files
}

/// A key that a host is known to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyPin {
    /// `SHA256:` and base64, as `ssh-keygen -l` prints it.
    Fingerprint(String),
    /// The whole key, as in a `.pub` file.
    Key(Box<PublicKey>),
}

impl HostKeyPin {
    /// Reads `SHA256:…` or `ssh-ed25519 AAAA…`.
    pub fn parse(text: &str) -> Result<Self, HostKeyError> {
        let text = text.trim();
        if let Some(digest) = text.strip_prefix("SHA256:") {
            let digest = digest.trim_end_matches('=');
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
            if digest.len() == 43 && digest.bytes().all(plain) {
                return Ok(Self::Fingerprint(format!("SHA256:{digest}")));
            }
        } else if let Ok(key) = PublicKey::from_openssh(text) {
            return Ok(Self::Key(Box::new(key)));
        }
        Err(HostKeyError::BadPin { pin: text.to_owned() })
    }

    fn matches(&self, key: &PublicKey) -> bool {
        match self {
            Self::Fingerprint(pin) => *pin == fingerprint(key),
            Self::Key(pin) => pin.key_data() == key.key_data(),
        }
    }
}

/// Why a server's key is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    #[error(
        "WARNING: the {kind} key of {host} has CHANGED. Known at {at}: {known}; shown now: {shown}. \
         Someone may be impersonating the host, or it was installed anew. \
         If you know that it was, remove the line (`ssh-keygen -f {path} -R '{host}'`) and try again", path = at.path.display()
    )]
    Changed { host: String, kind: String, at: Box<Location>, known: String, shown: String },
    #[error("the key of {host} ({shown}) is marked @revoked at {at}; the host must get a new key")]
    Revoked { host: String, at: Location, shown: String },
    #[error(
        "nothing is known about {host}, which shows the {kind} key {shown}: compare it with `ssh-keygen -lf` on the \
         host, then add it to known_hosts or pin it, or accept new keys"
    )]
    Unknown { host: String, kind: String, shown: String },
    #[error(
        "WARNING: {host} shows the {kind} key {shown}, which is none of the {pins} pinned ones. Someone may be impersonating the host"
    )]
    NotPinned { host: String, kind: String, shown: String, pins: usize },
    #[error("a trusted authority signed the certificate of {host}, but {problem}")]
    BadCertificate { host: String, problem: String },
    #[error("`{pin}` is neither a fingerprint (SHA256:…) nor a public key (ssh-ed25519 AAAA…)")]
    BadPin { pin: String },
    #[error("the new key of {host} could not be recorded in {path}: {problem}", path = path.display())]
    Record { host: String, path: PathBuf, problem: String },
}

/// The check of one connection: what is on record, loaded before the handshake.
#[derive(Debug, Clone)]
pub(crate) struct Verifier {
    host: String,
    port: u16,
    policy: HostKeyPolicy,
    known: Arc<KnownHosts>,
}

impl Verifier {
    /// Reads the files that `policy` names; `host` is the name under which keys are looked up.
    pub(crate) fn load(policy: &HostKeyPolicy, host: &str, port: u16) -> Result<Self, Error> {
        let known = match policy {
            HostKeyPolicy::Strict(files) | HostKeyPolicy::AcceptNew(files) => KnownHosts::load(files)?,
            HostKeyPolicy::Pinned(_) | HostKeyPolicy::AcceptAny => KnownHosts::default(),
        };
        Ok(Self { host: host.to_owned(), port, policy: policy.clone(), known: Arc::new(known) })
    }

    /// The kinds of keys to ask the server for, those on record first; `without` are not asked for.
    pub(crate) fn preferred(&self, without: &[Algorithm]) -> Preferred {
        let mut wanted = match &self.policy {
            HostKeyPolicy::Pinned(pins) => pins.iter().filter_map(HostKeyPin::algorithm).collect(),
            _ => self.known.algorithms(&self.host, self.port),
        };
        if wanted.iter().any(is_rsa) {
            // One RSA key signs with any of these.
            wanted.extend(Preferred::DEFAULT.key.iter().filter(|algorithm| is_rsa(algorithm)).cloned());
        }
        let mut keys: Vec<Algorithm> = Preferred::DEFAULT.key.to_vec();
        keys.retain(|algorithm| !without.iter().any(|other| same_kind(other, algorithm)));
        keys.sort_by_key(|algorithm| !wanted.contains(algorithm));
        let mut preferred = Preferred::DEFAULT.clone();
        if self.known.has_authority(&self.host, self.port) {
            preferred.host_key_certificates = keys.clone().into();
        }
        preferred.key = keys.into();
        // AES in hardware is several times faster than ChaCha20 in software for the binary's upload.
        preferred.cipher = vec![
            russh::cipher::AES_256_GCM,
            russh::cipher::CHACHA20_POLY1305,
            russh::cipher::AES_256_CTR,
            russh::cipher::AES_192_CTR,
            russh::cipher::AES_128_CTR,
        ]
        .into();
        preferred.compression = vec![russh::compression::NONE].into();
        preferred
    }

    /// Whether another kind of key of the same server may still be one of those pinned by fingerprint.
    pub(crate) fn may_have_other(&self) -> bool {
        let by_fingerprint = |pin: &HostKeyPin| matches!(pin, HostKeyPin::Fingerprint(_));
        matches!(&self.policy, HostKeyPolicy::Pinned(pins) if pins.iter().any(by_fingerprint))
    }

    /// Judges the key that the server showed and proved to have.
    pub(crate) fn check(&self, shown: &PublicKeyOrCertificate) -> Result<(), HostKeyError> {
        let key = shown.public_key();
        let host = known_hosts::lookup_name(&self.host, self.port);
        let (kind, shown_print) = (key.algorithm().to_string(), fingerprint(&key));
        let files = match &self.policy {
            HostKeyPolicy::AcceptAny => return Ok(()),
            HostKeyPolicy::Pinned(pins) if pins.iter().any(|pin| pin.matches(&key)) => return Ok(()),
            HostKeyPolicy::Pinned(pins) => {
                return Err(HostKeyError::NotPinned { host, kind, shown: shown_print, pins: pins.len() });
            }
            HostKeyPolicy::Strict(files) | HostKeyPolicy::AcceptNew(files) => files,
        };
        let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match self.known.check(&self.host, self.port, shown, now_unix_s) {
            Verdict::Trusted(_) => Ok(()),
            Verdict::Changed { at, known } => {
                Err(HostKeyError::Changed { host, kind, at: at.into(), known, shown: shown_print })
            }
            Verdict::Revoked(at) => Err(HostKeyError::Revoked { host, at, shown: shown_print }),
            Verdict::BadCertificate(problem) => Err(HostKeyError::BadCertificate { host, problem }),
            Verdict::Unknown => match (&self.policy, files.first()) {
                (HostKeyPolicy::AcceptNew(_), Some(path)) => known_hosts::append(path, &self.host, self.port, &key)
                    .map_err(|error| HostKeyError::Record { host, path: path.clone(), problem: error.to_string() }),
                _ => Err(HostKeyError::Unknown { host, kind, shown: shown_print }),
            },
        }
    }
}

impl HostKeyPin {
    fn algorithm(&self) -> Option<Algorithm> {
        match self {
            Self::Fingerprint(_) => None,
            Self::Key(key) => Some(key.algorithm()),
        }
    }
}

fn same_kind(a: &Algorithm, b: &Algorithm) -> bool {
    a == b || (is_rsa(a) && is_rsa(b))
}

fn is_rsa(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa { .. })
}

/// Why a handshake ended: the protocol, or our own refusal.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    Protocol(russh::Error),
    HostKey(HostKeyError),
    /// As `HostKey`, with the kind of key that was shown.
    NotPinned(HostKeyError, Algorithm),
}

impl From<russh::Error> for HandshakeError {
    fn from(error: russh::Error) -> Self {
        Self::Protocol(error)
    }
}

impl russh::client::Handler for Verifier {
    type Error = HandshakeError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, HandshakeError> {
        match self.check(shown) {
            Ok(()) => Ok(true),
            Err(error @ HostKeyError::NotPinned { .. }) => {
                Err(HandshakeError::NotPinned(error, shown.public_key().algorithm()))
            }
            Err(error) => Err(HandshakeError::HostKey(error)),
        }
    }
}
