//! `rkctl completion`

use clap::CommandFactory as _;

use crate::{exit, output};

/// Print the completion script of a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rkctl completion bash > /etc/bash_completion.d/rkctl")]
pub struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

pub fn run(args: Args) -> exit::Answer {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::cli::Cli::command(), "rkctl", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(exit::DONE)
}
