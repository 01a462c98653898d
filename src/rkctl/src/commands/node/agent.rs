//! `rkctl node agent`

use crate::exit;

/// Run the node agent.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> exit::Answer {
    anyhow::bail!("`rkctl node agent` is not supported by this build")
}
