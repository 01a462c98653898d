//! Short names that follow from content: `pod-template-hash`, revisions.

use serde::Serialize;

/// Letters and digits that cannot form a word, as Kubernetes uses for generated names.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A hash of a value's JSON, and of how often the name was taken by another value; up to ten letters.
pub fn hash_of(value: &impl Serialize, collisions: Option<i32>) -> String {
    // JSON maps are sorted, so that equal values have equal text.
    let text = serde_json::to_value(value).map(|value| value.to_string()).unwrap_or_default();
    let mut hash = fnv(0x811c_9dc5, text.as_bytes());
    if let Some(collisions) = collisions {
        hash = fnv(hash, &collisions.to_le_bytes());
    }
    safe(&hash.to_string())
}

/// A hash of a text; up to ten letters.
pub fn hash_text(text: &str) -> String {
    safe(&fnv(0x811c_9dc5, text.as_bytes()).to_string())
}

fn fnv(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn safe(text: &str) -> String {
    text.bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_content_and_collisions() {
        let a = serde_json::json!({"x": 1, "y": [1, 2]});
        assert_eq!(hash_of(&a, None), hash_of(&a.clone(), None));
        assert_ne!(hash_of(&a, None), hash_of(&a, Some(1)));
        assert_ne!(hash_of(&a, None), hash_of(&serde_json::json!({"x": 2}), None));
        assert!(hash_of(&a, None).bytes().all(|byte| ALPHABET.contains(&byte)));
    }
}
