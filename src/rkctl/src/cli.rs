//! The command line: names, options and help of every command.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{commands, exit};

/// Turns bare Linux hosts into a Kubernetes cluster and keeps both equal to a Git repository.
#[derive(Debug, Parser)]
#[command(name = "rkctl", version, propagate_version = false, after_help = exit::HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(commands::up::Args),
    Plan(commands::plan::Args),
    Status(commands::status::Args),
    Reset(commands::reset::Args),
    Kubeconfig(commands::kubeconfig::Args),
    Lab(commands::lab::Args),
    Gitops(commands::gitops::Args),
    Schema(commands::schema::Args),
    Completion(commands::completion::Args),
    Version(commands::version::Args),
    Node(commands::node::Args),
}

/// Reads the command line and runs the command.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let answer = match cli.command {
        Command::Up(args) => commands::up::run(args),
        Command::Plan(args) => commands::plan::run(args),
        Command::Status(args) => commands::status::run(args),
        Command::Reset(args) => commands::reset::run(args),
        Command::Kubeconfig(args) => commands::kubeconfig::run(args),
        Command::Lab(args) => commands::lab::run(args),
        Command::Gitops(args) => commands::gitops::run(args),
        Command::Schema(args) => commands::schema::run(args),
        Command::Completion(args) => commands::completion::run(args),
        Command::Version(args) => commands::version::run(args),
        Command::Node(args) => commands::node::run(args),
    };
    match answer {
        Ok(code) => code.into(),
        Err(error) => exit::tell(&error),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
