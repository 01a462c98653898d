//! The log of record: one SQLite file in WAL mode, synced at every commit. Knows rows, not readers.

use std::ffi::c_int;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::files::{lock, make_private, refuse_half_restored, sync_folder};
use super::gather;
use super::layout::{self, Unusable};
use super::rewrite;
use super::row::{self, Row, signed, unsigned};
use super::scan::{self, Log, Superseded};
use crate::Error;
use crate::encryption::{Encryption, SealError};
use crate::feed::FeedBounds;

/// Bytes of a new file's pages: of objects of one or two KB few leave much of a page empty, and a single write is still
/// a small one. Files that are there keep theirs.
const PAGE_BYTES: i64 = 8192;
/// How often the log may come to the size at which its pages are put in their place while the disk does not let them be:
/// what is read at the start has a bound.
const CHECKPOINTS_MISSED_MAX: u64 = 64;

/// Why values were not kept anew.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// When pages of the write-ahead log are put in their place.
struct Checkpoints {
    /// Pages in the log, as the last transaction left it.
    pages: Arc<AtomicU64>,
    /// The same before.
    before: u64,
    /// How many are gathered.
    every: u64,
    /// How many are waited for.
    next: u64,
}

impl Checkpoints {
    fn of(connection: &mut Connection, every: u64) -> Result<Self, rusqlite::Error> {
        let pages = Arc::new(AtomicU64::new(0));
        let counted = pages.clone();
        // In the place of SQLite's own, which tells nobody whether it could.
        connection.wal_hook(Some(move |_: &mut Wal, count: c_int| {
            counted.store(u64::try_from(count).unwrap_or_default(), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self { pages, before: 0, every, next: every })
    }

    /// Answers how many pages there are where it is time.
    fn due(&mut self) -> Option<u64> {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.before {
            // The log has begun anew.
            self.next = self.every;
        }
        self.before = pages;
        (pages >= self.next).then_some(pages)
    }

    /// Waits for some more.
    fn put_off(&mut self, pages: u64) {
        self.next = pages + (self.every / 8).max(1);
    }
}

/// The open file.
pub(super) struct Disk {
    connection: Connection,
    /// The running sum of checksums at the newest row.
    total: i64,
    /// What compaction has taken out of it.
    removed: i64,
    /// Every event after this revision is in the log.
    floor: u64,
    checkpoints: Checkpoints,
    /// Held for as long as the file is open.
    _lock: File,
}

impl Disk {
    /// Opens or makes the file, checks all of it, and reads what it holds; of the events as many as `bounds` says.
    /// Pages are put in their place when `log_bytes` have come together in the log ahead of the file.
    pub(super) fn open(
        path: &Path,
        encryption: &Encryption,
        bounds: &FeedBounds,
        log_bytes: u64,
    ) -> Result<(Self, Log), Error> {
        let lock = lock(path)?;
        refuse_half_restored(path)?;
        make_private(path)?;
        let failed = |error| failed(path, error);
        gather::register().map_err(failed)?;
        let mut connection =
            Connection::open_with_flags_and_vfs(path, OpenFlags::default(), gather::NAME).map_err(failed)?;
        // A file of something else is not touched.
        if layout::recognise(&connection, path)?.is_none() {
            connection.pragma_update(None, "page_size", PAGE_BYTES).map_err(failed)?;
        }
        write_ahead(&connection, path)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        let page_bytes =
            connection.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0)).map_err(failed)?;
        let pages = (log_bytes / unsigned(page_bytes).max(1)).max(1);
        connection.pragma_update(None, "wal_autocheckpoint", signed(pages)).map_err(failed)?;
        layout::prepare(&mut connection, path)?;
        let (mut log, stale) = load(&connection, path, encryption, bounds)?;
        log.removed =
            rewrite::keep_anew(&mut connection, encryption, &stale, log.removed).map_err(|error| match error {
                CommitError::Sqlite(error) => failed(error),
                CommitError::Seal(error) => Error::Backend { doing: "encrypting the store anew", source: error.into() },
            })?;
        let checkpoints = Checkpoints::of(&mut connection, pages).map_err(failed)?;
        // SQLite syncs the names of the files that it makes, and does not look whether it could.
        sync_folder(path)?;
        let (total, removed, floor) = (log.total, log.removed, log.floor);
        Ok((Self { connection, total, removed, floor, checkpoints, _lock: lock }, log))
    }

    /// Whether the file can be read and holds what was committed up to `revision`, and no more.
    pub(super) fn is_at(&self, revision: u64) -> bool {
        let held = || {
            let newest: Option<i64> =
                self.connection.query_row("SELECT max(revision) FROM log", [], |row| row.get(0))?;
            let (floor, removed) =
                (layout::meta(&self.connection, "floor")?, layout::meta(&self.connection, "removed")?);
            Ok::<_, rusqlite::Error>((unsigned(newest.unwrap_or_default().max(floor)), unsigned(floor), removed))
        };
        held().is_ok_and(|held| held == (revision, self.floor, self.removed))
    }

    /// Puts the pages of the log in their place where enough have come together. Nothing is lost where that fails: they
    /// stay in the log, all of them, and it is tried again when some more have come.
    ///
    /// # Errors
    /// Where the log has become too long meanwhile.
    pub(super) fn checkpoint(&mut self) -> Result<(), rusqlite::Error> {
        let Some(pages) = self.checkpoints.due() else { return Ok(()) };
        let done = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        self.checkpoints.put_off(pages);
        match done {
            Ok(()) => Ok(()),
            // Somebody reads what was before, or copies it.
            Err(rusqlite::Error::SqliteFailure(failure, _)) if failure.code == ErrorCode::DatabaseLocked => Ok(()),
            Err(error) if pages / self.checkpoints.every >= CHECKPOINTS_MISSED_MAX => Err(error),
            Err(error) => {
                tracing::warn!(
                    error = %stdx::error::chain(&error),
                    "the pages of the store's log could not be put in their place; nothing is lost, and it is tried again"
                );
                Ok(())
            }
        }
    }

    /// Writes `rows`, takes those in `gone` out and notes what the store's clock shows, in one transaction; durable when
    /// it answers.
    pub(super) fn commit<'a>(
        &mut self,
        rows: &[Row],
        gone: impl Iterator<Item = &'a Superseded>,
        clock_ms: Option<u64>,
    ) -> Result<(), rusqlite::Error> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let written = self.write(rows, gone).and_then(|sums| {
            if rows.is_empty() {
                // Something is written in any case, for who asks wants to know whether it can be: SQLite leaves out what
                // is as it was.
                layout::set_meta(&self.connection, "removed", sums.1.wrapping_add(1))?;
                layout::set_meta(&self.connection, "removed", sums.1)?;
            }
            if let Some(clock_ms) = clock_ms {
                layout::set_meta(&self.connection, layout::CLOCK, signed(clock_ms))?;
            }
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(sums)
        });
        if written.is_err() && !self.connection.is_autocommit() {
            // Where even that fails, the next transaction does, and what is on disk is compared.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        (self.total, self.removed, self.floor) = written?;
        Ok(())
    }

