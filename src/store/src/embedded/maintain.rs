//! What is done to the file beside serving it: copied while it is in use, put back, looked over. Never changes the
//! file it reads.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ffi};

use super::disk::{failed, is_damage, open_beside};
use super::files::{REPLACED, RESTORING, beside, lock, make_new, sync_folder};
use super::layout::{self, Unusable};
use super::row::{signed, unsigned};
use super::scan;
use crate::Error;
use bytes::Bytes;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// Things that are named of a damaged file; more say no more.
const WRONG_MAX: usize = 100;
/// What a restored store's revision is raised by, so that no revision that was given out after the backup is given
/// out again: more writes than a store sees between two backups.
const REVISION_BUMP: u64 = 1_000_000_000;
/// Behind the name of a copy that is being made: nobody takes it for a copy.
const PARTIAL: &str = ".partial";
/// How often a copy is begun that others stand in the way of, and how long they are given each time.
const COPY_TRIES: u32 = 100;
const COPY_RETRY_AFTER: Duration = Duration::from_millis(50);

/// What a file was found to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Check {
    /// The version of its layout; 0 where it cannot be read.
    pub layout: i64,
    /// The newest revision.
    pub revision: u64,
    /// Watches can resume from this revision on.
    pub oldest: u64,
    /// Live keys.
    pub keys: u64,
    /// Rows, those of earlier revisions included.
    pub rows: u64,
    /// What is wrong; at most a hundred things.
    pub wrong: Vec<String>,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the file was found to hold.
    pub check: Check,
    /// The revision the store goes on from.
    pub revision: u64,
    /// Where the file that was there before is now.
    pub kept: Option<PathBuf>,
}

/// Reads all of a store, while it is in use or not, and names what is wrong.
///
/// # Errors
/// [`Error::Backend`] where there is no such file, or it is none of this program's. Damage is no error.
pub fn check(path: &Path) -> Result<Check, Error> {
    check_open(open(path), path)
}

/// The same of one that was opened.
pub(super) fn check_open(opened: Result<Connection, Error>, path: &Path) -> Result<Check, Error> {
    let mut check = Check::default();
    let looked = opened.and_then(|connection| look(&connection, path, &mut check));
    match looked {
        Ok(()) => Ok(check),
        Err(Error::Corrupt { detail, .. }) => {
            check.wrong.push(detail);
            Ok(check)
        }
        Err(other) => Err(other),
    }
}

fn look(connection: &Connection, path: &Path, check: &mut Check) -> Result<(), Error> {
    let failed = |error| failed(path, error);
    let shown = path.display().to_string();
    // One transaction: what is looked at does not change meanwhile.
    connection.execute_batch("BEGIN").map_err(failed)?;
    check.layout = layout::recognise(connection, path)?
        .ok_or_else(|| Error::Backend { doing: "opening the store", source: Unusable::Empty(shown).into() })?;
    let mut statement = connection.prepare("PRAGMA integrity_check(100)").map_err(failed)?;
    let found = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
    for line in found {
        match line {
            Ok(line) if line == "ok" => {}
            Ok(line) => check.wrong.extend(line.lines().map(str::to_string)),
            Err(error) if is_damage(&error) => check.wrong.push(error.to_string()),
            Err(error) => return Err(failed(error)),
        }
    }
    if check.layout < layout::FIRST_LOG {
        check.revision = unsigned(layout::meta(connection, "revision").map_err(failed)?);
        check.oldest = check.revision;
        let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        check.rows = unsigned(connection.query_row("SELECT count(*) FROM live", [], count).map_err(failed)?);
        check.keys = check.rows;
        return Ok(());
    }
    let wrong = &mut check.wrong;
    let mut note = |problem: String| {
        wrong.push(problem);
        wrong.len() < WRONG_MAX
    };
    let log = scan::scan(connection, check.layout, None, &mut no_value, &mut note).map_err(failed)?;
    (check.revision, check.oldest) = (log.revision, log.floor);
    (check.keys, check.rows) = (log.tree.len() as u64, log.rows);
    Ok(())
}

