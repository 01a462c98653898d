//! What a lab is asked to be: plain data and its checks.

use std::path::PathBuf;

use crate::error::Error;

/// Name of the lab when none is given.
pub const DEFAULT_LAB: &str = "lab";

/// Hosts of a lab when none are given.
pub const DEFAULT_HOSTS: [&str; 3] = ["cp1", "w1", "w2"];

/// Hosts have the addresses from .2 on.
const HOSTS_LIMIT: usize = 200;

/// A lab's name is part of paths.
const LAB_NAME_LIMIT: usize = 32;

/// A DNS label.
const HOST_NAME_LIMIT: usize = 63;

/// What `up` is asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Names of the hosts; empty for [`DEFAULT_HOSTS`] in a new lab and for those it has in an old one. Hosts that
    /// an old lab does not have yet are added. Names that begin with `cp` are control-plane hosts, and so is the
    /// first where none does; a lab of one host has role `single`.
    pub hosts: Vec<String>,
    /// Debian packages beyond the base ones, for all hosts of the lab.
    pub packages: Vec<String>,
    /// N of the lab's network 10.88.N.0/24; the first free one when absent.
    pub network: Option<u8>,
    /// A folder that gets the inventory, the key (`id_ed25519`, 0600), `known_hosts` and `ssh_config` too,
    /// beside the lab's own folder; removed from there again by `down`.
    pub export: Option<PathBuf>,
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.hosts.len() > HOSTS_LIMIT {
            return Err(Error::TooManyHosts { limit: HOSTS_LIMIT });
        }
        for (index, name) in self.hosts.iter().enumerate() {
            if !is_label(name, HOST_NAME_LIMIT) {
                return Err(Error::BadName { what: "host", name: name.clone(), limit: HOST_NAME_LIMIT });
            }
            if self.hosts[..index].contains(name) {
                return Err(Error::HostTwice { name: name.clone() });
            }
        }
        match self.packages.iter().find(|package| !is_package(package)) {
            Some(package) => Err(Error::BadPackage { package: package.clone() }),
            None => Ok(()),
        }
    }
}

/// A lab's name that may be part of a path.
pub(crate) fn check_lab_name(name: &str) -> Result<(), Error> {
    if is_label(name, LAB_NAME_LIMIT) {
        return Ok(());
    }
    Err(Error::BadName { what: "lab", name: name.to_owned(), limit: LAB_NAME_LIMIT })
}

fn is_label(name: &str, limit: usize) -> bool {
    name.len() <= limit
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Debian Policy 5.6.1.
fn is_package(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_or_are_no_labels_are_refused() {
        for name in ["", "..", "a/b", "A", "1a", "a-", "a b", "-a"] {
            assert!(check_lab_name(name).is_err(), "{name}");
        }
        for name in ["a", "lab", "lab-2"] {
            check_lab_name(name).unwrap();
        }
        let options = |hosts: &[&str], packages: &[&str]| Options {
            hosts: hosts.iter().map(|name| name.to_string()).collect(),
            packages: packages.iter().map(|name| name.to_string()).collect(),
            ..Options::default()
        };
        options(&["cp1", "w1"], &["ufw", "libstdc++6"]).check().unwrap();
        assert!(options(&["w1", "w1"], &[]).check().is_err());
        assert!(options(&["w1"], &["--evil"]).check().is_err());
        assert!(options(&["w1"], &["a,b"]).check().is_err());
    }
}
