//! A list as stored bytes with revisions spliced in, made piece by piece: however long it is, the server holds
//! references to the objects, which it has anyway, and one piece. And a list of metadata alone, cut out of such bytes.

use std::vec;

use bytes::Bytes;
use machinery::table;
use store::Entry;

use super::Found;
use crate::body::PIECE_BYTES;
use crate::processor;
use crate::rest::target::Target;
use crate::storage;

const TAIL: &[u8] = b"]}\n";
/// Reading over so much takes less than a millisecond, after which others get their turn.
const TURN_BYTES: usize = 4 * PIECE_BYTES;

/// The pieces of a list, in order.
pub struct Copied {
    /// What comes before the first object; empty once it has been given out.
    head: Vec<u8>,
    entries: vec::IntoIter<Entry>,
    /// Whether each object says what it is.
    typed: bool,
    left_bytes: usize,
}

impl Copied {
    /// The list of what was found, and its length in bytes.
    pub fn new(target: &Target<'_>, found: Found) -> (Self, u64) {
        let (kind, api_version) = (&target.resource.kind, &target.resource.group_version);
        let metadata = super::metadata(&found);
        let head =
            format!("{{\"kind\":\"{kind}List\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":[");
        Self::of(head.into_bytes(), found.entries, super::has_typed_items(target.resource))
    }

    fn of(head: Vec<u8>, entries: Vec<Entry>, typed: bool) -> (Self, u64) {
        let commas = entries.len().saturating_sub(1);
        let length_of = if typed { storage::spliced_bytes } else { storage::spliced_item_bytes };
        let objects: usize = entries.iter().map(|entry| length_of(&entry.value, entry.mod_revision)).sum();
        let length = head.len() + objects + commas + TAIL.len();
        (Self { head, entries: entries.into_iter(), typed, left_bytes: length }, length as u64)
    }
}

impl Iterator for Copied {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.left_bytes == 0 {
            return None;
        }
        // A piece ends behind the object that fills it.
        let splice = if self.typed { storage::splice } else { storage::splice_item };
        let mut piece = Vec::with_capacity(self.left_bytes.min(PIECE_BYTES + PIECE_BYTES / 8));
        piece.append(&mut self.head);
        while piece.len() < PIECE_BYTES {
            let Some(entry) = self.entries.next() else {
                piece.extend_from_slice(TAIL);
                self.left_bytes = 0;
                return Some(Bytes::from(piece));
            };
            splice(&mut piece, &entry.value, entry.mod_revision);
            if !self.entries.as_slice().is_empty() {
                piece.push(b',');
            }
        }
        self.left_bytes = self.left_bytes.saturating_sub(piece.len());
        Some(Bytes::from(piece))
    }
}

/// The list of the metadata of what was found; `None` where bytes are no object's. Others get their turns in between.
pub async fn metadata(found: &Found) -> Option<Vec<u8>> {
    let metadata = super::metadata(found);
    let head = format!(
        "{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        table::API_VERSION
    );
    let mut out = head.into_bytes();
    let mut turn_bytes = 0;
    for (at, entry) in found.entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if !storage::splice_metadata(&mut out, &entry.value, entry.mod_revision) {
            return None;
        }
        turn_bytes += entry.value.len();
        if turn_bytes >= TURN_BYTES {
            turn_bytes = 0;
            processor::pause().await;
        }
    }
    out.extend_from_slice(TAIL);
    Some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entries(count: usize, data_bytes: usize) -> Vec<Entry> {
        let entry = |number: usize| {
            let metadata = if number == 3 { json!({}) } else { json!({"name": format!("x{number}")}) };
            let object = json!({"apiVersion": "v1", "kind": "X", "metadata": metadata, "data": "y".repeat(data_bytes)});
            let revision = 9 + number as u64;
            Entry {
                key: format!("/registry/x/{number}").into(),
                value: storage::encode(&object),
                create_revision: revision,
                mod_revision: revision,
                lease: None,
            }
        };
        (0..count).map(entry).collect()
    }

    #[test]
    fn the_pieces_are_one_list_of_the_length_that_was_told() {
        for (count, data_bytes) in [(0, 0), (1, 10), (5, 10), (300, 1000), (3, 2 * PIECE_BYTES)] {
            let (copied, length) = Copied::of(b"{\"items\":[".to_vec(), entries(count, data_bytes), count % 2 == 0);
            let pieces: Vec<Bytes> = copied.collect();
            let whole = pieces.concat();
            assert_eq!(whole.len() as u64, length, "{count}");
            let list: Value = serde_json::from_slice(&whole).expect("JSON");
            let items = list["items"].as_array().expect("items");
            assert_eq!(items.len(), count);
            let revision = |item: &Value| item["metadata"]["resourceVersion"].as_str().map(str::to_string);
            assert!(items.iter().all(|item| item.get("kind").is_some() == (count % 2 == 0)), "{count}");
            assert!(items.iter().enumerate().all(|(at, item)| revision(item) == Some((9 + at).to_string())), "{count}");
            // No piece is much larger than what one object needs.
            assert!(pieces.iter().all(|piece| piece.len() < PIECE_BYTES + data_bytes + 200), "{count}");
        }
    }
    #[tokio::test]
    async fn metadata_are_listed_as_of_decoded_objects() {
        for count in [0, 1, 5, 300] {
            let found =
                Found { entries: entries(count, 1000), converted: None, revision: 7, next: None, remaining: None };
            let bytes = metadata(&found).await.expect("objects");
            let list: Value = serde_json::from_slice(&bytes).expect("JSON");
            let objects: Vec<Value> = found.entries.iter().map(|entry| storage::decode(entry).expect("JSON")).collect();
            assert_eq!(list, table::partial_object_metadata_list(super::super::metadata(&found), &objects));
        }
    }
    /// The list in one go: the bytes that the pieces must be, and their length.
    fn whole(head: &[u8], entries: &[Entry]) -> Vec<u8> {
        let mut out = head.to_vec();
        for (at, entry) in entries.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            storage::splice(&mut out, &entry.value, entry.mod_revision);
        }
        out.extend_from_slice(TAIL);
        out
    }

    proptest::proptest! {
        #[test]
        fn pieces_are_the_bytes_of_the_whole(
            objects in proptest::collection::vec((".{0,40}", 0..3 * PIECE_BYTES, 1..u64::MAX, proptest::bool::ANY), 0..12),
        ) {
            let entry = |(text, size, revision, is_bare): (String, usize, u64, bool)| {
                let metadata = if is_bare { json!({}) } else { json!({"name": text}) };
                let object = json!({"apiVersion": "v1", "kind": "X", "metadata": metadata, "data": text.repeat(size / 40)});
                Entry {
                    key: text.as_str().into(),
                    value: storage::encode(&object),
                    create_revision: revision,
                    mod_revision: revision,
                    lease: None,
                }
            };
            let entries: Vec<Entry> = objects.into_iter().map(entry).collect();
            let head = b"{\"kind\":\"XList\",\"items\":[";
            let expected = whole(head, &entries);
            let (copied, length) = Copied::of(head.to_vec(), entries, true);
            proptest::prop_assert_eq!(length, expected.len() as u64);
            proptest::prop_assert_eq!(copied.collect::<Vec<Bytes>>().concat(), expected);
        }
    }
}
