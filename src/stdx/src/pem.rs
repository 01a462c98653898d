//! PEM (RFC 7468) as Kubernetes reads it: what lies between blocks is passed over, and so is a block that is damaged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The label of certificates.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// The label of private keys in PKCS#8.
pub const PRIVATE_KEY: &str = "PRIVATE KEY";

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// Characters in a line of the body.
const LINE_CHARS: usize = 64;

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block<'a> {
    /// `CERTIFICATE` and the like.
    pub label: &'a str,
    /// Lines `Name: value` stand before the body (RFC 1421), which certificates do not have.
    pub has_headers: bool,
    /// The body, decoded.
    pub data: Vec<u8>,
}

/// The blocks of a text, in order.
pub fn blocks(text: &str) -> Vec<Block<'_>> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        at += 1;
        let Some(label) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES)) else { continue };
        let length = lines[at..].iter().take_while(|line| !line.starts_with(DASHES)).count();
        let (body, rest) = lines[at..].split_at(length);
        // The line that ends the body may begin the next block.
        at += length;
        let ends = rest.first().and_then(|line| line.strip_prefix(END)?.strip_suffix(DASHES));
        if ends == Some(label) {
            found.extend(block(label, body));
        }
    }
    found
}

fn block<'a>(label: &'a str, body: &[&str]) -> Option<Block<'a>> {
    let headers = body.iter().take_while(|line| line.contains(':')).count();
    let encoded: String = body[headers..].iter().flat_map(|line| line.chars()).filter(|c| !c.is_whitespace()).collect();
    let data = STANDARD.decode(encoded).ok()?;
    Some(Block { label, has_headers: headers > 0, data })
}

/// A block with that label.
pub fn encode(label: &str, data: &[u8]) -> String {
    let encoded = STANDARD.encode(data);
    let mut text = format!("{BEGIN}{label}{DASHES}\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_CHARS));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("{END}{label}{DASHES}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read_again() {
        for size in [0, 1, 47, 48, 49, 1000] {
            let data: Vec<u8> = (0..size).map(|n| n as u8).collect();
            let text = encode(CERTIFICATE, &data);
            assert!(text.lines().all(|line| line.len() <= LINE_CHARS), "{text}");
            assert_eq!(blocks(&text), [Block { label: CERTIFICATE, has_headers: false, data }]);
        }
    }

    #[test]
    fn what_is_no_block_is_passed_over() {
        let whole = "-----BEGIN A-----\nYQ==\n-----END A-----\n";
        for (text, expected) in [
            ("", &[][..]),
            ("words\n", &[]),
            ("-----BEGIN A-----\nYQ==\n", &[]),
            ("-----BEGIN A-----\nYQ==\n-----END B-----\n", &[]),
            ("-----BEGIN A-----\n%\n-----END A-----\n", &[]),
            (whole, &[b"a"]),
            (&format!("before\n{whole}between\n{whole}after"), &[b"a", b"a"]),
            (&format!("-----BEGIN A-----\nYg==\n{whole}"), &[b"a"]),
            (&whole.replace('\n', "\r\n"), &[b"a"]),
            (whole.trim_end(), &[b"a"]),
        ] {
            let found: Vec<Vec<u8>> = blocks(text).into_iter().map(|block| block.data).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn headers_are_seen() {
        let found = blocks("-----BEGIN A-----\nProc-Type: 4\n\nYQ==\n-----END A-----\n");
        assert_eq!(found, [Block { label: "A", has_headers: true, data: b"a".to_vec() }]);
    }
}
