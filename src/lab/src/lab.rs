//! Labs as others use them: up, down, list, and what is done to hosts.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;

use crate::cgroup::Groups;
use crate::error::{Error, file};
use crate::host::{self, Host};
use crate::options::{self, DEFAULT_HOSTS, Options};
use crate::state::{self, HostStatus, LABS, LabStatus, Paths, Record};
use crate::{base, export, limits, lock, network, prerequisites, tool};

/// Hosts that start at the same time.
const PARALLEL: usize = 6;

/// A lab by its name, whether it exists or not.
#[derive(Debug, Clone)]
pub struct Lab {
    name: String,
    paths: Paths,
}

/// What `up` is doing, for someone who watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The base root file system is not there yet and is built: about half a minute.
    BuildingBase,
    /// A host is being started.
    Starting {
        /// Its name.
        host: String,
    },
    /// A host answers.
    Ready {
        /// Its name.
        host: String,
        /// Since `Starting`, in milliseconds.
        elapsed_ms: u128,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuildingBase => f.write_str("building the base file system from Debian's packages (once)"),
            Self::Starting { host } => write!(f, "{host}: starting"),
            Self::Ready { host, elapsed_ms } => write!(f, "{host}: ready after {elapsed_ms} ms"),
        }
    }
}

/// What `up` did to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was made and started.
    Created,
    /// It was there and was started.
    Started,
    /// It ran already.
    Unchanged,
}

/// What `up` did to one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostReport {
    /// Its name.
    pub name: String,
    /// What was done.
    pub outcome: Outcome,
}

/// What `up` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The lab as it is now.
    pub lab: LabStatus,
    /// What was done, host by host.
    pub hosts: Vec<HostReport>,
}

/// Every lab of this machine.
pub fn list() -> Result<Vec<LabStatus>, Error> {
    state::all()?.iter().map(|record| status(record, &Paths::of(&record.name))).collect()
}

fn status(record: &Record, paths: &Paths) -> Result<LabStatus, Error> {
    let hosts = record.hosts.iter().map(|host| Host::new(record, host).status()).collect::<Result<_, _>>()?;
    Ok(LabStatus {
        name: record.name.clone(),
        network: ipnet::Ipv4Net::new_assert(record.gateway(), 24).trunc(),
        bridge: record.bridge(),
        folder: paths.folder.clone(),
        inventory_path: paths.inventory(),
        key_path: paths.key(),
        known_hosts_path: paths.known_hosts(),
        hosts,
    })
}

