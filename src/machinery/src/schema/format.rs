//! The formats of strings that are checked in custom resources. A format that is not known says nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use jiff::civil::Date;

/// Whether `text` has the form that `format` asks for.
pub(super) fn matches(text: &str, format: &str) -> bool {
    match format {
        "date-time" | "datetime" => text.parse::<Timestamp>().is_ok(),
        "date" => text.len() == 10 && text.parse::<Date>().is_ok(),
        "duration" => is_duration(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_network(text),
        "uri" => is_uri(text),
        "email" => is_email(text),
        "hostname" => is_host_name(text),
        "mac" => is_mac(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(text, format),
        "byte" => is_base64(text),
        "hexcolor" => is_hex_colour(text),
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "k8s-short-name" => crate::names::dns1123_label(text).is_empty(),
        "k8s-long-name" => crate::names::dns1123_subdomain(text).is_empty(),
        _ => true,
    }
}

/// A duration as Go writes it (`1h30m`, `250ms`), or in words (`3 days`).
fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 23] = [
        "ns",
        "us",
        "µs",
        "μs",
        "ms",
        "s",
        "m",
        "h",
        "nanosecond",
        "nano",
        "microsecond",
        "micro",
        "milliseconds",
        "millisecond",
        "milli",
        "second",
        "sec",
        "minute",
        "min",
        "hour",
        "hr",
        "day",
        "week",
    ];
    let text = text.trim_start_matches(['-', '+']);
    if text == "0" {
        return true;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(rest.len());
        if rest[..digits].parse::<f64>().is_err() {
            return false;
        }
        rest = rest[digits..].trim_start();
        let end = rest.find(|char: char| char.is_ascii_digit() || char == ' ').unwrap_or(rest.len());
        let unit = &rest[..end];
        let known = |unit: &str| UNITS.contains(&unit) || matches!(unit, "d" | "w");
        if !known(unit) && !unit.strip_suffix('s').is_some_and(known) {
            return false;
        }
        rest = rest[end..].trim_start();
    }
    !text.is_empty()
}

fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let fits = |most: u8| length.parse::<u8>().is_ok_and(|length| length <= most);
    (address.parse::<Ipv4Addr>().is_ok() && fits(32)) || (address.parse::<Ipv6Addr>().is_ok() && fits(128))
}

/// An absolute URI or an absolute path, as Go's `ParseRequestURI` takes it.
fn is_uri(text: &str) -> bool {
    let is_clean = !text.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
    let has_scheme = text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
            && rest.starts_with('/')
    });
    is_clean && (has_scheme || text.starts_with('/'))
}

fn is_email(text: &str) -> bool {
    let address = match (text.find('<'), text.strip_suffix('>')) {
        (Some(at), Some(inner)) => &inner[at + 1..],
        _ => text,
    };
    address.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !address.contains(char::is_whitespace) && !local.contains('@')
    })
}

fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 255 && text.split('.').all(is_label)
}

fn is_mac(text: &str) -> bool {
    let separator = if text.contains('-') { '-' } else { ':' };
    let parts: Vec<&str> = text.split(separator).collect();
    matches!(parts.len(), 6 | 8 | 20)
        && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_uuid(text: &str, format: &str) -> bool {
    let plain: String = text.chars().filter(|char| *char != '-').collect();
    let version = format.strip_prefix("uuid").and_then(|version| version.bytes().next());
    plain.len() == 32
        && plain.bytes().all(|byte| byte.is_ascii_hexdigit())
        && version.is_none_or(|version| plain.as_bytes().get(12) == Some(&version))
}

fn is_base64(text: &str) -> bool {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

fn is_hex_colour(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        let cases = [
            ("date-time", "2026-01-02T03:04:05Z", "2026-01-02"),
            ("date", "2026-01-02", "2026-1-2"),
            ("duration", "1h30m", "1 fortnight"),
            ("duration", "3 days", "h"),
            ("ipv4", "10.0.0.1", "::1"),
            ("ipv6", "::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("uri", "https://a.b/c", "a b"),
            ("email", "a@b.c", "a.b.c"),
            ("hostname", "a.b-c", "-a"),
            ("mac", "01:02:03:04:05:06", "01:02"),
            ("uuid", "01234567-89ab-4def-8123-456789abcdef", "0123"),
            ("byte", "YQ==", "a b"),
            ("hexcolor", "#00ff00", "green"),
        ];
        for (format, right, wrong) in cases {
            assert!(matches(right, format), "{format} {right}");
            assert!(!matches(wrong, format), "{format} {wrong}");
        }
        assert!(matches("anything", "of-no-known-format"));
    }
}