    /// Answers the sums and the floor as they are with the transaction.
    fn write<'a>(
        &self,
        rows: &[Row],
        gone: impl Iterator<Item = &'a Superseded>,
    ) -> Result<(i64, i64, u64), rusqlite::Error> {
        let (mut total, mut removed, mut floor) = (self.total, self.removed, self.floor);
        let mut insert = self.connection.prepare_cached(row::INSERT)?;
        for row in rows {
            total = row.insert(&mut insert, total)?;
        }
        let mut gone = gone.peekable();
        if gone.peek().is_some() {
            let mut delete =
                self.connection.prepare_cached("DELETE FROM log WHERE revision = ?1 RETURNING checksum")?;
            for row in gone {
                let checksum: i64 = delete.query_row(params![signed(row.revision)], |row| row.get(0))?;
                removed = removed.wrapping_add(checksum);
                floor = floor.max(row.at);
            }
            layout::set_meta(&self.connection, "removed", removed)?;
            layout::set_meta(&self.connection, "floor", signed(floor))?;
        }
        Ok((total, removed, floor))
    }
}

/// A value that no key reads.
#[derive(Debug, thiserror::Error)]
#[error("{0}; name the key that it was written with in the encryption configuration again")]
struct Unreadable(String);

/// What the file holds, and the revisions whose values are not kept as they would be now.
fn load(
    connection: &Connection,
    path: &Path,
    encryption: &Encryption,
    bounds: &FeedBounds,
) -> Result<(Log, Vec<u64>), Error> {
    let failed = |error| failed(path, error);
    let (mut first, mut unreadable, mut stale) = (None, None, Vec::new());
    let mut wrong = |problem: String| {
        first = Some(problem);
        false
    };
    let mut decode = |revision, key: &str, kept| match encryption.open(key, kept) {
        Ok(opened) => {
            if opened.stale {
                stale.push(revision);
            }
            Ok(opened.value)
        }
        Err(why) => {
            unreadable = Some(format!("{key} {why}"));
            Err(why)
        }
    };
    // Each takes as long as the other.
    let (checked, log) = std::thread::scope(|scope| {
        let checking = scope.spawn(|| quick_check(path));
        let log = scan::scan(connection, layout::NEWEST, Some(bounds), &mut decode, &mut wrong);
        (checking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), log)
    });
    let checked = checked?;
    if checked != "ok" {
        return Err(Error::Corrupt { path: path.display().to_string(), detail: checked });
    }
    let log = log.map_err(failed)?;
    match (unreadable, first) {
        (Some(why), _) => Err(Error::Backend { doing: "decrypting the store", source: Unreadable(why).into() }),
        (None, Some(detail)) => Err(Error::Corrupt { path: path.display().to_string(), detail }),
        (None, None) => Ok((log, stale)),
    }
}

