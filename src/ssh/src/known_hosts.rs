//! OpenSSH's `known_hosts` files: which keys a host may have, and what a key that it shows means.
//!
//! Reads and judges; asking a person and refusing a connection live in [`crate::host_key`]. The meaning of
//! lines is that of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT": hashed names, `[host]:port`, wildcards and
//! negation, `@revoked`, `@cert-authority`.

mod line;
mod pattern;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};

use crate::error::Error;
use line::{Line, Marker};

pub use pattern::matches_list;

/// No known_hosts file anyone keeps is larger; a larger one is refused.
const FILE_LIMIT_BYTES: u64 = 64 << 20;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// What the files say about a key that a host showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The key, or the authority that certified it, is on record.
    Trusted(Location),
    /// Nothing is on record for the host.
    Unknown,
    /// Another key is on record.
    Changed {
        /// Where.
        at: Location,
        /// Fingerprint of the key on record.
        known: String,
    },
    /// The key is marked `@revoked`.
    Revoked(Location),
    /// A trusted authority signed the certificate, but it does not hold for this host or time.
    BadCertificate(String),
}

/// The lines of one or several files, in order.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    lines: Vec<(Location, Line)>,
}

impl KnownHosts {
    /// Reads `paths`; one that does not exist counts as empty.
    pub fn load(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut all = Self::default();
        for path in paths {
            let failed = |source| Error::KnownHosts { path: path.clone(), source };
            match fs::metadata(path) {
                Ok(metadata) if metadata.len() > FILE_LIMIT_BYTES => {
                    return Err(failed(io::Error::other(format!("larger than {FILE_LIMIT_BYTES} bytes"))));
                }
                Ok(_) => all.add(path, &String::from_utf8_lossy(&fs::read(path).map_err(failed)?)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(all)
    }

    /// The lines of `text`, reported as those of `path`. Lines that cannot be read are passed over, as OpenSSH does.
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Self {
        let mut all = Self::default();
        all.add(path.as_ref(), text);
        all
    }

    fn add(&mut self, path: &Path, text: &str) {
        for (index, text) in text.lines().enumerate() {
            let at = Location { path: path.to_owned(), line: index + 1 };
            match Line::parse(text) {
                Ok(Some(line)) => self.lines.push((at, line)),
                Ok(None) => {}
                Err(problem) => tracing::debug!(%at, problem, "known hosts line passed over"),
            }
        }
    }

    fn about<'a>(&'a self, names: &'a str) -> impl Iterator<Item = &'a (Location, Line)> {
        self.lines.iter().filter(move |(_, line)| line.names.matches(names))
    }

    /// Judges the key that `host` on `port` showed at `now_unix_s`.
    pub fn check(&self, host: &str, port: u16, shown: &PublicKeyOrCertificate, now_unix_s: u64) -> Verdict {
        let verdict = self.check_name(&lookup_name(host, port), host, shown, now_unix_s);
        if verdict == Verdict::Unknown && port != 22 {
            // A key on record for the host without a port holds for other ports too, but never condemns them.
            let plain = self.check_name(&lookup_name(host, 22), host, shown, now_unix_s);
            if matches!(plain, Verdict::Trusted(_)) {
                return plain;
            }
        }
        verdict
    }

    fn check_name(&self, name: &str, host: &str, shown: &PublicKeyOrCertificate, now_unix_s: u64) -> Verdict {
        let key = shown.public_key();
        if let Some(at) = self.revoked(name, &key, shown.certificate()) {
            return Verdict::Revoked(at);
        }
        if let Some(certificate) = shown.certificate() {
            for (at, line) in self.about(name).filter(|(_, line)| line.marker == Marker::CertAuthority) {
                if line.key.key_data() == certificate.signature_key() {
                    return match certificate_problem(certificate, &line.key, host, now_unix_s) {
                        None => Verdict::Trusted(at.clone()),
                        Some(problem) => Verdict::BadCertificate(problem),
                    };
                }
            }
        }
        let plain: Vec<_> = self.about(name).filter(|(_, line)| line.marker == Marker::None).collect();
        if let Some((at, _)) = plain.iter().find(|(_, line)| line.key.key_data() == key.key_data()) {
            return Verdict::Trusted(at.clone());
        }
        let same_kind = plain.iter().find(|(_, line)| line.key.algorithm() == key.algorithm());
        match same_kind.or(plain.first()) {
            Some((at, line)) => Verdict::Changed { at: at.clone(), known: fingerprint(&line.key) },
            None => Verdict::Unknown,
        }
    }

    fn revoked(&self, name: &str, key: &PublicKey, certificate: Option<&Certificate>) -> Option<Location> {
        let is_revoked = |line: &Line| {
            line.key.key_data() == key.key_data()
                || certificate.is_some_and(|certificate| certificate.signature_key() == line.key.key_data())
        };
        self.about(name).find(|(_, line)| line.marker == Marker::Revoked && is_revoked(line)).map(|(at, _)| at.clone())
    }

    /// Kinds of keys on record for the host: ask the server for one of these first, so that a host that has
    /// several is not mistaken for one whose key changed.
    pub fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let mut names = vec![lookup_name(host, port)];
        if port != 22 {
            names.push(lookup_name(host, 22));
        }
        let mut found = Vec::new();
        for name in &names {
            for (_, line) in self.about(name).filter(|(_, line)| line.marker == Marker::None) {
                if !found.contains(&line.key.algorithm()) {
                    found.push(line.key.algorithm());
                }
            }
        }
        found
    }

    /// Whether an authority is on record for the host, so that asking it for a certificate makes sense.
    pub fn has_authority(&self, host: &str, port: u16) -> bool {
        let names = [lookup_name(host, port), lookup_name(host, 22)];
        names.iter().any(|name| self.about(name).any(|(_, line)| line.marker == Marker::CertAuthority))
    }
}

/// Adds the key of `host` to the file at `path`, creating it (0600) and its folder (0700).
pub fn append(path: &Path, host: &str, port: u16, key: &PublicKey) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let encoded = key.to_openssh().map_err(io::Error::other)?;
    let mut words = encoded.split(' ');
    let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
        return Err(io::Error::other("the key cannot be written as text"));
    };
    let mut file = fs::OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    file.lock()?;
    // Someone may have left the last line without its end.
    let text = fs::read(path)?;
    let gap = if text.last().is_some_and(|last| *last != b'\n') { "\n" } else { "" };
    file.write_all(format!("{gap}{} {kind} {blob}\n", lookup_name(host, port)).as_bytes())?;
    file.sync_data()
}

