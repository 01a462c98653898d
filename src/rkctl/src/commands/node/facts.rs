//! `rkctl node facts`

use crate::exit;

/// Print what the cluster says about itself, for rkctl up.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> exit::Answer {
    anyhow::bail!("`rkctl node facts` is not supported by this build")
}
