//! Values that were kept with an earlier key, or none, are kept anew when the store starts: after that the earlier key
//! can go. Revisions and events stay as they are.

use rusqlite::{Connection, params};

use super::disk::CommitError;
use super::layout;
use super::row::{Found, signed};
use crate::encryption::Encryption;

/// Rows of one transaction.
const BATCH: usize = 1000;

/// Keeps the values of these revisions as they would be written now; answers the new sum of what was removed. What
/// they were is overwritten, in the file and in its log.
pub(super) fn rewrite(
    connection: &mut Connection,
    encryption: &Encryption,
    stale: &[u64],
    mut removed: i64,
) -> Result<i64, CommitError> {
    connection.pragma_update(None, "secure_delete", "ON")?;
    for revisions in stale.chunks(BATCH) {
        let transaction = connection.transaction()?;
        for revision in revisions {
            let Found { mut row, checksum: old, .. } = transaction.query_row(
                "SELECT revision, key, value, create_revision, checksum, total FROM log WHERE revision = ?1",
                params![signed(*revision)],
                Found::read,
            )?;
            // It was read a moment ago, so it can be; what cannot stays as it is.
            let opened = row.value.take().and_then(|kept| encryption.open(&row.key, kept).ok());
            let Some(opened) = opened else { continue };
            row.value = Some(encryption.seal(&row.key, &opened.value)?);
            let new = row.checksum();
            transaction
                .prepare_cached("UPDATE log SET value = ?1, checksum = ?2 WHERE revision = ?3")?
                .execute(params![row.value.as_deref(), i64::from(new), signed(*revision)])?;
            // The running sums of later rows have the old checksum in them.
            removed = removed.wrapping_add(i64::from(old)).wrapping_sub(i64::from(new));
        }
        layout::set_meta(&transaction, "removed", removed)?;
        transaction.commit()?;
    }
    connection.pragma_update(None, "secure_delete", "OFF")?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(removed)
}