/// Values are compared with their checksums and not kept: a store may hold more than this process should.
fn no_value(_: u64, _: &str, _: Bytes) -> Result<Bytes, String> {
    Ok(Bytes::new())
}

/// Copies a store into a new file, while it is in use or not: the copy is of one revision, whole, and durable when
/// this answers. Answers what the copy holds.
///
/// # Errors
/// [`Error::Corrupt`] where the store is damaged, and there is no copy then; [`Error::Backend`] where `to` is there
/// already or a file cannot be read or written.
pub fn backup(path: &Path, to: &Path) -> Result<Check, Error> {
    let source = open(path)?;
    if fs::exists(to).map_err(io("looking for the backup"))? {
        let source = Unusable::Exists(to.display().to_string()).into();
        return Err(Error::Backend { doing: "making the backup", source });
    }
    let partial = beside(to, PARTIAL);
    let copied = copy(&source, path, &partial).and_then(|()| sound(&partial, path));
    let moved = copied.and_then(|check| move_to(&partial, to).map(|()| check));
    if moved.is_err() {
        // What is left of it helps nobody.
        let _ = fs::remove_file(&partial);
    }
    moved
}

/// Puts a backup in the place of a store that no process holds. The revision is raised far above that of the backup,
/// so that clients that have seen later ones list again.
///
/// # Errors
/// [`Error::Corrupt`] where the backup is damaged; [`Error::Backend`] where the store is in use, or is there already
/// and `overwrite` does not say otherwise. The store that was there is kept beside it.
pub fn restore(from: &Path, path: &Path, overwrite: bool) -> Result<Restored, Error> {
    let source = open(from)?;
    let _lock = lock(path)?;
    let occupied = !parts(path)?.is_empty();
    if occupied && !overwrite {
        let source = Unusable::Exists(path.display().to_string()).into();
        return Err(Error::Backend { doing: "restoring the store", source });
    }
    let check = sound(from, from)?;
    let restoring = beside(path, RESTORING);
    let partial = beside(&restoring, PARTIAL);
    let prepared = copy(&source, from, &partial).and_then(|()| raise_revision(&partial, from));
    let prepared = prepared.and_then(|revision| sound(&partial, from).map(|_| revision));
    // From here on the copy says that the store is being replaced. An earlier one, of a restore that was interrupted,
    // said so until now and is never gone in between.
    let prepared = prepared.and_then(|revision| {
        fs::rename(&partial, &restoring).map_err(io("naming the copy"))?;
        sync_folder(&restoring)?;
        Ok(revision)
    });
    let revision = match prepared {
        Ok(revision) => revision,
        Err(error) => {
            let _ = fs::remove_file(&partial);
            return Err(error);
        }
    };
    let kept = match occupied.then(|| set_aside(path)).transpose() {
        Ok(kept) => kept,
        Err(error) => {
            // What is still in its place is not being replaced. Where it is gone, the copy is all that says so.
            if is_there(path) {
                let _ = fs::remove_file(&restoring);
            }
            return Err(error);
        }
    };
    move_to(&restoring, path)?;
    Ok(Restored { check, revision, kept })
}

/// Opens a file to read it; it must be there.
fn open(path: &Path) -> Result<Connection, Error> {
    fs::metadata(path).map_err(io("opening the store"))?;
    open_beside(path)
}

/// A file that must hold a store without damage; `named` is the one that a person knows.
fn sound(path: &Path, named: &Path) -> Result<Check, Error> {
    let check = check(path)?;
    match check.wrong.first() {
        None => Ok(check),
        Some(detail) => Err(Error::Corrupt { path: named.display().to_string(), detail: detail.clone() }),
    }
}

