//! The layouts that the file has had, and the way from each to the newest. Every layout has a fixture in the tests.
//!
//! 1 held the live values and the revision. 2 is a log: one row a revision, with a checksum, so that events outlast a
//! restart and damage is found that SQLite cannot see. 3 knows when a value goes by itself. 4 has a checksum for what is
//! noted beside the log too: a clock that is set forward by a bit would let go of everything that goes by itself.

use std::path::Path;

use rusqlite::{Connection, Transaction, params};

use super::row::{self, Row};
use crate::Error;

/// The layout that is written; kept in `user_version`.
pub(super) const NEWEST: i64 = 4;
/// The oldest layout that is a log.
pub(super) const FIRST_LOG: i64 = 2;
/// The oldest layout that has leases.
const FIRST_LEASES: i64 = 3;
/// The oldest layout that has checksums for what is noted.
pub(super) const FIRST_SUMMED_META: i64 = 4;
/// Tells the file from other SQLite files (`application_id`): "rkst".
const APPLICATION_ID: i64 = 0x726b_7374;
/// The revision of a store that nothing was ever written to, so that 0 never means a state.
const FIRST_REVISION: u64 = 1;

/// `floor` is the revision from which on every event is in the log; `removed` the sum of the checksums of the rows
/// that compaction took out, so that `total` of the newest row less it is the sum of what is there;
/// `clock`, where any value ever had a lease, for how many milliseconds the store has been open. Each has a checksum
/// (CRC-32) of its name and value.
const SCHEMA: &str = "
    CREATE TABLE log (
        revision INTEGER PRIMARY KEY NOT NULL,
        key TEXT NOT NULL,
        value BLOB,
        create_revision INTEGER NOT NULL,
        lease INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        total INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT,
    WITHOUT ROWID;
";

/// The name of what is noted of the store's own clock.
pub(super) const CLOCK: &str = "clock";

/// Why a file cannot be used although it is not damaged.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("{0} is held by another process")]
    Held(String),
    #[error("{path} has layout {found}, this program knows up to {NEWEST}; use the newer program")]
    Newer { path: String, found: i64 },
    #[error("{0} is a SQLite file of something else")]
    Foreign(String),
    #[error("{0} is empty, no store was ever made in it")]
    Empty(String),
    #[error("{0} is there already; choose another name, or say that it is to be overwritten")]
    Exists(String),
    #[error(
        "{0} can be read only: its header says that a later SQLite wrote it, or it is damaged; `rkctl node store restore` \
         puts a backup in its place"
    )]
    ReadOnly(String),
    #[error(
        "{path} cannot be written to with a log ahead of it (SQLite stays in mode {mode}); use another file system"
    )]
    NoLog { path: String, mode: String },
    #[error(
        "{0} is not there, and a restore of it was interrupted; run `rkctl node store restore` again, or give the latest {0}.replaced-* its name back; to begin an empty store, move {0}.replaced-*, {0}-wal and {0}.restoring away"
    )]
    HalfRestored(String),
}

/// The layout of an open file; `None` where it is empty.
pub(super) fn recognise(connection: &Connection, path: &Path) -> Result<Option<i64>, Error> {
    let failed = |error| super::disk::failed(path, error);
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let found = pragma("user_version").map_err(failed)?;
    let application = pragma("application_id").map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let shown = path.display().to_string();
    let unusable = |why: Unusable| Err(Error::Backend { doing: "opening the store", source: why.into() });
    match (application == APPLICATION_ID, tables > 0) {
        (true, _) if found > NEWEST => unusable(Unusable::Newer { path: shown, found }),
        (true, true) if found < 1 => Err(Error::Corrupt { path: shown, detail: format!("there is no layout {found}") }),
        (true, true) => Ok(Some(found)),
        (false, true) => unusable(Unusable::Foreign(shown)),
        (_, false) => Ok(None),
    }
}

