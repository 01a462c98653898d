//! `rkctl reset`

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use futures::StreamExt as _;
use inventory::Unreachable;
use provision::Fleet;

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
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    output: output::Format,
}

/// What came of a host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
enum Outcome {
    /// It is as it was before rkctl.
    Reset {
        /// But for this, which was installed for the cluster and is needed by something else now.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        stays: Vec<String>,
    },
    /// It could not be reached, which the inventory lets be.
    Skipped {
        /// Why.
        cause: String,
    },
    /// It is not as it was.
    Failed {
        /// Why.
        cause: String,
    },
}

/// A host and what came of it.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    host: String,
    #[serde(flatten)]
    outcome: Outcome,
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
        let can_skip = cluster.options.unreachable == Unreachable::Skip && answers(&cluster, &fleet);
        let mut done = Vec::new();
        let mut resets = futures::stream::iter(&cluster.hosts)
            .map(|host| {
                let fleet = &fleet;
                async move { Done { host: host.name.clone(), outcome: reset(fleet, &host.name, can_skip).await } }
            })
            .buffer_unordered(cluster.options.parallel);
        while let Some(one) = resets.next().await {
            if args.output == output::Format::Text {
                tell(&one)?;
            }
            done.push(one);
        }
        if args.output == output::Format::Json {
            output::print_json(&serde_json::json!({ "cluster": cluster.name, "hosts": done }))?;
        }
        let failed = done.iter().any(|one| matches!(one.outcome, Outcome::Failed { .. }));
        Ok(if failed { exit::PARTIAL } else { exit::DONE })
    })
}

/// Whether any host can be reached: where none can, nothing is done, whatever the inventory lets be.
fn answers(cluster: &inventory::Cluster, fleet: &Fleet) -> bool {
    cluster.hosts.iter().any(|host| fleet.session(&host.name).is_ok())
}

async fn reset(fleet: &Fleet, host: &str, can_skip: bool) -> Outcome {
    let session = match fleet.session(host) {
        Ok(session) => session,
        Err(error) if can_skip => return Outcome::Skipped { cause: stdx::error::chain(&error) },
        Err(error) => return Outcome::Failed { cause: stdx::error::chain(&error) },
    };
    match provision::reset_host(session).await {
        Ok(stays) => Outcome::Reset { stays },
        Err(error) => Outcome::Failed { cause: stdx::error::chain(&error) },
    }
}

fn tell(done: &Done) -> anyhow::Result<()> {
    let host = &done.host;
    match &done.outcome {
        Outcome::Reset { stays } if stays.is_empty() => output::print(&format!("{host}: as it was before rkctl\n")),
        Outcome::Reset { stays } => {
            output::print(&format!("{host}: as it was before rkctl, but {}\n", stays.join("; ")))
        }
        Outcome::Skipped { cause } => {
            output::print(&format!("{host}: skipped: {cause}; run it again when the host answers\n"))
        }
        Outcome::Failed { cause } => {
            eprintln!("{host}: not reset: {cause}; run it again to continue");
            Ok(())
        }
    }
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
