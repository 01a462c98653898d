//! `rkctl reset`

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use futures::StreamExt as _;

use crate::exit::Usage;
use crate::{exit, output, runtime};

/// Take a cluster apart and leave its hosts as they were.
///
/// Everything that runs in the cluster and everything it stores is gone afterwards.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rkctl reset inventories/lab.yaml
  rkctl reset inventories/lab.yaml --yes
  rkctl reset inventories/lab.yaml --host w2 --yes")]
pub struct Args {
    #[command(flatten)]
    inventory: super::Inventory,
    /// Do not ask for the cluster's name.
    #[arg(long)]
    yes: bool,
    /// Only this host; may be given again. Its node stays in the cluster: `state: absent` removes both.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
}

pub fn run(args: Args) -> exit::Answer {
    let mut cluster = inventory::load(&args.inventory.path)?;
    if let Some(unknown) = args.hosts.iter().find(|name| cluster.host(name).is_none()) {
        return Err(Usage(format!("there is no host `{unknown}` in {}", args.inventory.path.display())).into());
    }
    if !args.hosts.is_empty() {
        cluster.hosts.retain(|host| args.hosts.contains(&host.name));
    }
    if !args.yes {
        confirm(&cluster)?;
    }
    runtime::operator(async {
        let fleet = provision::connect(&cluster).await;
        let mut failed = false;
        let mut resets = futures::stream::iter(&cluster.hosts)
            .map(|host| {
                let fleet = &fleet;
                async move {
                    let reset = async { provision::reset_host(fleet.session(&host.name)?).await };
                    (&host.name, reset.await)
                }
            })
            .buffer_unordered(cluster.options.parallel);
        while let Some((name, result)) = resets.next().await {
            match result {
                Ok(stays) if stays.is_empty() => output::print(&format!("{name}: as it was before rkctl\n"))?,
                Ok(stays) => output::print(&format!("{name}: as it was before rkctl, but {}\n", stays.join("; ")))?,
                Err(error) => {
                    failed = true;
                    eprintln!("{name}: not reset: {}; run it again to continue", stdx::error::chain(&error));
                }
            }
        }
        Ok(if failed { exit::PARTIAL } else { exit::DONE })
    })
}

fn confirm(cluster: &inventory::Cluster) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Usage("nobody can be asked here: give --yes".to_owned()).into());
    }
    let hosts: Vec<&str> = cluster.hosts.iter().map(|host| host.name.as_str()).collect();
    eprintln!("This removes everything of the cluster {} from {}.", cluster.name, hosts.join(", "));
    eprint!("Type the cluster's name to go on: ");
    std::io::stderr().flush().context("ask")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("read the answer")?;
    if answer.trim() == cluster.name {
        Ok(())
    } else {
        Err(Usage("that is not its name; nothing was done".to_owned()).into())
    }
}
