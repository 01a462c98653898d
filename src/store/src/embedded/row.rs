//! One row of the log: what a revision changed, with a checksum over all of it.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Statement, params};

/// Appends a row.
pub(super) const INSERT: &str = "
    INSERT INTO log (revision, key, value, create_revision, lease, checksum, total)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
/// The columns that [`Found`] is read from.
pub(super) const COLUMNS: &str = "revision, key, value, create_revision, lease, checksum, total";
/// The same of layout 2, which had no leases.
pub(super) const COLUMNS_2: &str = "revision, key, value, create_revision, 0, checksum, total";

/// What a revision changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) revision: u64,
    pub(super) key: Arc<str>,
    /// As it is on disk; `None` for a deletion.
    pub(super) value: Option<Bytes>,
    /// 0 for a deletion.
    pub(super) create_revision: u64,
    /// When the value goes by itself, in milliseconds of the store's own clock; 0 where it stays, and for a deletion.
    pub(super) lease: u64,
}

/// A row as it was found.
pub(super) struct Found {
    pub(super) row: Row,
    pub(super) checksum: u32,
    pub(super) total: i64,
}

impl Row {
    /// The checksum of a row (CRC-32): revisions, lease, key and value. Without a lease it is that of layout 2.
    pub(super) fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.revision.to_le_bytes());
        hasher.update(&self.create_revision.to_le_bytes());
        if self.lease != 0 {
            hasher.update(&self.lease.to_le_bytes());
        }
        hasher.update(&(self.key.len() as u64).to_le_bytes());
        hasher.update(self.key.as_bytes());
        // A deletion and an empty value differ by their create_revision.
        hasher.update(self.value.as_deref().unwrap_or_default());
        hasher.finalize()
    }

    /// Appends the row with [`INSERT`]; answers the new total of checksums.
    pub(super) fn insert(&self, insert: &mut Statement<'_>, total: i64) -> Result<i64, rusqlite::Error> {
        let checksum = i64::from(self.checksum());
        let total = total.wrapping_add(checksum);
        insert.execute(params![
            signed(self.revision),
            &*self.key,
            self.value.as_deref(),
            signed(self.create_revision),
            signed(self.lease),
            checksum,
            total
        ])?;
        Ok(total)
    }

    /// Columns `revision, key, value, create_revision, lease`.
    pub(super) fn read_unsummed(row: &rusqlite::Row<'_>) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            revision: unsigned(row.get(0)?),
            key: Arc::from(row.get_ref(1)?.as_str()?),
            value: row.get_ref(2)?.as_blob_or_null()?.map(Bytes::copy_from_slice),
            create_revision: unsigned(row.get(3)?),
            lease: unsigned(row.get(4)?),
        })
    }
}

impl Found {
    /// [`COLUMNS`].
    pub(super) fn read(row: &rusqlite::Row<'_>) -> Result<Self, rusqlite::Error> {
        // A number that is no CRC-32 cannot be right; it differs from every one.
        let checksum = u32::try_from(row.get::<_, i64>(5)?).ok();
        let (found, total) = (Row::read_unsummed(row)?, row.get(6)?);
        let checksum = checksum.unwrap_or_else(|| !found.checksum());
        Ok(Self { row: found, checksum, total })
    }
}

/// SQLite's integers are signed; a counter of writes never reaches the sign bit.
pub(super) fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(stored: i64) -> u64 {
    stored.max(0).unsigned_abs()
}
