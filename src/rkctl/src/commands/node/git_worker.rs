//! `rkctl node git-worker`

use crate::exit;

/// Fetch a Git repository, for the server.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> exit::Answer {
    anyhow::bail!("`rkctl node git-worker` is not supported by this build")
}
