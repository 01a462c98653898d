//! What can go wrong with a lab, each with what to do about it.

use std::path::PathBuf;

use crate::prerequisites::Missing;

/// A failure to make, change or remove a lab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a lab needs root: run it with sudo")]
    NotRoot,
    #[error("a lab needs {}: apt-get install {}", tools(.0), packages(.0))]
    MissingTools(Vec<Missing>),
    #[error("a lab needs an identity of this machine in /etc/machine-id: systemd-machine-id-setup")]
    NoMachineId,
    #[error(
        "`{name}` cannot name a {what}: lower-case letters, digits and dashes, beginning with a letter, at most {limit} characters"
    )]
    BadName { what: &'static str, name: String, limit: usize },
    #[error("`{package}` is not the name of a Debian package")]
    BadPackage { package: String },
    #[error("a lab takes at most {limit} hosts")]
    TooManyHosts { limit: usize },
    #[error("host {name} is named twice")]
    HostTwice { name: String },
    #[error("there is no lab {name}: make it with `rkctl lab up --name {name}`")]
    NoLab { name: String },
    #[error("lab {lab} has no host {host}; it has {known}")]
    NoHost { lab: String, host: String, known: String },
    #[error("host {host} of lab {lab} is not running: start it with `rkctl lab up --name {lab}`")]
    NotRunning { lab: String, host: String },
    #[error(
        "lab {lab} has the base packages it was made with; other packages need a new lab: `rkctl lab down --name {lab}` first"
    )]
    OtherPackages { lab: String },
    #[error("network 10.88.{index}.0/24 is taken by {by}")]
    NetworkTaken { index: u8, by: String },
    #[error("every network from 10.88.0.0/24 to 10.88.255.0/24 is taken")]
    NoNetworkFree,
    #[error("`{command}` failed: {stderr}")]
    Tool { command: String, stderr: String },
    #[error("`{command}` could not be started")]
    ToolStart {
        command: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{doing} {path}", path = path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is not a lab's record", path = path.display())]
    Record {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("the base could not be built; the log is {log}: {stderr}", log = log.display())]
    Base { log: PathBuf, stderr: String },
    #[error("host {host} did not {what} within {timeout_s} s; its console: {console}")]
    Host { host: String, what: &'static str, timeout_s: u64, console: String },
    #[error("host {host} ended while it started; its console: {console}")]
    Ended { host: String, console: String },
    #[error("control groups are not mounted below /sys/fs/cgroup")]
    NoCgroups,
    #[error("{count} processes of {what} are still there after SIGKILL")]
    StillRunning { what: String, count: usize },
    #[error("inventory of lab {lab}")]
    Inventory {
        lab: String,
        #[source]
        source: serde_yaml::ser::Error,
    },
}

impl Error {
    /// Whether what was asked for names something that cannot be, or is not there: nothing was begun.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::BadName { .. }
                | Self::BadPackage { .. }
                | Self::TooManyHosts { .. }
                | Self::HostTwice { .. }
                | Self::NoLab { .. }
                | Self::NoHost { .. }
        )
    }
}

fn tools(missing: &[Missing]) -> String {
    missing.iter().map(|tool| tool.tool).collect::<Vec<_>>().join(", ")
}

fn packages(missing: &[Missing]) -> String {
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages.join(" ")
}

/// Names the file and what was being done to it.
pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { doing, path, source }
}
