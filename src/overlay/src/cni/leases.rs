//! Which pod has which address: one file an address, under a lock.
//!
//! A crash at any point leaves at worst an address that is taken by a sandbox that is gone; it is freed by its `DEL`,
//! by `GC`, or when the agent starts.

use std::fs::{File, OpenOptions};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::protocol::{Failure, PortMapping};

/// What is kept of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The sandbox.
    pub container_id: String,
    /// The interface in it.
    pub ifname: String,
    /// Its network namespace.
    pub netns: PathBuf,
    /// Its host ports.
    #[serde(default)]
    pub ports: Vec<PortMapping>,
}

/// The leases of this host, locked against other calls of the plugin while this value lives.
pub struct Leases {
    folder: PathBuf,
    _lock: Flock<File>,
}

impl Leases {
    /// Opens the folder and waits for the lock.
    pub fn open(data_dir: &Path) -> Result<Self, Failure> {
        let folder = data_dir.join("leases");
        std::fs::create_dir_all(&folder).map_err(|error| Failure::io("making the folder of leases", &error))?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(data_dir.join("lock"))
            .map_err(|error| Failure::io("opening the lock of leases", &error))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| Failure::io("waiting for the lock of leases", &errno.into()))?;
        Ok(Self { folder, _lock: lock })
    }

    /// The address of a sandbox's interface; the one it has, or the next free one of `cidr` behind the last given.
    ///
    /// An address that was just freed is given again last, so that a peer's stale connection finds nobody.
    pub fn take(&self, cidr: Ipv4Net, lease: &Lease) -> Result<Ipv4Addr, Failure> {
        let taken = self.all()?;
        let mine = |other: &Lease| other.container_id == lease.container_id && other.ifname == lease.ifname;
        if let Some((address, _)) = taken.iter().find(|(address, other)| mine(other) && cidr.contains(address)) {
            self.write(*address, lease)?;
            return Ok(*address);
        }
        let last = std::fs::read_to_string(self.last_path()).ok().and_then(|text| text.trim().parse().ok());
        let is_free = |address: &Ipv4Addr| !taken.iter().any(|(other, _)| other == address);
        let Some(address) = candidates(cidr, last).find(is_free) else {
            let detail = format!("all {} addresses of {cidr} are taken", taken.len());
            return Err(Failure::new(101, detail));
        };
        self.write(address, lease)?;
        std::fs::write(self.last_path(), address.to_string())
            .map_err(|error| Failure::io("keeping the last address", &error))?;
        Ok(address)
    }

    /// Every lease there is. A file that cannot be read counts as taken by nobody known.
    pub fn all(&self) -> Result<Vec<(Ipv4Addr, Lease)>, Failure> {
        let entries = std::fs::read_dir(&self.folder).map_err(|error| Failure::io("listing leases", &error))?;
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| Failure::io("listing leases", &error))?;
            let Some(address) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let lease = std::fs::read(entry.path()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let unknown =
                Lease { container_id: String::new(), ifname: String::new(), netns: PathBuf::new(), ports: vec![] };
            found.push((address, lease.unwrap_or(unknown)));
        }
        found.sort_by_key(|(address, _)| *address);
        Ok(found)
    }

    /// Frees an address.
    pub fn free(&self, address: Ipv4Addr) -> Result<(), Failure> {
        match std::fs::remove_file(self.folder.join(address.to_string())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::io("freeing an address", &error))
            }
            _ => Ok(()),
        }
    }

    /// Frees the addresses of sandboxes whose namespace is gone; answers whose they were.
    pub fn free_vanished(&self) -> Result<Vec<Lease>, Failure> {
        let mut freed = Vec::new();
        for (address, lease) in self.all()? {
            if !lease.netns.exists() {
                self.free(address)?;
                freed.push(lease);
            }
        }
        Ok(freed)
    }

    fn write(&self, address: Ipv4Addr, lease: &Lease) -> Result<(), Failure> {
        let temporary = self.folder.join(format!("{address}.new"));
        let text = serde_json::to_vec(lease).map_err(|error| Failure::new(5, error.to_string()))?;
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, self.folder.join(address.to_string())))
            .map_err(|error| Failure::io("writing a lease", &error))
    }

    fn last_path(&self) -> PathBuf {
        self.folder.join("last")
    }
}

/// The addresses pods may have, beginning behind `last`: all of `cidr` but the network address (the tunnel), the
/// first (the gateway) and the broadcast address.
fn candidates(cidr: Ipv4Net, last: Option<Ipv4Addr>) -> impl Iterator<Item = Ipv4Addr> {
    let first = cidr.network().to_bits() + 2;
    let end = cidr.broadcast().to_bits();
    let start = last.map_or(first, |last| last.to_bits() + 1).clamp(first, end.max(first));
    (start..end).chain(first..start).map(Ipv4Addr::from_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(id: &str) -> Lease {
        Lease { container_id: id.into(), ifname: "eth0".into(), netns: "/nowhere".into(), ports: vec![] }
    }

    #[test]
    fn addresses_are_unique_stable_and_reused_last() {
        let folder = tempfile::tempdir().unwrap();
        let leases = Leases::open(folder.path()).unwrap();
        let cidr: Ipv4Net = "10.42.1.0/29".parse().unwrap();
        let given: Vec<_> = ["a", "b", "c"].map(|id| leases.take(cidr, &lease(id)).unwrap().to_string()).into();
        assert_eq!(given, ["10.42.1.2", "10.42.1.3", "10.42.1.4"]);
        assert_eq!(leases.take(cidr, &lease("b")).unwrap().to_string(), "10.42.1.3", "asked twice, the same answer");
        leases.free("10.42.1.2".parse().unwrap()).unwrap();
        assert_eq!(leases.take(cidr, &lease("d")).unwrap().to_string(), "10.42.1.5");
        assert_eq!(leases.take(cidr, &lease("e")).unwrap().to_string(), "10.42.1.6");
        assert_eq!(leases.take(cidr, &lease("f")).unwrap().to_string(), "10.42.1.2");
        let full = leases.take(cidr, &lease("g")).unwrap_err();
        assert!(full.message.contains("all 5 addresses of 10.42.1.0/29 are taken"), "{}", full.message);
    }

    #[test]
    fn leases_of_namespaces_that_are_gone_are_freed() {
        let folder = tempfile::tempdir().unwrap();
        let leases = Leases::open(folder.path()).unwrap();
        let cidr: Ipv4Net = "10.42.1.0/24".parse().unwrap();
        leases.take(cidr, &lease("gone")).unwrap();
        let alive = Lease { netns: folder.path().into(), ..lease("alive") };
        leases.take(cidr, &alive).unwrap();
        assert_eq!(leases.free_vanished().unwrap().len(), 1);
        assert_eq!(leases.all().unwrap().len(), 1);
    }
}
