//! A list as a Table: each object becomes bytes of a row before the next one is decoded, so that a long list never lies
//! in memory decoded, and others get their turns in between.

use bytes::Bytes;
use jiff::Timestamp;
use machinery::table::{self, IncludeObject};
use serde::Serialize;
use serde_json::Value;

use super::Found;
use crate::body::PIECE_BYTES;
use crate::processor;
use crate::rest::shape;
use crate::rest::target::Target;
use crate::status::{Result, Status};

/// What ends a Table whose rows are its last member, as they are in the order of their names.
const TAIL: &[u8] = b"]}";
/// Decoding so much takes about a millisecond, after which others get their turn.
const TURN_BYTES: usize = PIECE_BYTES;

/// The Table of what was found as pieces, and their length in bytes.
///
/// # Errors
/// 400 for options that are unknown, 500 where bytes are no object.
pub async fn table(target: &Target<'_>, found: &Found) -> Result<(Slices, u64)> {
    let (resource, include) = (target.resource, shape::include(target)?);
    let empty = table::table(super::metadata(found), shape::columns(resource), Vec::new());
    let mut out = before_rows(&empty).ok_or_else(|| Status::internal("a Table does not end with its rows"))?;
    let mut turn_bytes = 0;
    for (at, entry) in found.entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let object = target.present(entry).await?;
        let cells = resource.behaviour.cells(&object, Timestamp::now());
        serde_json::to_writer(&mut out, &Row::of(&cells, &object, include)).map_err(Status::internal)?;
        turn_bytes += entry.value.len();
        if turn_bytes >= TURN_BYTES {
            turn_bytes = 0;
            processor::pause().await;
        }
    }
    out.extend_from_slice(TAIL);
    out.push(b'\n');
    let length_bytes = out.len() as u64;
    Ok((Slices(Bytes::from(out)), length_bytes))
}

/// A row as [`table::row`] makes it, of which nothing is copied but into the answer.
#[derive(Serialize)]
struct Row<'a> {
    cells: &'a [Value],
    object: Shown<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Nothing(()),
    #[serde(rename_all = "camelCase")]
    Metadata {
        api_version: &'static str,
        kind: &'static str,
        metadata: &'a Value,
    },
    Object(&'a Value),
}

impl<'a> Row<'a> {
    fn of(cells: &'a [Value], object: &'a Value, include: IncludeObject) -> Self {
        let object = match include {
            IncludeObject::None => Shown::Nothing(()),
            IncludeObject::Metadata => Shown::Metadata {
                api_version: table::API_VERSION,
                kind: "PartialObjectMetadata",
                metadata: &object["metadata"],
            },
            IncludeObject::Object => Shown::Object(object),
        };
        Self { cells, object }
    }
}

/// The bytes of a Table without rows up to where they begin.
fn before_rows(empty: &Value) -> Option<Vec<u8>> {
    let mut bytes = empty.to_string().into_bytes();
    let end = bytes.len().checked_sub(TAIL.len())?;
    if !bytes[..end].ends_with(b"\"rows\":[") || bytes[end..] != *TAIL {
        return None;
    }
    bytes.truncate(end);
    Some(bytes)
}

/// Parts of the same bytes, in order.
pub struct Slices(Bytes);

impl Iterator for Slices {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        (!self.0.is_empty()).then(|| self.0.split_to(self.0.len().min(PIECE_BYTES)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_come_where_a_table_without_them_ends() {
        let empty = table::table(json!({"resourceVersion": "7"}), vec![json!({"name": "rows"})], Vec::new());
        let mut whole = before_rows(&empty).expect("rows are last");
        whole.extend_from_slice(b"{\"cells\":[1]}");
        whole.extend_from_slice(TAIL);
        let table: Value = serde_json::from_slice(&whole).expect("JSON");
        assert_eq!(table["rows"], json!([{"cells": [1]}]));
        assert_eq!(table["metadata"]["resourceVersion"], "7");
    }

    #[test]
    fn rows_are_those_of_tables_elsewhere() {
        let object = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "data": {"a": "b"}});
        let cells = vec![json!("x"), json!(1)];
        for include in [IncludeObject::None, IncludeObject::Metadata, IncludeObject::Object] {
            let expected = table::row(cells.clone(), object.clone(), include);
            let row = serde_json::to_string(&Row::of(&cells, &object, include)).expect("JSON");
            assert_eq!(row, expected.to_string(), "{include:?}");
        }
    }

    #[test]
    fn pieces_are_the_bytes_in_order() {
        let bytes = Bytes::from((0..PIECE_BYTES * 2 + 5).map(|at| at as u8).collect::<Vec<u8>>());
        assert_eq!(Slices(bytes.clone()).map(|piece| piece.len()).collect::<Vec<_>>(), [PIECE_BYTES, PIECE_BYTES, 5]);
        assert_eq!(Slices(bytes.clone()).collect::<Vec<_>>().concat(), bytes);
        assert_eq!(Slices(Bytes::new()).count(), 0);
    }
}
