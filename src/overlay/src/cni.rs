//! The CNI plugin: `rkctl node cni`, called by the container runtime for each sandbox.
//!
//! Bridge, host-local addresses and host ports in one plugin. Reads its request from the environment and standard
//! input and answers on standard output, as the CNI specification 1.1 says. Synchronous and short-lived.

mod hostports;
mod leases;
mod protocol;
mod sandbox;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

pub use hostports::TABLE as HOSTPORTS_TABLE;
use protocol::{Command, Failure, Request};

/// The largest configuration that is read, in bytes; the runtime's are below 4 KiB.
const MAX_INPUT_BYTES: u64 = 1 << 20;

/// Carries out the request in the environment and on standard input. The exit code is 0, or 1 with an error object
/// on standard output.
pub fn main() -> ExitCode {
    let mut input = String::new();
    let read = std::io::stdin().take(MAX_INPUT_BYTES).read_to_string(&mut input);
    let answer = match read {
        Ok(_) => call(|name| std::env::var(name).ok(), &input),
        Err(error) => Err(Failure::io("reading the configuration on standard input", &error).to_json()),
    };
    match answer {
        Ok(text) => {
            if !text.is_empty() {
                println!("{text}");
            }
            ExitCode::SUCCESS
        }
        Err(object) => {
            println!("{object}");
            ExitCode::FAILURE
        }
    }
}

/// One call of the plugin in the network namespace of this thread: the environment through `variable`, the
/// configuration as `input`. Answers what goes to standard output; an error object where the call failed.
/// Must not be called within a tokio runtime.
///
/// # Errors
/// The error object of the CNI specification, as JSON.
pub fn call(variable: impl Fn(&str) -> Option<String>, input: &str) -> Result<String, String> {
    Request::parse(variable, input).and_then(|request| answer(&request)).map_err(|failure| failure.to_json())
}

/// Frees the addresses of sandboxes whose network namespace is gone, and their host ports: after a reboot the runtime
/// does not always ask for their removal. Failures are logged; the addresses stay taken then.
/// Must not be called on a thread of a tokio runtime.
pub fn forget_vanished_sandboxes(data_dir: &Path) {
    let forget = || {
        let leases = leases::Leases::open(data_dir)?;
        let freed = leases.free_vanished()?;
        if freed.iter().any(|lease| !lease.ports.is_empty()) {
            sandbox::write_host_ports(&leases, |_| true)?;
        }
        Ok::<_, Failure>(freed.len())
    };
    match forget() {
        Ok(0) => {}
        Ok(freed) => tracing::info!(freed, "freed the addresses of sandboxes that are gone"),
        Err(failure) => tracing::warn!(error = %failure.message, "free the addresses of sandboxes that are gone"),
    }
}

/// Puts the host ports of this host's pods back where somebody removed their table. Failures are logged.
/// Must not be called on a thread of a tokio runtime.
pub fn restore_host_ports(data_dir: &Path) {
    if let Err(failure) = sandbox::restore_host_ports(data_dir) {
        tracing::warn!(error = %failure.message, "put the host ports of pods back");
    }
}

/// Why a call of the plugin is refused before anything is done, as JSON; the sandbox, the interface and how many host
/// ports it is about otherwise.
///
/// # Errors
/// As [`call`].
pub fn check(variable: impl Fn(&str) -> Option<String>, input: &str) -> Result<(String, String, usize), String> {
    let request = Request::parse(variable, input).map_err(|failure| failure.to_json())?;
    let ports = request.port_mappings().len();
    Ok((request.container_id, request.ifname, ports))
}

fn answer(request: &Request) -> Result<String, Failure> {
    match request.command {
        Command::Version => Ok(protocol::version_answer()),
        Command::Add => sandbox::add(request),
        Command::Del => sandbox::del(request).map(|()| String::new()),
        Command::Check => sandbox::check(request).map(|()| String::new()),
        Command::Status => Ok(String::new()),
        Command::Gc => sandbox::gc(request).map(|()| String::new()),
    }
}
