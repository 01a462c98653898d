//! The generated schemas of the built-in kinds, as `build.rs` has put them into the program: one compressed JSON
//! document a type, found by name.

use flate2::read::DeflateDecoder;
use serde_json::Value;

/// A type of k8s-openapi whose schema is built in. One that is not is added to the list in `build.rs`.
pub trait Described {
    /// The key of the type's schema among the definitions: `io.k8s.api.core.v1.Pod`.
    const SCHEMA_NAME: &str;
}

include!(concat!(env!("OUT_DIR"), "/described.rs"));

static TABLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schemas.bin"));

/// The generated JSON schema of the type called `name`; none for a name that no built-in kind refers to.
pub(super) fn schema(name: &str) -> Option<Value> {
    let at = INDEX.binary_search_by(|(known, _, _)| (*known).cmp(name)).ok()?;
    let (_, start, end) = INDEX[at];
    let made = serde_json::from_reader(DeflateDecoder::new(&TABLE[start..end]));
    Some(made.expect("build.rs wrote it"))
}
