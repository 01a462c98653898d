//! Whether single values have the form they need. Each answers what is wrong, for the operator.

use crate::cluster::{Taint, TaintEffect};

/// RFC 1123 label: what a node's or a cluster's name is made of.
pub(crate) fn dns_label(text: &str) -> Result<(), String> {
    let ends = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let good = !bytes.is_empty()
        && bytes.len() <= 63
        && ends(bytes[0])
        && ends(bytes[bytes.len() - 1])
        && bytes.iter().all(|byte| ends(*byte) || *byte == b'-');
    if good {
        return Ok(());
    }
    Err(format!("`{text}` is not a DNS label: at most 63 lower-case letters, digits and `-`, no `-` at the ends"))
}

/// RFC 1123 subdomain: labels with dots between, at most 253 characters.
pub(crate) fn dns_name(text: &str) -> Result<(), String> {
    if text.len() <= 253 && text.split('.').all(|label| dns_label(label).is_ok()) {
        return Ok(());
    }
    Err(format!("`{text}` is not a DNS name: lower-case letters, digits, `-` and `.`"))
}

/// A DNS name as people write host names, capitals allowed.
pub(crate) fn host_or_ip(text: &str) -> Result<(), String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    // An address with a slip must not pass as a name.
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("`{text}` is not an IP address"));
    }
    dns_name(&text.to_ascii_lowercase()).map_err(|_| format!("`{text}` is neither an IP address nor a DNS name"))
}

fn name_part(text: &str) -> bool {
    let ends = |byte: u8| byte.is_ascii_alphanumeric();
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= 63
        && ends(bytes[0])
        && ends(bytes[bytes.len() - 1])
        && bytes.iter().all(|byte| ends(*byte) || b"-_.".contains(byte))
}

/// A label's or taint's key: `name` or `dns.domain/name`.
pub(crate) fn qualified_name(text: &str) -> Result<(), String> {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    if prefix.is_none_or(|prefix| dns_name(prefix).is_ok()) && name_part(name) {
        return Ok(());
    }
    Err(format!("`{text}` is not a key: write `name` or `domain/name`"))
}

/// A label's or taint's value: empty, or letters, digits, `-`, `_` and `.`.
pub(crate) fn label_value(text: &str) -> Result<(), String> {
    if text.is_empty() || name_part(text) {
        return Ok(());
    }
    Err(format!("`{text}` is not a label value: at most 63 letters, digits, `-`, `_` and `.`"))
}

/// Keys that the agent and the controllers of a node own; an inventory cannot set them.
pub(crate) fn is_reserved_label(key: &str) -> bool {
    matches!(key, "kubernetes.io/hostname" | "kubernetes.io/os" | "kubernetes.io/arch")
}

/// A taint as kubectl writes it.
pub(crate) fn taint(text: &str) -> Result<Taint, String> {
    let wrong = || format!("`{text}` is not a taint; write it like `key=value:NoSchedule` or `key:NoSchedule`");
    let (rest, effect) = text.rsplit_once(':').ok_or_else(wrong)?;
    let effect = match effect {
        "NoSchedule" => TaintEffect::NoSchedule,
        "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
        "NoExecute" => TaintEffect::NoExecute,
        other => {
            let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            return Err(format!("unknown effect `{other}`; {}", crate::yaml::suggest(other, known.into_iter())));
        }
    };
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    qualified_name(key)?;
    label_value(value)?;
    Ok(Taint { key: key.to_owned(), value: value.to_owned(), effect })
}
