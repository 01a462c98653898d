//! The log of record: one SQLite file in WAL mode, synced at every commit. Knows rows, not readers.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, params};

use super::layout::{self, Unusable};
use super::row::{Row, signed, unsigned};
use super::scan::{self, Log, Superseded};
use crate::{Entry, Error, Event};

/// Pages (of 4 KB) of the write-ahead log that are gathered before they are put in their place: each time costs two
/// syncs, and reading the log again at the start costs a moment for each.
const CHECKPOINT_PAGES: i64 = 4096;

/// Behind the store's name: a copy that is being put in its place.
pub(super) const RESTORING: &str = ".restoring";

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
    /// Opens or makes the file, checks all of it, and reads what it holds.
    pub(super) fn open(path: &Path) -> Result<(Self, Log), Error> {
        let lock = lock(path)?;
        refuse_half_restored(path)?;
        make_private(path)?;
        let failed = |error| failed(path, error);
        let mut connection = Connection::open(path).map_err(failed)?;
        // A file of something else is not touched.
        layout::recognise(&connection, path)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(failed)?;
        layout::prepare(&mut connection, path)?;
        let log = load(&connection, path)?;
        Ok((Self { connection, total: log.total, removed: log.removed, floor: log.floor, _lock: lock }, log))
    }

    /// The revision of the last commit, as the file has it.
    pub(super) fn revision(&self) -> Result<u64, rusqlite::Error> {
        let newest: Option<i64> = self.connection.query_row("SELECT max(revision) FROM log", [], |row| row.get(0))?;
        let floor = layout::meta(&self.connection, "floor")?;
        Ok(unsigned(newest.unwrap_or_default().max(floor)))
    }

    /// Writes `events` and takes the rows in `gone` out, in one transaction; durable when it answers.
    pub(super) fn commit(&mut self, events: &[Arc<Event>], gone: &VecDeque<Superseded>) -> Result<(), rusqlite::Error> {
        let (mut total, mut removed, mut floor) = (self.total, self.removed, self.floor);
        let transaction = self.connection.transaction()?;
        for event in events {
            if let Some(row) = row_of(event) {
                total = row.insert(&transaction, total)?;
            }
        }
        if let Some(last) = gone.back() {
            let mut delete = transaction.prepare_cached("DELETE FROM log WHERE revision = ?1")?;
            for row in gone {
                delete.execute(params![signed(row.revision)])?;
                removed = removed.wrapping_add(i64::from(row.checksum));
            }
            layout::set_meta(&transaction, "removed", removed)?;
            floor = floor.max(last.at);
            layout::set_meta(&transaction, "floor", signed(floor))?;
        }
        transaction.commit()?;
        (self.total, self.removed, self.floor) = (total, removed, floor);
        Ok(())
    }
}

/// The checksum of the row that made an entry.
pub(super) fn checksum_of(entry: &Entry) -> u32 {
    let Entry { key, value, create_revision, mod_revision } = entry.clone();
    Row { revision: mod_revision, key, value: Some(value), create_revision }.checksum()
}

/// The row of an event.
pub(super) fn row_of(event: &Event) -> Option<Row> {
    let revision = event.revision;
    match (&event.current, &event.previous) {
        (Some(Entry { key, value, create_revision, .. }), _) => {
            let (key, value) = (key.clone(), Some(value.clone()));
            Some(Row { revision, key, value, create_revision: *create_revision })
        }
        (None, Some(Entry { key, .. })) => Some(Row { revision, key: key.clone(), value: None, create_revision: 0 }),
        (None, None) => None,
    }
}

fn load(connection: &Connection, path: &Path) -> Result<Log, Error> {
    let failed = |error| failed(path, error);
    let check: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(failed)?;
    if check != "ok" {
        return Err(Error::Corrupt { path: path.display().to_string(), detail: check });
    }
    let mut first = None;
    let mut wrong = |problem: String| {
        first = Some(problem);
        false
    };
    let log = scan::scan(connection, &|_, value| Ok(value), &mut wrong).map_err(failed)?;
    match first {
        Some(detail) => Err(Error::Corrupt { path: path.display().to_string(), detail }),
        None => Ok(log),
    }
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

/// A restore that was interrupted may have taken the store away and not yet brought the other: an empty one in their
/// place would be served as if nothing had ever been written.
fn refuse_half_restored(path: &Path) -> Result<(), Error> {
    let exists = |file: &Path| {
        std::fs::exists(file).map_err(|error| Error::Backend { doing: "looking for the store", source: error.into() })
    };
    if exists(path)? || !exists(&beside(path, RESTORING))? {
        return Ok(());
    }
    let source = Unusable::HalfRestored(path.display().to_string()).into();
    Err(Error::Backend { doing: "opening the store", source })
}

/// Makes the file readable by its owner only, since it holds Secrets. SQLite gives its -wal and -shm files the same
/// mode.
pub(super) fn make_private(path: &Path) -> Result<(), Error> {
    open_private(path).map(drop).map_err(|error| Error::Backend { doing: "making the store", source: error.into() })
}

fn open_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}
