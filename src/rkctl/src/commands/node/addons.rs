//! `rkctl node addons`

use crate::exit;

/// The cluster's addons.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> exit::Answer {
    anyhow::bail!("`rkctl node addons` is not supported by this build")
}
