//! Whether an ssh server is the one that was meant: its key must stand in the known_hosts lines. There is no trust on
//! first use here, since nobody is asked.

use std::path::Path;

use russh::keys::{PublicKey, PublicKeyOrCertificate};
use ssh::KnownHosts;
use ssh::known_hosts::{Verdict, fingerprint, lookup_name};

/// Compares the key that a server showed (in the form of RFC 4253) with the lines of `known_hosts`.
///
/// # Errors
/// Why the server is refused, and what to do.
pub(crate) fn check(known_hosts: &str, host: &str, port: u16, shown: &[u8], now_unix_s: u64) -> Result<(), String> {
    let name = lookup_name(host, port);
    let key = PublicKey::from_bytes(shown)
        .map_err(|error| format!("{name} showed a host key that cannot be understood: {error}"))?;
    let print = fingerprint(&key);
    let kind = key.algorithm();
    let shown = PublicKeyOrCertificate::PublicKey { key, hash_alg: None };
    match KnownHosts::parse(Path::new("knownHosts"), known_hosts).check(host, port, &shown, now_unix_s) {
        Verdict::Trusted(_) => Ok(()),
        Verdict::Unknown => Err(format!(
            "{name} is not in knownHosts; it showed the {kind} key {print}: verify it, then add what `ssh-keyscan` tells of the host"
        )),
        Verdict::Changed { at, known } => Err(format!(
            "{name} showed the {kind} key {print}, but {at} has {known}: the server was replaced or someone stands between"
        )),
        Verdict::Revoked(at) => Err(format!("{name} showed the {kind} key {print}, which {at} revokes")),
        Verdict::BadCertificate(problem) => Err(format!("{name}: {problem}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use russh::keys::PublicKeyBase64;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    #[test]
    fn only_the_pinned_key_of_the_host_and_port_is_taken() {
        let shown = PublicKey::from_openssh(ONE).unwrap().public_key_bytes();
        let table = [
            (format!("[git.example]:2222 {ONE}"), None),
            (format!("git.example {ONE}"), None),
            (String::new(), Some("is not in knownHosts")),
            (format!("[git.example]:22022 {ONE}"), Some("is not in knownHosts")),
            (format!("[git.example]:2222 {OTHER}"), Some("the server was replaced")),
            (format!("@revoked * {ONE}\n[git.example]:2222 {ONE}"), Some("revokes")),
        ];
        for (lines, refused) in table {
            let verdict = check(&lines, "git.example", 2222, &shown, 1_800_000_000);
            match refused {
                None => assert_eq!(verdict, Ok(()), "{lines}"),
                Some(why) => assert!(verdict.unwrap_err().contains(why), "{lines}"),
            }
        }
        assert!(check("", "git.example", 22, b"nonsense", 0).is_err());
    }
}