/// What SQLite finds wrong with its own structures; `ok` where nothing is.
fn quick_check(path: &Path) -> Result<String, Error> {
    let connection = open_beside(path)?;
    let checked = connection.pragma_query_value(None, "quick_check", |row| row.get(0));
    checked.map_err(|error| failed(path, error))
}

/// Opens a file to read it, which others may have open. SQLite may write to its -wal and -shm, never to the file
/// itself.
pub(super) fn open_beside(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| failed(path, error))?;
    let keep = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    keep.map_err(|error| failed(path, error))?;
    Ok(connection)
}

/// Whether a failure of SQLite says that the file is damaged.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        }
        // A column of another type, text that is not UTF-8, a row that every store has: written by nobody.
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    }
}

pub(super) fn failed(path: &Path, error: rusqlite::Error) -> Error {
    if is_damage(&error) {
        return Error::Corrupt { path: path.display().to_string(), detail: error.to_string() };
    }
    Error::Backend { doing: "opening the store", source: Box::new(error) }
}

/// SQLite opens a file whose header names a later format, and tells of it only who writes.
fn refuse_read_only(connection: &Connection, path: &Path) -> Result<(), Error> {
    if !connection.is_readonly("main").map_err(|error| failed(path, error))? {
        return Ok(());
    }
    let source = Unusable::ReadOnly(path.display().to_string()).into();
    Err(Error::Backend { doing: "opening the store", source })
}

/// SQLite answers with the mode that it is in where it cannot change it, as on a file system without shared memory.
fn write_ahead(connection: &Connection, path: &Path) -> Result<(), Error> {
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(|error| failed(path, error))?;
    if mode.eq_ignore_ascii_case("wal") {
        return refuse_read_only(connection, path);
    }
    let source = Unusable::NoLog { path: path.display().to_string(), mode }.into();
    Err(Error::Backend { doing: "opening the store", source })
}
