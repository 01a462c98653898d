//! `rkctl gitops`

use crate::exit;

/// The Git repository the cluster follows.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> exit::Answer {
    anyhow::bail!("`rkctl gitops` is not supported by this build")
}
