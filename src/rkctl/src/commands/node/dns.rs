//! `rkctl node dns`

use crate::exit;

/// Run cluster DNS.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> exit::Answer {
    anyhow::bail!("`rkctl node dns` is not supported by this build")
}
