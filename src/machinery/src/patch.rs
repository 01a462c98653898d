//! The three patches that change an object from its text alone: JSON patch (RFC 6902), JSON merge patch (RFC 7396)
//! and Kubernetes' strategic merge patch. Server-side apply, which also knows who owns what, is
//! [`crate::apply`].

mod json;
mod strategic;

use serde_json::Value;

pub use json::{MAX_COPIED_BYTES, MAX_MOVED_BYTES, MAX_OPERATIONS, json};
pub use strategic::strategic;

/// Why a patch was not carried out. The object is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body is no patch (400).
    #[error("error decoding patch: {0}")]
    Malformed(String),
    /// More operations, or more copying, than allowed (413).
    #[error("{0}")]
    TooLarge(String),
    /// A well-formed patch does not fit the object (422).
    #[error("{0}")]
    Rejected(String),
    /// A test of a JSON patch says that it is for another object (422).
    #[error("{0}")]
    TestFailed(String),
}

/// A JSON merge patch (RFC 7396): objects are merged, null removes, everything else replaces.
pub fn merge(object: &mut Value, patch: &Value) -> Result<(), Error> {
    if !patch.is_object() {
        return Err(Error::Malformed("a merge patch must be an object".to_string()));
    }
    json_patch::merge(object, patch);
    Ok(())
}

#[cfg(test)]
mod tests;