impl Lab {
    /// The lab called `name` ([`options::DEFAULT_LAB`] where nobody says otherwise).
    pub fn named(name: &str) -> Result<Self, Error> {
        options::check_lab_name(name)?;
        Ok(Self { name: name.to_owned(), paths: Paths::of(name) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn record(&self) -> Result<Record, Error> {
        Record::read(&self.paths.folder)?.ok_or_else(|| Error::NoLab { name: self.name.clone() })
    }

    /// The lab and its hosts as they are.
    pub fn status(&self) -> Result<LabStatus, Error> {
        status(&self.record()?, &self.paths)
    }

    /// One host as it is.
    pub fn host(&self, name: &str) -> Result<HostStatus, Error> {
        let record = self.record()?;
        Host::new(&record, record.host(name)?).status()
    }

    /// Makes the lab, or what is missing of it: hosts that do not run are started, new ones added. Answers when
    /// every host's sshd answers.
    pub async fn up(&self, wanted: &Options, on_event: &(dyn Fn(Event) + Sync)) -> Result<Report, Error> {
        prerequisites::check()?;
        wanted.check()?;
        let record = self.ensure_record(wanted, on_event).await?;
        let _held = lock::hold(&self.paths.folder).await?;
        if Record::read(&self.paths.folder)?.is_none() {
            // A `down` came in between.
            record.write(&self.paths.folder)?;
        }
        limits::raise();
        network::ensure(&record).await?;
        let key = export::ensure_key(&self.paths, &self.name).await?;
        let results: Vec<(HostReport, export::Identity)> = stream::iter(&record.hosts)
            .map(|host| bring_up(Host::new(&record, host), &key, on_event))
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        let (hosts, identities): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        export::write(&self.paths, &record, &identities, &record.exports)?;
        Ok(Report { lab: status(&record, &self.paths)?, hosts })
    }

    /// Reads or makes the lab's record, which is what claims its network.
    async fn ensure_record(&self, wanted: &Options, on_event: &(dyn Fn(Event) + Sync)) -> Result<Record, Error> {
        let before = Record::read(&self.paths.folder)?;
        let packages = match &before {
            Some(record) if wanted.packages.is_empty() => record.packages.clone(),
            _ => wanted.packages.clone(),
        };
        let base = base::ensure(&packages, || on_event(Event::BuildingBase)).await?;
        let _all = lock::hold(Path::new(LABS)).await?;
        let mut record = match Record::read(&self.paths.folder)? {
            // A base of the same packages may be newer than the one that the lab's hosts lie over.
            Some(record) if record.base != base && (!wanted.packages.is_empty() || !record.base.is_dir()) => {
                return Err(Error::OtherPackages { lab: self.name.clone() });
            }
            Some(record) => match wanted.network {
                Some(index) if index != record.network => {
                    let by = format!("another one: lab {} has 10.88.{}.0/24 and keeps it", self.name, record.network);
                    return Err(Error::NetworkTaken { index, by });
                }
                _ => record,
            },
            None => Record {
                name: self.name.clone(),
                network: network::choose(wanted.network, &state::all()?).await?,
                packages,
                base,
                hosts: Vec::new(),
                exports: Vec::new(),
            },
        };
        let defaults = DEFAULT_HOSTS.map(str::to_owned);
        let hosts = if wanted.hosts.is_empty() && record.hosts.is_empty() { &defaults[..] } else { &wanted.hosts };
        record.add_hosts(hosts);
        if let Some(folder) = &wanted.export {
            let folder = std::path::absolute(folder).map_err(file("finding", folder))?;
            if !record.exports.contains(&folder) {
                record.exports.push(folder);
            }
        }
        fs::create_dir_all(&self.paths.folder).map_err(file("making", &self.paths.folder))?;
        // There is a private key in it, and the hosts' root file systems.
        fs::set_permissions(&self.paths.folder, fs::Permissions::from_mode(0o700))
            .map_err(file("making", &self.paths.folder))?;
        record.write(&self.paths.folder)?;
        Ok(record)
    }

    /// Removes the lab with everything in it. Answers whether there was one.
    pub async fn down(&self) -> Result<bool, Error> {
        prerequisites::check()?;
        if !self.paths.folder.exists() {
            return Ok(false);
        }
        let _held = lock::hold(&self.paths.folder).await?;
        let record = Record::read(&self.paths.folder)?;
        let groups = Groups::of_lab(&self.name)?;
        groups.kill().await?;
        if let Some(record) = &record {
            for host in &record.hosts {
                Host::new(record, host).files.unmount(&record.machine(host)).await?;
            }
            network::remove(record).await?;
            export::remove(&record.exports);
        }
        groups.remove().await?;
        let folder = self.paths.folder.clone();
        let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(folder)).await;
        removed.map_err(std::io::Error::other).flatten().map_err(file("removing", &self.paths.folder))?;
        let _all = lock::hold(Path::new(LABS)).await?;
        if state::all()?.is_empty() {
            limits::restore();
            // Something that is no lab may be in it.
            let _used = fs::remove_dir(LABS);
        }
        Ok(true)
    }

    /// Restarts a host from within: systemd stops everything, and starts again with the same address and files.
    /// Answers when its sshd answers again (or, while it is cut off, when its init is another).
    pub async fn reboot(&self, host: &str) -> Result<(), Error> {
        let record = self.record()?;
        Host::new(&record, record.host(host)?).reboot().await
    }

    /// Ends a host as a power failure does; `up` starts it again with the files it had.
    pub async fn kill(&self, host: &str) -> Result<(), Error> {
        let record = self.record()?;
        let host = Host::new(&record, record.host(host)?);
        if !host.is_running()? {
            return Err(Error::NotRunning { lab: self.name.clone(), host: host.record.name.clone() });
        }
        host.kill().await
    }

    /// Cuts a host off: nothing passes between it and the others or this machine, while it keeps its link and
    /// address. It stays so through reboots until [`Lab::heal`].
    pub async fn cut(&self, host: &str) -> Result<(), Error> {
        let record = self.record()?;
        Host::new(&record, record.host(host)?).cut().await
    }

    /// Puts a host back on the network.
    pub async fn heal(&self, host: &str) -> Result<(), Error> {
        let record = self.record()?;
        Host::new(&record, record.host(host)?).heal().await
    }

    /// Runs a program on a host as root without the network, so that it works on hosts that are cut off or whose
    /// sshd is broken. Answers its standard output.
    pub async fn exec(&self, host: &str, program: &[&str]) -> Result<String, Error> {
        let record = self.record()?;
        let host = record.host(host)?;
        let Some(init) = Host::new(&record, host).init()? else {
            return Err(Error::NotRunning { lab: self.name.clone(), host: host.name.clone() });
        };
        let init = init.to_string();
        let enter = ["nsenter", "--all", "--target", &init, "--"];
        tool::run(&[&enter[..], program].concat()).await
    }

    /// The `ssh` command line to a host, with `remote` (if any) to run there.
    pub fn ssh_command(&self, host: &str, remote: &[String]) -> Result<Vec<String>, Error> {
        let record = self.record()?;
        let name = record.host(host)?.name.clone();
        let mut words = vec!["ssh".to_owned(), "-F".to_owned(), self.paths.ssh_config().display().to_string(), name];
        words.extend(remote.iter().cloned());
        Ok(words)
    }

    /// What the lab holds of this machine, for those who check that `down` leaves nothing: processes, mounts,
    /// links, control groups and folders.
    pub fn traces(&self) -> Result<Vec<String>, Error> {
        let mut found: Vec<String> =
            host::processes_of_lab(&self.name)?.into_iter().map(|id| format!("process {id}")).collect();
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(file("reading", "/proc/self/mounts"))?;
        let prefix = format!("{}/", self.paths.folder.display());
        found.extend(mounts.lines().filter(|line| line.contains(&prefix)).map(|line| format!("mount {line}")));
        if let Some(record) = Record::read(&self.paths.folder)? {
            let links = record.hosts.iter().map(|host| record.link(host)).chain([record.bridge()]);
            found.extend(
                links.filter(|link| Path::new("/sys/class/net").join(link).exists()).map(|link| format!("link {link}")),
            );
        }
        let groups = crate::cgroup::hierarchies()?.into_iter().map(|top| top.join("rkctl-lab").join(&self.name));
        let folders = groups.chain([self.paths.folder.clone()]);
        found.extend(
            folders.filter(|folder| folder.exists()).map(|folder: PathBuf| format!("folder {}", folder.display())),
        );
        Ok(found)
    }
}

/// Makes and starts one host.
async fn bring_up(
    host: Host<'_>,
    key: &str,
    on_event: &(dyn Fn(Event) + Sync),
) -> Result<(HostReport, export::Identity), Error> {
    let name = host.record.name.clone();
    let begin = Instant::now();
    let created = !host.files.folder.join("upper").exists();
    let running = host.is_running()?;
    if !running {
        on_event(Event::Starting { host: name.clone() });
        host.files.ensure(host.lab, host.record, key).await?;
    }
    let started = host.ensure_up().await?;
    let outcome = match (created, started) {
        (true, _) => Outcome::Created,
        (false, true) => Outcome::Started,
        (false, false) => Outcome::Unchanged,
    };
    if started {
        let elapsed: Duration = begin.elapsed();
        on_event(Event::Ready { host: name.clone(), elapsed_ms: elapsed.as_millis() });
    }
    let public = host.files.root().join("etc/ssh/ssh_host_ed25519_key.pub");
    let identity = export::identity(host.files.public_key()?, &public).await?;
    Ok((HostReport { name, outcome }, identity))
}
