//! Where a cluster's hosts come from: a lab on this machine, or a virtual machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use testkit::kubectl::Ran;

/// Hosts that run, as root of theirs sees them.
pub trait Hosts: Send + Sync {
    /// Runs a script on a host as root, with `input` on its standard input.
    fn ssh(&self, host: &str, script: &str, input: &[u8]) -> Ran;

    /// `reboot`, `cut`, `heal` or `kill` of a host; what cannot be done is a mistake of the drill.
    #[track_caller]
    fn verb(&self, verb: &str, host: &str);

    /// Starts the hosts that were killed.
    #[track_caller]
    fn start(&self);
}

/// How hosts are reached.
#[derive(Debug, Clone)]
pub struct Status {
    /// By the names of hosts.
    pub addresses: BTreeMap<String, String>,
    /// This machine, as they reach it.
    pub gateway: String,
    /// The bridge or link that they are on.
    pub link: String,
    /// The private key that lets in as root.
    pub key: PathBuf,
    /// The hosts' own keys.
    pub known_hosts: PathBuf,
}
