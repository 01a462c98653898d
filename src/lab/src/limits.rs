//! Limits of this machine that many systemds on one kernel run into. They are raised while there are labs and
//! put back with the last one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::state::LABS;

/// Each systemd, journald, logind and container runtime holds inotify instances, all of one user.
const INOTIFY: &str = "/proc/sys/fs/inotify/max_user_instances";
const INOTIFY_WANTED: u64 = 4096;

fn record() -> PathBuf {
    Path::new(LABS).join(".inotify-before")
}

/// Raises the limits; a machine that does not allow it keeps its own, which bounds how many hosts run at once.
pub(crate) fn raise() {
    let Some(now) = read(Path::new(INOTIFY)) else { return };
    if now >= INOTIFY_WANTED {
        return;
    }
    let raised = fs::write(record(), now.to_string()).and_then(|()| fs::write(INOTIFY, INOTIFY_WANTED.to_string()));
    if let Err(error) = raised {
        tracing::warn!(%error, limit = now, "{INOTIFY} could not be raised; many hosts may not start");
    }
}

/// Puts the limits back where they were, unless someone else has changed them since.
pub(crate) fn restore() {
    let record = record();
    if let (Some(before), Some(INOTIFY_WANTED)) = (read(&record), read(Path::new(INOTIFY)))
        && let Err(error) = fs::write(INOTIFY, before.to_string())
    {
        tracing::warn!(%error, "{INOTIFY} could not be put back");
    }
    // It is there only where the limit was raised.
    let _absent = fs::remove_file(record);
}

fn read(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
