//! What to connect to and with what: plain data.

use std::path::PathBuf;
use std::time::Duration;

use crate::host_key::HostKeyPolicy;
use crate::secret::{Secret, SecretSource};

/// One machine and the way to it.
#[derive(Debug, Clone)]
pub struct Target {
    /// What messages call the machine: the inventory's host name.
    pub name: String,
    /// Address or DNS name to connect to.
    pub host: String,
    /// TCP port of the SSH server.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// Ways to authenticate, tried in this order.
    pub auth: Vec<Auth>,
    /// How the server's key is judged.
    pub host_key: HostKeyPolicy,
    /// Name under which the server's key is looked up instead of `host` (OpenSSH's HostKeyAlias).
    pub host_key_alias: Option<String>,
    /// Machine to go through, itself possibly through others (OpenSSH's ProxyJump).
    pub jump: Option<Box<Target>>,
    /// Bounds on time.
    pub timeouts: Timeouts,
}

impl Target {
    /// A target on port 22 with no way to authenticate yet, strict about host keys in OpenSSH's usual files.
    pub fn new(host: impl Into<String>, user: impl Into<String>) -> Self {
        let host = host.into();
        Self {
            name: host.clone(),
            host,
            port: 22,
            user: user.into(),
            auth: Vec::new(),
            host_key: HostKeyPolicy::strict(),
            host_key_alias: None,
            jump: None,
            timeouts: Timeouts::default(),
        }
    }

    /// `name` with the address where they differ: for messages.
    pub fn label(&self) -> String {
        let address = if self.port == 22 { self.host.clone() } else { format!("{}:{}", self.host, self.port) };
        if self.name == self.host { address } else { format!("{} ({address})", self.name) }
    }
}

/// One way to authenticate.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A private key file; a certificate beside it (`KEY-cert.pub`) is tried first.
    Key(KeyFile),
    /// The keys of an agent.
    Agent {
        /// Path of the agent's socket; `SSH_AUTH_SOCK` when absent.
        socket: Option<PathBuf>,
        /// Offer only the keys of these public key files (`KEY.pub`); all when empty.
        only: Vec<PathBuf>,
    },
    /// A password, by the password method or as the answer to a single hidden prompt.
    Password(Secret),
}

/// A private key in a file: OpenSSH's format, PKCS#1, PKCS#8.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// Where it is.
    pub path: PathBuf,
    /// Where the passphrase comes from when the key is encrypted.
    pub passphrase: Option<SecretSource>,
    /// Whether a missing file is an error (a file that was named) or passed over (a usual place).
    pub required: bool,
}

impl KeyFile {
    /// A key that must be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), passphrase: None, required: true }
    }
}

/// Bounds on time of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TCP connection and the key exchange, and once more for authentication.
    pub connect: Duration,
    /// For one command, unless the command says otherwise.
    pub exec: Duration,
    /// Silence after which the server is asked for a sign of life; after three unanswered ones the session ends.
    pub keepalive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), exec: Duration::from_secs(300), keepalive: Duration::from_secs(10) }
    }
}