/// Copies every page at one revision, and makes the copy one durable file without a log beside it.
fn copy(source: &Connection, named: &Path, to: &Path) -> Result<(), Error> {
    layout::recognise(source, named)?;
    if fs::exists(to).map_err(io("looking for an earlier try"))? {
        fs::remove_file(to).map_err(io("removing an earlier try"))?;
    }
    make_new(to)?;
    let mut target = Connection::open(to).map_err(|error| failed(to, error))?;
    let pages = Backup::new(source, &mut target).and_then(|backup| every_page(&backup));
    pages.map_err(|error| failed(named, error))?;
    target.pragma_update(None, "journal_mode", "DELETE").map_err(|error| failed(to, error))?;
    target.close().map_err(|(_, error)| failed(to, error))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(io("syncing the copy"))
}

/// Copies until nothing is left; that others are at work on the file is no copy.
fn every_page(backup: &Backup<'_, '_>) -> Result<(), rusqlite::Error> {
    for _ in 0..COPY_TRIES {
        if backup.step(-1)? == StepResult::Done {
            return Ok(());
        }
        std::thread::sleep(COPY_RETRY_AFTER);
    }
    let busy = Some("others are at work on it all the time".to_string());
    Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), busy))
}

fn raise_revision(path: &Path, named: &Path) -> Result<u64, Error> {
    let failed = |error| failed(path, error);
    let mut connection = Connection::open(path).map_err(failed)?;
    if layout::recognise(&connection, path)?.is_none() {
        let source = Unusable::Empty(named.display().to_string()).into();
        return Err(Error::Backend { doing: "restoring the store", source });
    }
    layout::prepare(&mut connection, path)?;
    let mut wrong = None;
    let mut note = |problem: String| {
        wrong = Some(problem);
        false
    };
    let log = scan::scan(&connection, layout::NEWEST, None, &mut no_value, &mut note).map_err(failed)?;
    if let Some(detail) = wrong {
        return Err(Error::Corrupt { path: named.display().to_string(), detail });
    }
    let revision = log.revision + REVISION_BUMP;
    layout::set_meta(&connection, "floor", signed(revision)).map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    File::open(path).and_then(|file| file.sync_all()).map_err(io("syncing the restored store"))?;
    Ok(revision)
}

/// What there is of a store: the file, and what SQLite keeps beside it. Where a restore was interrupted, its log can be
/// left without the file, and must not be taken for the log of another.
fn parts(path: &Path) -> Result<Vec<&'static str>, Error> {
    let mut found = Vec::new();
    for suffix in ["", "-wal", "-shm", "-journal"] {
        if fs::exists(beside(path, suffix)).map_err(io("looking for the store"))? {
            found.push(suffix);
        }
    }
    Ok(found)
}

/// Gives the store and what SQLite keeps beside it another name. Until the copy has its name, the server that is
/// started sees from the copy that it must not begin an empty store.
fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let kept = beside(path, &format!("{REPLACED}{now_s}"));
    if !parts(&kept)?.is_empty() {
        let source = Unusable::Exists(kept.display().to_string()).into();
        return Err(Error::Backend { doing: "keeping the store that was there", source });
    }
    for suffix in parts(path)? {
        let (from, to) = (beside(path, suffix), beside(&kept, suffix));
        rename_new(&from, &to).map_err(io("keeping the store that was there"))?;
    }
    sync_folder(path)?;
    Ok(kept)
}

/// Whether there is a store, which is never empty.
fn is_there(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

/// Gives a durable file its name, durably; a name that is taken stays what it is.
fn move_to(from: &Path, to: &Path) -> Result<(), Error> {
    rename_new(from, to).map_err(io("naming the copy"))?;
    sync_folder(to)
}

fn rename_new(from: &Path, to: &Path) -> std::io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        // Some file systems cannot do both at once.
        Err(Errno::EINVAL | Errno::ENOSYS) if !fs::exists(to)? => fs::rename(from, to),
        Err(Errno::EINVAL | Errno::ENOSYS) => Err(Errno::EEXIST.into()),
        done => Ok(done?),
    }
}

fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::Backend { doing, source: Box::new(error) }
}

#[cfg(test)]
mod tests;
