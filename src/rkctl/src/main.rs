//! rkctl: one program with many faces. `rkctl …` is the operator's; `rkctl node …` is what runs on hosts and in pods.
//!
//! Here is the choice of the face and nothing else. What a command does is in `commands/`, one file each; what is
//! behind it is in the crates.

use std::process::ExitCode;

mod access;
mod addons;
/// What a write costs is to a quarter the making and freeing of small values (docs/decisions/0013).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod cli;
mod commands;
mod config;
mod exit;
mod loopback;
mod notify;
mod output;
mod pause;
mod progress;
mod release;
mod runtime;

fn main() -> ExitCode {
    let args: Vec<std::ffi::OsString> = std::env::args_os().collect();
    // Three faces are started once for every pod: they go past everything that costs time or memory.
    if args.len() == 3 && args[1] == "node" && args[2] == "pause" {
        return pause::run();
    }
    if args.first().is_some_and(|name| commands::node::cni::is_plugin_name(name)) {
        return commands::node::cni::run_as_plugin();
    }
    if args.first().is_some_and(|name| loopback::is_plugin_name(name)) {
        return loopback::run();
    }
    cli::run(args)
}
