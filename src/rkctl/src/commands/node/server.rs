//! `rkctl node server`

use crate::exit;

/// Run the control plane.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> exit::Answer {
    anyhow::bail!("`rkctl node server` is not supported by this build")
}
