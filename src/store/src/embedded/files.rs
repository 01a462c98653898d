//! The store's files by their names: who holds them, whose they are, and what an interrupted restore has left. Knows
//! nothing of what is in them.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::layout::Unusable;
use crate::Error;

/// Behind the store's name: a copy that is being put in its place.
pub(super) const RESTORING: &str = ".restoring";
/// Behind the store's name, with the time behind it: a store that a restore has set aside.
pub(super) const REPLACED: &str = ".replaced-";

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
pub(super) fn refuse_half_restored(path: &Path) -> Result<(), Error> {
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
pub(super) fn make_private(path: &Path) -> Result<(), Error> {
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

/// Makes the names in a file's folder durable.
pub(super) fn sync_folder(file: &Path) -> Result<(), Error> {
    let synced = File::open(folder_of(file)).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Error::Backend { doing: "syncing the folder", source: error.into() })
}
