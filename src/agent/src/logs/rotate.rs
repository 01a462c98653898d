//! Rotation: a log that has grown too large is put aside and the runtime opens a new one; only so many are kept.

use std::path::{Path, PathBuf};

use crate::Error;

/// A log is put aside above this size.
const SIZE_MAX_BYTES: u64 = 10 * 1024 * 1024;
/// Files of one log, with the one that is written.
const FILES_MAX: usize = 5;

/// True where a log must be put aside.
pub fn due(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.len() >= SIZE_MAX_BYTES)
}

/// Puts a log aside under the time, and answers where it is; the runtime is then told to open a new one.
pub fn put_aside(path: &Path, now: jiff::Timestamp) -> Result<PathBuf, Error> {
    let stamp = now.strftime("%Y%m%d-%H%M%S").to_string();
    let mut aside = path.as_os_str().to_os_string();
    aside.push(format!(".{stamp}"));
    std::fs::rename(path, &aside).map_err(Error::file("rename", path))?;
    Ok(PathBuf::from(aside))
}

/// Puts a log back that was put aside, where no new one has been opened.
pub fn put_back(path: &Path, aside: &Path) -> Result<(), Error> {
    if path.exists() {
        return Ok(());
    }
    std::fs::rename(aside, path).map_err(Error::file("rename", aside))
}

/// Removes the oldest of the logs that were put aside.
pub fn remove_oldest(path: &Path) -> Result<(), Error> {
    let mut old = set_aside(path);
    old.sort();
    let excess = (old.len() + 1).saturating_sub(FILES_MAX);
    for file in old.into_iter().take(excess) {
        std::fs::remove_file(&file).map_err(Error::file("remove", &file))?;
    }
    Ok(())
}

fn set_aside(path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        for second in 0..8 {
            std::fs::write(&path, "x").unwrap();
            put_aside(&path, jiff::Timestamp::from_second(second).unwrap()).unwrap();
            remove_oldest(&path).unwrap();
        }
        let mut left = set_aside(&path);
        left.sort();
        assert_eq!(left.len(), FILES_MAX - 1);
        assert!(left[0].to_string_lossy().ends_with("0.log.19700101-000004"), "{left:?}");
        assert!(!due(&path));
    }
}
