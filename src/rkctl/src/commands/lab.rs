//! `rkctl lab`

use crate::exit;

/// Hosts on this machine to try clusters on.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> exit::Answer {
    anyhow::bail!("`rkctl lab` is not supported by this build")
}
