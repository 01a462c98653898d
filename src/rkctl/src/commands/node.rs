//! `rkctl node`: the faces that run on hosts and in pods, and what `rkctl up` calls on a host.

use clap::Subcommand;

use crate::exit;

pub mod addons;
pub mod agent;
mod api;
pub mod cni;
pub mod dns;
pub mod facts;
pub mod git_worker;
mod in_cluster;
pub mod ingress;
pub mod metrics;
pub mod nodes;
pub mod pki;
pub mod server;
pub mod store;
pub mod token;

/// What runs on hosts and in pods; started by `rkctl up`, not by people.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Server(server::Args),
    Store(store::Args),
    Agent(agent::Args),
    Cni(cni::Args),
    /// Hold a pod's namespaces open until a signal comes.
    Pause,
    Dns(dns::Args),
    Ingress(ingress::Args),
    Metrics(metrics::Args),
    Pki(pki::Args),
    Facts(facts::Args),
    Nodes(nodes::Args),
    Token(token::Args),
    Addons(addons::Args),
    GitWorker(git_worker::Args),
}

pub fn run(args: Args) -> exit::Answer {
    match args.command {
        Command::Server(args) => server::run(args),
        Command::Store(args) => store::run(args),
        Command::Agent(args) => agent::run(args),
        Command::Cni(args) => cni::run(args),
        Command::Pause => anyhow::bail!("`rkctl node pause` takes no arguments"),
        Command::Dns(args) => dns::run(args),
        Command::Ingress(args) => ingress::run(args),
        Command::Metrics(args) => metrics::run(args),
        Command::Pki(args) => pki::run(args),
        Command::Facts(args) => facts::run(args),
        Command::Nodes(args) => nodes::run(args),
        Command::Token(args) => token::run(args),
        Command::Addons(args) => addons::run(args),
        Command::GitWorker(args) => git_worker::run(args),
    }
}