/// The name under which a host's keys are kept: lower case, `[host]:port` unless the port is 22.
pub fn lookup_name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// OpenSSH's fingerprint of a key: `SHA256:` and base64 without padding.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// What is wrong with a certificate that `authority` is said to have signed for `host`; `None` when nothing is.
fn certificate_problem(
    certificate: &Certificate,
    authority: &PublicKey,
    host: &str,
    now_unix_s: u64,
) -> Option<String> {
    if !certificate.cert_type().is_host() {
        return Some("it is a user's certificate, not a host's".to_owned());
    }
    if certificate.critical_options().iter().next().is_some() {
        return Some("it has critical options, which no host certificate knows".to_owned());
    }
    let host = host.to_lowercase();
    // Names are compared as they are: OpenSSH's client takes no patterns here.
    if !certificate.valid_principals().contains(&host) {
        let names = certificate.valid_principals().join(", ");
        return Some(format!("it is for {}, not for {host}", if names.is_empty() { "no host" } else { &names }));
    }
    if now_unix_s < certificate.valid_after() {
        return Some("it is not valid yet".to_owned());
    }
    if now_unix_s >= certificate.valid_before() {
        return Some("it has expired".to_owned());
    }
    let authority = authority.fingerprint(HashAlg::Sha256);
    certificate.validate_at(now_unix_s, [&authority]).err().map(|_| "its signature is wrong".to_owned())
}
