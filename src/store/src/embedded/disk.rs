//! The log of record: one SQLite file in WAL mode, synced at every commit. Knows rows, not readers.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

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
/// How much of the write-ahead log is gathered before its pages are put in their place: each time costs two syncs, and
/// reading the log again at the start costs a moment for each page.
const CHECKPOINT_BYTES: i64 = 16 << 20;

/// Behind the store's name: a copy that is being put in its place.
pub(super) const RESTORING: &str = ".restoring";
/// Behind the store's name, with the time behind it: a store that a restore has set aside.
pub(super) const REPLACED: &str = ".replaced-";

/// Why values were not kept anew.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Seal(#[from] SealError),
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
    /// Held for as long as the file is open.
    _lock: File,
}

impl Disk {
    /// Opens or makes the file, checks all of it, and reads what it holds; of the events as many as `bounds` says.
    pub(super) fn open(path: &Path, encryption: &Encryption, bounds: &FeedBounds) -> Result<(Self, Log), Error> {
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
        let pages = CHECKPOINT_BYTES / page_bytes.max(1);
        connection.pragma_update(None, "wal_autocheckpoint", pages).map_err(failed)?;
        layout::prepare(&mut connection, path)?;
        let (mut log, stale) = load(&connection, path, encryption, bounds)?;
        log.removed =
            rewrite::keep_anew(&mut connection, encryption, &stale, log.removed).map_err(|error| match error {
                CommitError::Sqlite(error) => failed(error),
                CommitError::Seal(error) => Error::Backend { doing: "encrypting the store anew", source: error.into() },
            })?;
        let (total, removed, floor) = (log.total, log.removed, log.floor);
        Ok((Self { connection, total, removed, floor, _lock: lock }, log))
    }

    /// The revision of the last commit, as the file has it.
    pub(super) fn revision(&self) -> Result<u64, rusqlite::Error> {
        let newest: Option<i64> = self.connection.query_row("SELECT max(revision) FROM log", [], |row| row.get(0))?;
        let floor = layout::meta(&self.connection, "floor")?;
        Ok(unsigned(newest.unwrap_or_default().max(floor)))
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
            if let Some(clock_ms) = clock_ms {
                layout::set_meta(&self.connection, layout::CLOCK, signed(clock_ms))?;
            }
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(sums)
        });
        if written.is_err() && !self.connection.is_autocommit() {
            // Where even that fails, the next transaction does, and the revision on disk is compared.
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

/// `PATH` with something behind it.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// Takes the lock beside the file: one process at a time writes.
pub(super) fn lock(path: &Path) -> Result<File, Error> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| Error::Backend { doing: "locking the store", source };
    let file = open_private(&beside(path, ".lock")).map_err(|error| failed(error.into()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(failed(Unusable::Held(path.display().to_string()).into())),
        Err(TryLockError::Error(error)) => Err(failed(error.into())),
    }
}

/// SQLite answers with the mode that it is in where it cannot change it, as on a file system without shared memory.
fn write_ahead(connection: &Connection, path: &Path) -> Result<(), Error> {
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(|error| failed(path, error))?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let source = Unusable::NoLog { path: path.display().to_string(), mode }.into();
    Err(Error::Backend { doing: "opening the store", source })
}

/// A restore that was interrupted may have taken the store away and not yet brought the other: an empty one in their
/// place would be served as if nothing had ever been written.
fn refuse_half_restored(path: &Path) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::Backend { doing: "looking for the store", source: error.into() };
    // An empty file is no store; SQLite would begin one in it.
    match std::fs::metadata(path) {
        Ok(file) if file.len() > 0 => return Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut left = std::fs::exists(beside(path, RESTORING)).map_err(failed)?;
    left |= std::fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    let name = |path: &Path| path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
    let replaced = name(&beside(path, REPLACED));
    for file in std::fs::read_dir(folder_of(path)).map_err(failed)? {
        left |= name(&file.map_err(failed)?.path()).starts_with(&replaced);
    }
    if !left {
        return Ok(());
    }
    let source = Unusable::HalfRestored(path.display().to_string()).into();
    Err(Error::Backend { doing: "opening the store", source })
}

/// The folder that a file is in.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the file readable by its owner only, since it holds Secrets. SQLite gives its -wal and -shm files the same
/// mode.
fn make_private(path: &Path) -> Result<(), Error> {
    open_private(path).map(drop).map_err(|error| Error::Backend { doing: "making the store", source: error.into() })
}

/// Makes a file that is not there yet, readable by its owner only.
pub(super) fn make_new(path: &Path) -> Result<(), Error> {
    let made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    made.map(drop).map_err(|error| Error::Backend { doing: "making the copy", source: error.into() })
}

fn open_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}
