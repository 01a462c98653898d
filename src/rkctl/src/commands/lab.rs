//! `rkctl lab`: hosts on this machine. One file a verb is too many here: each is a call and a line of output.

use std::path::PathBuf;

use clap::Subcommand;
use lab::{DEFAULT_LAB, Lab, Options};

use crate::{exit, output, runtime};

/// Hosts on this machine to try clusters on, each with a real systemd and sshd.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rkctl lab up
  rkctl lab up --name two --hosts cp1,w1 --packages firewalld
  rkctl lab ssh w1
  rkctl lab cut w1 && rkctl lab heal w1
  rkctl lab down")]
pub struct Args {
    /// Which lab.
    #[arg(long, global = true, default_value = DEFAULT_LAB)]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the lab, or start what does not run of it; write its inventory and key.
    Up {
        /// The hosts; cp1, w1 and w2 in a new lab where it is left out.
        #[arg(long, value_delimiter = ',')]
        hosts: Vec<String>,
        /// More Debian packages for the hosts.
        #[arg(long, value_delimiter = ',')]
        packages: Vec<String>,
        /// N of the network 10.88.N.0/24; the first free one where it is left out.
        #[arg(long)]
        network: Option<u8>,
        /// A folder that gets inventory, key and known_hosts too.
        #[arg(long, value_name = "FOLDER")]
        export: Option<PathBuf>,
        /// How the lab is printed.
        #[arg(long, value_enum, default_value_t)]
        output: output::Format,
    },
    /// Remove the lab and everything in it.
    Down {
        /// Remove the cached base file systems in /var/cache/rkctl-lab too, which no lab uses any more.
        #[arg(long)]
        purge: bool,
    },
    /// List the labs of this machine and their hosts.
    List {
        /// How they are printed.
        #[arg(long, value_enum, default_value_t)]
        output: output::Format,
    },
    /// Log in to a host, or run a command on it.
    Ssh {
        /// The host.
        host: String,
        /// The command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Restart a host.
    Reboot {
        /// The host.
        host: String,
    },
    /// End a host as a power failure does; `up` starts it again.
    Kill {
        /// The host.
        host: String,
    },
    /// Cut a host off from the network.
    Cut {
        /// The host.
        host: String,
    },
    /// Put a host back on the network.
    Heal {
        /// The host.
        host: String,
    },
}

pub fn run(args: Args) -> exit::Answer {
    let lab = Lab::named(&args.name)?;
    if let Command::Ssh { host, command } = &args.command {
        return ssh(&lab, host, command);
    }
    runtime::operator(async {
        match args.command {
            Command::Up { hosts, packages, network, export, output } => {
                up(&lab, &Options { hosts, packages, network, export }, output).await?;
            }
            Command::Down { purge } => {
                let was_there = lab.down().await?;
                output::print(&format!("lab {}: {}\n", lab.name(), if was_there { "removed" } else { "not there" }))?;
                if purge {
                    let count = lab::purge_base().await?;
                    output::print(&format!("{count} base file systems removed\n"))?;
                }
            }
            Command::List { output } => list(output)?,
            Command::Reboot { host } => lab.reboot(&host).await?,
            Command::Kill { host } => lab.kill(&host).await?,
            Command::Cut { host } => lab.cut(&host).await?,
            Command::Heal { host } => lab.heal(&host).await?,
            // Has taken the process over already.
            Command::Ssh { .. } => {}
        }
        Ok(exit::DONE)
    })
}

async fn up(lab: &Lab, options: &Options, format: output::Format) -> anyhow::Result<()> {
    let report = lab.up(options, &|event| eprintln!("{event}")).await?;
    if format == output::Format::Json {
        return output::print_json(&report.lab);
    }
    print_labs(std::slice::from_ref(&report.lab))?;
    output::print(&format!("inventory: {}\n", report.lab.inventory_path.display()))
}

fn list(format: output::Format) -> anyhow::Result<()> {
    let labs = lab::list()?;
    match format {
        output::Format::Json => output::print_json(&labs),
        output::Format::Text => print_labs(&labs),
    }
}

fn print_labs(labs: &[lab::LabStatus]) -> anyhow::Result<()> {
    let row = |lab: &lab::LabStatus, host: &lab::HostStatus| {
        let state = format!("{:?}", host.state).to_lowercase();
        vec![lab.name.clone(), host.name.clone(), host.address.to_string(), state]
    };
    let rows: Vec<_> = labs.iter().flat_map(|lab| lab.hosts.iter().map(move |host| row(lab, host))).collect();
    output::print(&output::table(&["LAB", "HOST", "ADDRESS", "STATE"], &rows))
}

/// Becomes ssh, so that the terminal is its own.
fn ssh(lab: &Lab, host: &str, command: &[String]) -> exit::Answer {
    use std::os::unix::process::CommandExt as _;
    let words = lab.ssh_command(host, command)?;
    let error = std::process::Command::new(&words[0]).args(&words[1..]).exec();
    Err(anyhow::Error::new(error).context("start ssh: is openssh-client installed?"))
}
