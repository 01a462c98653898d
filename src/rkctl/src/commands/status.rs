//! `rkctl status`

use crate::exit;

/// Not in this build.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: super::Inventory,
}

pub fn run(args: Args) -> exit::Answer {
    inventory::load(&args.inventory.path)?;
    anyhow::bail!("`rkctl status` is not supported by this build")
}
