//! Leaves a host as it was before rkctl.

use std::time::Duration;

use ssh::{Command, Remote};

use crate::error::Error;

const SCRIPT: &str = concat!(include_str!("packages.sh"), include_str!("reset.sh"));
/// What the script says of what it does not take back.
const STAYS: &str = "stays: ";
/// Hosts with hundreds of pods take a while to stop them, and package managers to remove what was installed.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Stops and removes everything of rkctl on a host and puts back what was there before. Can be run again. Answers what
/// stays all the same, and why: packages that others have come to need.
///
/// # Errors
/// [`Error::Command`] with what could not be removed.
pub async fn reset_host(host: &dyn Remote) -> Result<Vec<String>, Error> {
    let output = host.exec(Command::new(SCRIPT).timeout(TIMEOUT)).await.map_err(Error::ssh("resetting the host"))?;
    if output.success() {
        Ok(output.text().lines().filter_map(|line| line.strip_prefix(STAYS)).map(str::to_owned).collect())
    } else {
        Err(Error::Command { detail: output.error_text().into_owned() })
    }
}
