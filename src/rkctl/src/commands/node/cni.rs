//! `rkctl node cni`, and the same face under the name of a CNI plugin.

use std::ffi::OsStr;
use std::process::ExitCode;

use crate::exit;

/// Act as the CNI plugin: the request comes in the environment and on standard input.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Whether the program was called by the name of the plugin: the runtime calls `/opt/cni/bin/rkctl-cni`.
pub fn is_plugin_name(name: &OsStr) -> bool {
    std::path::Path::new(name).file_name().is_some_and(|name| name == "rkctl-cni")
}

/// Runs the plugin.
pub fn run_as_plugin() -> ExitCode {
    overlay::cni::main()
}

pub fn run(_args: Args) -> exit::Answer {
    // The specification knows success and failure only; the answer is on standard output already.
    let failed = overlay::cni::main() != ExitCode::SUCCESS;
    Ok(if failed { exit::FAILED } else { exit::DONE })
}
