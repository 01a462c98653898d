//! The log of record: one SQLite file in WAL mode, synced at every commit. Knows rows, not readers.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, params};

use crate::memory::View;
use crate::tree::Tree;
use crate::{Entry, Error, Event};

/// The layout of the tables below; kept in `user_version`.
const SCHEMA_VERSION: i64 = 1;
/// Tells the file from other SQLite files (`application_id`): "rkst".
const APPLICATION_ID: i64 = 0x726b_7374;
/// The revision of a store that nothing was ever written to, so that 0 never means a state.
const FIRST_REVISION: u64 = 1;

const SCHEMA: &str = "
    CREATE TABLE live (
        key TEXT PRIMARY KEY NOT NULL,
        value BLOB NOT NULL,
        create_revision INTEGER NOT NULL,
        mod_revision INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// Why the file cannot be used although it is not damaged.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0} is held by another process")]
    Held(String),
    #[error("{path} has layout {found}, this program knows up to {SCHEMA_VERSION}; use the newer program")]
    Newer { path: String, found: i64 },
    #[error("{0} is a SQLite file of something else")]
    Foreign(String),
}

/// The open file.
pub(super) struct Disk {
    connection: Connection,
    /// Held for as long as the file is open.
    _lock: File,
}

impl Disk {
    /// Opens or makes the file, checks it, and reads every live entry.
    pub(super) fn open(path: &Path) -> Result<(Self, View), Error> {
        let lock = lock(path)?;
        let connection = Connection::open(path).map_err(|error| failed(path, error))?;
        let mut disk = Self { connection, _lock: lock };
        disk.prepare(path)?;
        let view = disk.load(path)?;
        Ok((disk, view))
    }

    fn prepare(&mut self, path: &Path) -> Result<(), Error> {
        let failed = |error| failed(path, error);
        let connection = &mut self.connection;
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let found = pragma("user_version").map_err(failed)?;
        let application = pragma("application_id").map_err(failed)?;
        let shown = path.display().to_string();
        let unusable = |why: Unusable| Err(Error::Backend { doing: "opening the store", source: why.into() });
        if found > SCHEMA_VERSION && application == APPLICATION_ID {
            return unusable(Unusable::Newer { path: shown, found });
        }
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
        if application != APPLICATION_ID && tables > 0 {
            return unusable(Unusable::Foreign(shown));
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        if tables == 0 {
            let transaction = connection.transaction().map_err(failed)?;
            transaction.execute_batch(SCHEMA).map_err(failed)?;
            transaction
                .execute("INSERT INTO meta (name, value) VALUES ('revision', ?1)", params![signed(FIRST_REVISION)])
                .map_err(failed)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(failed)?;
            transaction.commit().map_err(failed)?;
        }
        Ok(())
    }

    fn load(&self, path: &Path) -> Result<View, Error> {
        let failed = |error| failed(path, error);
        let corrupt = |detail: String| Error::Corrupt { path: path.display().to_string(), detail };
        let check: String =
            self.connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(failed)?;
        if check != "ok" {
            return Err(corrupt(check));
        }
        let revision = match self.revision() {
            Err(rusqlite::Error::QueryReturnedNoRows) => return Err(corrupt("it has no revision".to_string())),
            read => read.map_err(failed)?,
        };
        let mut tree = Tree::default();
        let mut statement = self
            .connection
            .prepare("SELECT key, value, create_revision, mod_revision FROM live ORDER BY key")
            .map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let entry = read_entry(row).map_err(failed)?;
            let order = 0 < entry.create_revision
                && entry.create_revision <= entry.mod_revision
                && entry.mod_revision <= revision;
            if !order {
                return Err(corrupt(format!(
                    "{} was changed at {}, the store is at {revision}",
                    entry.key, entry.mod_revision
                )));
            }
            tree.insert(Arc::new(entry));
        }
        Ok(View { tree, revision })
    }

    /// The revision of the last commit, as the file has it.
    pub(super) fn revision(&self) -> Result<u64, rusqlite::Error> {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let revision = self.connection.query_row("SELECT value FROM meta WHERE name = 'revision'", [], read)?;
        Ok(revision.max(0).unsigned_abs())
    }

    /// Writes the outcome of `events` in one transaction; durable when it answers.
    pub(super) fn commit(&mut self, events: &[Arc<Event>], revision: u64) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction()?;
        {
            let mut put = transaction.prepare(
                "INSERT INTO live (key, value, create_revision, mod_revision) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value,
                   create_revision = excluded.create_revision, mod_revision = excluded.mod_revision",
            )?;
            let mut delete = transaction.prepare("DELETE FROM live WHERE key = ?1")?;
            for event in events {
                match (&event.current, &event.previous) {
                    (Some(Entry { key, value, create_revision, mod_revision }), _) => {
                        put.execute(params![&**key, &**value, signed(*create_revision), signed(*mod_revision)])?;
                    }
                    (None, Some(entry)) => drop(delete.execute(params![&*entry.key])?),
                    (None, None) => {}
                }
            }
            transaction
                .prepare("UPDATE meta SET value = ?1 WHERE name = 'revision'")?
                .execute(params![signed(revision)])?;
        }
        transaction.commit()
    }
}

fn read_entry(row: &rusqlite::Row<'_>) -> Result<Entry, rusqlite::Error> {
    let key = row.get_ref(0)?.as_str()?;
    Ok(Entry {
        key: Arc::from(key),
        value: row.get::<_, Vec<u8>>(1)?.into(),
        create_revision: row.get::<_, i64>(2)?.max(0).unsigned_abs(),
        mod_revision: row.get::<_, i64>(3)?.max(0).unsigned_abs(),
    })
}

/// SQLite's integers are signed; a counter of writes never reaches the sign bit.
fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn failed(path: &Path, error: rusqlite::Error) -> Error {
    let damaged =
        matches!(
            &error,
            rusqlite::Error::SqliteFailure(failure, _)
                if matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ) || matches!(&error, rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..));
    if damaged {
        return Error::Corrupt { path: path.display().to_string(), detail: error.to_string() };
    }
    Error::Backend { doing: "opening the store", source: Box::new(error) }
}

/// Takes the lock beside the file; the file itself is made readable by its owner only, since it holds Secrets.
fn lock(path: &Path) -> Result<File, Error> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| Error::Backend { doing: "locking the store", source };
    let mut name = path.as_os_str().to_os_string();
    name.push(".lock");
    let name = PathBuf::from(name);
    let open = |name: &Path| OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(name);
    let file = open(&name).map_err(|error| failed(error.into()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(failed(Unusable::Held(path.display().to_string()).into())),
        Err(TryLockError::Error(error)) => return Err(failed(error.into())),
    }
    // SQLite gives its -wal and -shm files the mode of the file.
    open(path).map_err(|error| failed(error.into()))?;
    Ok(file)
}
