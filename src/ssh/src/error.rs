//! What can go wrong on the way to a host and on it.

use std::path::PathBuf;

use crate::command::Status;
use crate::host_key::HostKeyError;

/// A failure to reach a host, to be let in, or to do something there. `host` is what messages call the machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{host}: the name cannot be resolved")]
    Resolve {
        host: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{host}: no connection")]
    Connect {
        host: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{host}: no answer within {timeout_ms} ms while {phase}")]
    ConnectTimeout { host: String, phase: &'static str, timeout_ms: u128 },
    #[error("{host}: the SSH handshake failed")]
    Handshake {
        host: String,
        #[source]
        source: Box<russh::Error>,
    },
    #[error("{host}: the host's key is not trusted")]
    HostKey {
        host: String,
        #[source]
        source: Box<HostKeyError>,
    },
    #[error("known hosts file {path}", path = path.display())]
    KnownHosts {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("ssh configuration {path}:{line}: {problem}", path = path.display())]
    Config { path: PathBuf, line: usize, problem: String },
    #[error("ssh configuration {path}", path = path.display())]
    ReadConfig {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("private key {path}", path = path.display())]
    ReadKey {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("private key {path} cannot be used", path = path.display())]
    DecodeKey {
        path: PathBuf,
        #[source]
        source: Box<russh::keys::Error>,
    },
    #[error("private key {path} is readable by others (mode {mode:04o}): run `chmod 600` on it", path = path.display())]
    KeyPermissions { path: PathBuf, mode: u32 },
    #[error("private key {path} is encrypted and no passphrase was given: add it to an agent (`ssh-add`) or name its source", path = path.display())]
    PassphraseNeeded { path: PathBuf },
    #[error("the passphrase of the private key {path} is wrong", path = path.display())]
    PassphraseWrong { path: PathBuf },
    #[error("{host}: user {user} was refused; tried {tried}; the server takes {accepted}")]
    AuthRejected { host: String, user: String, tried: String, accepted: String },
    #[error("{host}: authentication of {user} broke off")]
    Auth {
        host: String,
        user: String,
        #[source]
        source: Box<russh::Error>,
    },
    #[error("{host}: the session failed while {doing}")]
    Session {
        host: String,
        doing: &'static str,
        #[source]
        source: Box<russh::Error>,
    },
    #[error("{host}: the connection ended before `{command}` did")]
    Closed { host: String, command: String },
    #[error("{host}: `{command}` did not end within {timeout_ms} ms")]
    ExecTimeout { host: String, command: String, timeout_ms: u128 },
    #[error("{host}: the server refused to run `{command}`")]
    ExecRefused { host: String, command: String },
    #[error(
        "{host}: `{command}` is too long to be a command line ({size_bytes} bytes, at most {limit_bytes}): pass data by standard input"
    )]
    CommandTooLong { host: String, command: String, size_bytes: usize, limit_bytes: usize },
    #[error("{host}: the command contains a NUL byte")]
    CommandNul { host: String },
    #[error("{host}: `{command}` wrote more than {limit_bytes} bytes")]
    OutputTooLarge { host: String, command: String, limit_bytes: usize },
    #[error("{host}: `{command}` {status}{}", stderr_tail(stderr))]
    Failed { host: String, command: String, status: Status, stderr: String },
    #[error("{host}: sudo refused {user}: {reason}")]
    Sudo { host: String, user: String, reason: String },
    #[error("{host}: {path} was not written: {reason}")]
    Upload { host: String, path: String, reason: String },
    #[error("file {path}", path = path.display())]
    LocalFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{host}: port forwarding from {local}")]
    Forward {
        host: String,
        local: String,
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the host could not be reached at all, or was lost on the way: another try later may work.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Resolve { .. }
                | Self::Connect { .. }
                | Self::ConnectTimeout { .. }
                | Self::Handshake { .. }
                | Self::Session { .. }
                | Self::Closed { .. }
        )
    }
}

/// The last lines of what a failed command said, introduced so that it can follow its status.
fn stderr_tail(stderr: &str) -> String {
    const LINES: usize = 5;
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(LINES)..].join(" | ");
    if tail.is_empty() { String::new() } else { format!(": {tail}") }
}
