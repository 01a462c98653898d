//! What is written down about a lab, and where its files are.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, file};

/// Labs live here, one folder each.
pub(crate) const LABS: &str = "/var/lib/rkctl-lab";

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The only host.
    Single,
    /// A control-plane host.
    Controller,
    /// A host for workloads.
    Worker,
}

/// The record of a lab: `lab.json` in its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub name: String,
    /// N of 10.88.N.0/24, of the bridge `rklabN` and of the machine names.
    pub network: u8,
    pub packages: Vec<String>,
    /// Folder of the base root file system that the hosts lie over.
    pub base: PathBuf,
    pub hosts: Vec<HostRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostRecord {
    pub name: String,
    pub role: Role,
    /// Last part of the address, and of the machine's name.
    pub number: u8,
}

impl Record {
    pub(crate) fn bridge(&self) -> String {
        format!("rklab{}", self.network)
    }

    pub(crate) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 88, self.network, 1)
    }

    pub(crate) fn address(&self, host: &HostRecord) -> Ipv4Addr {
        Ipv4Addr::new(10, 88, self.network, host.number)
    }

    /// Unique on this machine, and short enough for the link that systemd-nspawn names after it.
    pub(crate) fn machine(&self, host: &HostRecord) -> String {
        format!("rk{}-h{}", self.network, host.number)
    }

    /// The host's port on the bridge.
    pub(crate) fn link(&self, host: &HostRecord) -> String {
        format!("vb-{}", self.machine(host))
    }

    pub(crate) fn host(&self, name: &str) -> Result<&HostRecord, Error> {
        self.hosts.iter().find(|host| host.name == name).ok_or_else(|| {
            let known = self.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ");
            Error::NoHost { lab: self.name.clone(), host: name.to_owned(), known }
        })
    }

    /// Adds the hosts of `names` that are not there yet, and gives every host its role.
    pub(crate) fn add_hosts(&mut self, names: &[String]) {
        for name in names {
            if self.hosts.iter().any(|host| host.name == *name) {
                continue;
            }
            let number = self.hosts.iter().map(|host| host.number).max().unwrap_or(1).saturating_add(1);
            let role = if name.starts_with("cp") { Role::Controller } else { Role::Worker };
            self.hosts.push(HostRecord { name: name.clone(), role, number });
        }
        if let [only] = self.hosts.as_mut_slice() {
            only.role = Role::Single;
        } else if !self.hosts.iter().any(|host| host.role == Role::Controller)
            && let Some(first) = self.hosts.first_mut()
        {
            first.role = Role::Controller;
        }
    }

    /// Reads the record in `folder`; `None` when there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join("lab.json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|source| Error::Record { path, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(file("reading", path)(source)),
        }
    }

    /// Writes the record into `folder`, whole or not at all.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join("lab.json");
        let new = folder.join("lab.json.new");
        let text = serde_json::to_vec_pretty(self).map_err(|source| Error::Record { path: path.clone(), source })?;
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).map_err(file("writing", path))
    }
}

/// Records of all labs on this machine.
pub(crate) fn all() -> Result<Vec<Record>, Error> {
    let entries = match fs::read_dir(LABS) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(file("reading", LABS)(source)),
    };
    let mut records = Vec::new();
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        records.extend(Record::read(&entry.path())?);
    }
    records.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(records)
}

/// Where a lab's files are.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub folder: PathBuf,
}

impl Paths {
    pub(crate) fn of(lab: &str) -> Self {
        Self { folder: Path::new(LABS).join(lab) }
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("id_ed25519")
    }

    pub(crate) fn inventory(&self) -> PathBuf {
        self.folder.join("inventory.yaml")
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    pub(crate) fn ssh_config(&self) -> PathBuf {
        self.folder.join("ssh_config")
    }

    pub(crate) fn host(&self, host: &str) -> PathBuf {
        self.folder.join("hosts").join(host)
    }
}

/// Whether a host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    /// It runs and is on the network.
    Running,
    /// It runs and is cut off from the network.
    Cut,
    /// It does not run.
    Stopped,
}

/// A host as `list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// Its name, and its host name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether it runs.
    pub state: HostState,
    /// Process id of its init on this machine while it runs.
    pub pid: Option<i32>,
}

/// A lab as `list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabStatus {
    /// Its name.
    pub name: String,
    /// Its network.
    pub network: ipnet::Ipv4Net,
    /// The bridge its hosts are on.
    pub bridge: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The inventory of its hosts.
    pub inventory_path: PathBuf,
    /// The private key that lets into its hosts as root.
    pub key_path: PathBuf,
    /// The keys of its hosts, for ssh.
    pub known_hosts_path: PathBuf,
    /// Its hosts.
    pub hosts: Vec<HostStatus>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(names: &[&str]) -> Record {
        let mut record = Record {
            name: "x".into(),
            network: 7,
            packages: vec![],
            base: "/b".into(),
            hosts: vec![],
            exports: vec![],
        };
        record.add_hosts(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        record
    }

    #[test]
    fn roles_follow_from_names_and_numbers() {
        let roles = |names: &[&str]| record(names).hosts.iter().map(|host| host.role).collect::<Vec<_>>();
        assert_eq!(roles(&["cp1", "w1", "w2"]), [Role::Controller, Role::Worker, Role::Worker]);
        assert_eq!(roles(&["anything"]), [Role::Single]);
        assert_eq!(roles(&["a", "b"]), [Role::Controller, Role::Worker]);
        assert_eq!(roles(&["w1", "cp1"]), [Role::Worker, Role::Controller]);
    }

    #[test]
    fn added_hosts_leave_the_others_their_addresses() {
        let mut record = record(&["cp1", "w1"]);
        record.add_hosts(&["w1".into(), "w2".into()]);
        let addresses: Vec<String> = record.hosts.iter().map(|host| record.address(host).to_string()).collect();
        assert_eq!(addresses, ["10.88.7.2", "10.88.7.3", "10.88.7.4"]);
    }

    #[test]
    fn links_fit_into_the_kernels_limit_of_names() {
        let mut record = record(&["w1"]);
        record.network = 255;
        record.hosts[0].number = 255;
        assert!(record.link(&record.hosts[0]).len() <= 15);
    }
}
