//! `rkctl plan`

use super::cluster::{Prepared, print_plan};
use crate::{exit, output, runtime};

/// Show what `rkctl up` would do, and change nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rkctl plan inventories/lab.yaml\n  rkctl plan --output json | jq '.plan.steps[].title'"
)]
pub struct Args {
    #[command(flatten)]
    inventory: super::Inventory,
    /// How the plan is printed.
    #[arg(long, value_enum, default_value_t)]
    output: output::Format,
    /// Exit with 4 where there is something to do.
    #[arg(long)]
    detailed_exitcode: bool,
}

pub fn run(args: Args) -> exit::Answer {
    let cluster = super::cluster::load(&args.inventory.path)?;
    runtime::operator(async {
        let prepared = Prepared::new(&cluster).await?;
        let plan = prepared.plan()?;
        match args.output {
            output::Format::Json => output::print_json(&serde_json::json!({
                "plan": plan, "unreachable": prepared.unreachable(),
            }))?,
            output::Format::Text => {
                let hosts = cluster.present().count();
                output::print(&print_plan(&plan, &prepared.unreachable(), hosts))?;
            }
        }
        Ok(match () {
            () if !plan.problems.is_empty() || prepared.counts_as_failure() => exit::PARTIAL,
            () if args.detailed_exitcode && !plan.steps.is_empty() => exit::CHANGES,
            () => exit::DONE,
        })
    })
}
