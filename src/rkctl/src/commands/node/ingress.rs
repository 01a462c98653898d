//! `rkctl node ingress`

use crate::exit;

/// Run the ingress controller.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> exit::Answer {
    anyhow::bail!("`rkctl node ingress` is not supported by this build")
}
