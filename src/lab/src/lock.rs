//! Locks on folders: they end with the process that holds them and leave no file behind.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, file};

/// Makes the folder where it is missing and holds it until the answer is dropped. Waits for other holders.
pub(crate) async fn hold(folder: &Path) -> Result<File, Error> {
    let folder = folder.to_owned();
    let path = folder.clone();
    let held = tokio::task::spawn_blocking(move || hold_blocking(&folder)).await;
    held.map_err(std::io::Error::other).flatten().map_err(file("locking", path))
}

fn hold_blocking(folder: &Path) -> std::io::Result<File> {
    loop {
        fs::create_dir_all(folder)?;
        let held = File::open(folder)?;
        held.lock()?;
        // Who held it before may have removed it.
        match fs::metadata(folder) {
            Ok(now) if now.ino() == held.metadata()?.ino() => return Ok(held),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}
