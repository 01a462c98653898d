//! One line of a `known_hosts` file.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use russh::keys::{PublicKey, parse_public_key_base64};

use super::pattern::matches_list;

/// What a line says about its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// The hosts have this key.
    None,
    /// The key signs certificates of the hosts.
    CertAuthority,
    /// The key must not be used by the hosts.
    Revoked,
}

/// Which hosts a line is about.
#[derive(Debug, Clone)]
pub(super) enum Names {
    /// Patterns, separated by commas.
    Patterns(String),
    /// HMAC-SHA1 of the one name under a salt.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

impl Names {
    /// Whether the line is about `name`, a host as `lookup_name` writes it.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Patterns(patterns) => matches_list(patterns.split(','), name),
            Self::Hashed { salt, hash } => {
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
                hmac::sign(&key, name.as_bytes()).as_ref() == hash.as_slice()
            }
        }
    }
}

/// A line that is about hosts and a key.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub marker: Marker,
    pub names: Names,
    pub key: PublicKey,
}

impl Line {
    /// Reads a line: `None` for a comment or an empty one.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
        let Some(mut word) = words.next() else { return Ok(None) };
        if word.starts_with('#') {
            return Ok(None);
        }
        let mut marker = Marker::None;
        if word.starts_with('@') {
            marker = match word {
                "@cert-authority" => Marker::CertAuthority,
                "@revoked" => Marker::Revoked,
                _ => return Err("unknown marker"),
            };
            word = words.next().ok_or("no host names")?;
        }
        let names = parse_names(word)?;
        let kind = words.next().ok_or("no key type")?;
        let blob = words.next().ok_or("no key")?.trim_end_matches('\r');
        let key = parse_public_key_base64(blob).map_err(|_| "the key cannot be read")?;
        if key.algorithm().as_str() != kind {
            return Err("the key is not of the type the line says");
        }
        Ok(Some(Self { marker, names, key }))
    }
}

fn parse_names(word: &str) -> Result<Names, &'static str> {
    if !word.starts_with('|') {
        return Ok(Names::Patterns(word.to_owned()));
    }
    let rest = word.strip_prefix("|1|").ok_or("unknown way of hashing names")?;
    let (salt, hash) = rest.split_once('|').ok_or("no hash")?;
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| "the hash is not base64");
    Ok(Names::Hashed { salt: decode(salt)?, hash: decode(hash)? })
}
