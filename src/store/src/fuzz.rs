//! Ways in for the fuzz targets (docs/fuzzing.md), to what reads rows of the store's file. Nothing of the
//! program uses them.

use crate::Error;
use crate::embedded::{self, Check};

/// A row of the log as somebody may have left it.
#[derive(Debug, Clone)]
pub struct MadeUp {
    /// The change that it is.
    pub revision: i64,
    /// Of which key.
    pub key: String,
    /// What it put; `None` for a deletion.
    pub value: Option<Vec<u8>>,
    /// When the key was created.
    pub create_revision: i64,
    /// When the value goes by itself, by the store's clock; 0 where it stays.
    pub lease: i64,
    /// What is written in the place of its checksum.
    pub checksum: Option<i64>,
    /// What is written in the place of the running sum.
    pub total: Option<i64>,
}

/// What the rows are found to be, where events are kept from `floor` on and the checksums of what went add up to
/// `removed`; as a server would that starts.
///
/// # Errors
/// What no file can have, such as two rows of one revision.
pub fn read_log(rows: &[MadeUp], floor: i64, removed: i64) -> Result<Check, Error> {
    embedded::read_made_up(rows, floor, removed)
}
