//! `rkctl node metrics`

use crate::exit;

/// Run the metrics API.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> exit::Answer {
    anyhow::bail!("`rkctl node metrics` is not supported by this build")
}
