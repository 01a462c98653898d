//! `rkctl node token`

use crate::exit;

/// Bootstrap tokens.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> exit::Answer {
    anyhow::bail!("`rkctl node token` is not supported by this build")
}
