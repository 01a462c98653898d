//! Leaves a host as it was before rkctl.

use std::time::Duration;

use ssh::{Command, Remote};

use crate::error::Error;

const SCRIPT: &str = include_str!("reset.sh");
/// Hosts with hundreds of pods take a while to stop them.
const TIMEOUT: Duration = Duration::from_secs(180);

/// Stops and removes everything of rkctl on a host and puts back what was there before. Can be run again.
///
/// # Errors
/// [`Error::Command`] with what could not be removed.
pub async fn reset_host(host: &dyn Remote) -> Result<(), Error> {
    let output = host.exec(Command::new(SCRIPT).timeout(TIMEOUT)).await.map_err(Error::ssh("resetting the host"))?;
    if output.success() { Ok(()) } else { Err(Error::Command { detail: output.error_text().into_owned() }) }
}
