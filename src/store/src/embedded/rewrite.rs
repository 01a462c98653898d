//! Values that were kept with an earlier key, or none, are kept anew when the store starts: after that the earlier key
//! can go. Revisions and events stay as they are. What values were is taken out of the file and its log too, also of
//! those that had been removed before.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode, params};

use super::disk::CommitError;
use super::layout;
use super::row::{self, Found, signed};
use crate::encryption::Encryption;

/// Rows of one transaction.
const BATCH: usize = 1000;

/// Noted in the file: nothing in it was written before values were encrypted, nor with an earlier key.
const SCRUBBED: &str = "scrubbed";
/// How often the log is emptied while others read it, and how long they are given each time.
const EMPTY_TRIES: u32 = 20;
const EMPTY_RETRY_AFTER: Duration = Duration::from_millis(100);

/// Keeps the values of `stale` revisions as they would be written now, and sees to it that nothing of what was written
/// otherwise is left, where values are encrypted; answers the new sum of what was removed.
pub(super) fn keep_anew(
    connection: &mut Connection,
    encryption: &Encryption,
    stale: &[u64],
    removed: i64,
) -> Result<i64, CommitError> {
    let scrubbed = layout::noted(connection, SCRUBBED)? == 1;
    if scrubbed && (encryption.is_empty() || !stale.is_empty()) {
        layout::set_meta(connection, SCRUBBED, 0)?;
    }
    // What is removed from now on is overwritten.
    connection.pragma_update(None, "secure_delete", if encryption.is_empty() { "OFF" } else { "ON" })?;
    let removed = rewrite(connection, encryption, stale, removed)?;
    if !stale.is_empty() {
        tracing::info!(rows = stale.len(), "values were encrypted anew");
    }
    if encryption.is_empty() || (scrubbed && stale.is_empty()) {
        return Ok(removed);
    }
    // Values are encrypted already: a server need not stay away because there is no room for a second file.
    match scrub(connection) {
        Ok(true) => layout::set_meta(connection, SCRUBBED, 1)?,
        Ok(false) => tracing::warn!(
            "the log of the store is being read, so it may hold values as they were before they were encrypted; they \
             are taken out at the next start"
        ),
        Err(error) => tracing::warn!(
            error = %stdx::error::chain(&error),
            "the store's file may hold values as they were before they were encrypted; they are taken out at the next \
             start"
        ),
    }
    Ok(removed)
}

/// Makes the file anew without its free pages, and empties the log; answers whether it could.
fn scrub(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection.execute_batch("VACUUM")?;
    for _ in 0..EMPTY_TRIES {
        match connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(rusqlite::Error::SqliteFailure(failure, _)) if failure.code == ErrorCode::DatabaseLocked => {}
            Err(other) => return Err(other),
        }
        std::thread::sleep(EMPTY_RETRY_AFTER);
    }
    Ok(false)
}

fn rewrite(
    connection: &mut Connection,
    encryption: &Encryption,
    stale: &[u64],
    mut removed: i64,
) -> Result<i64, CommitError> {
    for revisions in stale.chunks(BATCH) {
        let transaction = connection.transaction()?;
        for revision in revisions {
            let Found { mut row, checksum: old, .. } = transaction.query_row(
                &format!("SELECT {} FROM log WHERE revision = ?1", row::COLUMNS),
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
    Ok(removed)
}