/// Brings an open file to the newest layout in one transaction.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let found = recognise(connection, path)?;
    if found == Some(NEWEST) {
        return Ok(());
    }
    let failed = |error| super::disk::failed(path, error);
    let transaction = connection.transaction().map_err(failed)?;
    match found {
        None => make(&transaction).map_err(failed)?,
        Some(old) => {
            let brought = if old < FIRST_LOG { from_1(&transaction) } else { from_log(&transaction, old) };
            brought.map_err(failed)?;
            tracing::info!(path = %path.display(), layout = NEWEST, "the store was brought to a newer layout");
        }
    }
    transaction.commit().map_err(failed)
}

fn make(transaction: &Transaction<'_>) -> Result<(), rusqlite::Error> {
    transaction.execute_batch(SCHEMA)?;
    set_meta(transaction, "floor", row::signed(FIRST_REVISION))?;
    set_meta(transaction, "removed", 0)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", NEWEST)
}

fn from_1(transaction: &Transaction<'_>) -> Result<(), rusqlite::Error> {
    let revision: i64 = meta(transaction, "revision")?;
    transaction.execute_batch("ALTER TABLE meta RENAME TO meta_1")?;
    make(transaction)?;
    {
        let mut live = transaction
            .prepare("SELECT mod_revision, key, value, create_revision, 0 FROM live ORDER BY mod_revision")?;
        let mut rows = live.query([])?;
        let mut total = 0;
        let mut insert = transaction.prepare(row::INSERT)?;
        while let Some(row) = rows.next()? {
            let row = Row::read_unsummed(row)?;
            total = row.insert(&mut insert, total)?;
        }
    }
    // What came before is known by its outcome alone.
    set_meta(transaction, "floor", revision)?;
    transaction.execute_batch("DROP TABLE live; DROP TABLE meta_1;")
}

/// No row of the log is written: without a lease its checksum stays what it was.
fn from_log(transaction: &Transaction<'_>, old: i64) -> Result<(), rusqlite::Error> {
    if old < FIRST_LEASES {
        transaction.execute_batch("ALTER TABLE log ADD COLUMN lease INTEGER NOT NULL DEFAULT 0")?;
    }
    transaction.execute_batch("ALTER TABLE meta ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0")?;
    for (name, value, _) in all_meta(transaction)? {
        set_meta(transaction, &name, value)?;
    }
    transaction.pragma_update(None, "user_version", NEWEST)
}

fn all_meta(connection: &Connection) -> Result<Vec<(String, i64, i64)>, rusqlite::Error> {
    let mut statement = connection.prepare("SELECT name, value, checksum FROM meta")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

/// What is noted and differs from its checksum, in words.
pub(super) fn wrong_meta(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let mut noted = all_meta(connection)?;
    noted.retain(|(name, value, checksum)| *checksum != i64::from(meta_checksum(name, *value)));
    Ok(noted.into_iter().map(|(name, ..)| format!("what is noted as {name} differs from its checksum")).collect())
}

fn meta_checksum(name: &str, value: i64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(&value.to_le_bytes());
    hasher.finalize()
}

pub(super) fn meta(connection: &Connection, name: &str) -> Result<i64, rusqlite::Error> {
    connection.query_row("SELECT value FROM meta WHERE name = ?1", params![name], |row| row.get(0))
}

/// What a name stands for; 0 where nothing was ever noted.
pub(super) fn noted(connection: &Connection, name: &str) -> Result<i64, rusqlite::Error> {
    use rusqlite::OptionalExtension as _;
    let found = connection.query_row("SELECT value FROM meta WHERE name = ?1", params![name], |row| row.get(0));
    Ok(found.optional()?.unwrap_or_default())
}

pub(super) fn set_meta(connection: &Connection, name: &str, value: i64) -> Result<(), rusqlite::Error> {
    let mut statement =
        connection.prepare_cached("INSERT OR REPLACE INTO meta (name, value, checksum) VALUES (?1, ?2, ?3)")?;
    statement.execute(params![name, value, i64::from(meta_checksum(name, value))]).map(drop)
}
