//! `rkctl schema`

use crate::{exit, output};

/// Print the JSON Schema of inventories, for editors and checks.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rkctl schema > cluster.schema.json")]
pub struct Args {}

pub fn run(_args: Args) -> exit::Answer {
    output::print_json(&inventory::json_schema())?;
    Ok(exit::DONE)
}
