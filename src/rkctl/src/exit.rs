//! Exit codes, few and documented, and how an error is told.

use std::process::ExitCode;

/// Everything that was asked for is done.
pub const DONE: u8 = 0;
/// It failed.
pub const FAILED: u8 = 1;
/// The command line or the inventory is wrong; nothing was begun.
pub const USAGE: u8 = 2;
/// Some hosts could not be finished; the others were. Running again continues. `status`: not healthy.
pub const PARTIAL: u8 = 3;
/// `plan --detailed-exitcode`: there is something to do.
pub const CHANGES: u8 = 4;

/// Printed at the end of `rkctl --help`.
pub const HELP: &str = "Exit codes:
  0  done
  1  failed
  2  the command line or the inventory is wrong; nothing was begun
  3  some hosts could not be finished, the others were; run it again to continue;
     of `status`: not healthy
  4  `plan --detailed-exitcode`: there is something to do";

/// What a command answers: the exit code, or an error that is told and becomes [`FAILED`] or [`USAGE`].
pub type Answer = anyhow::Result<u8>;

/// Tells an error on standard error and answers its exit code.
pub fn tell(error: &anyhow::Error) -> ExitCode {
    eprintln!("rkctl: {}", stdx::error::chain(error.as_ref()));
    let is_usage = error.is::<inventory::Error>()
        || error.is::<Usage>()
        || error.downcast_ref::<lab::Error>().is_some_and(lab::Error::is_usage);
    if is_usage { USAGE.into() } else { FAILED.into() }
}

/// What the operator asked for cannot be begun, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);
