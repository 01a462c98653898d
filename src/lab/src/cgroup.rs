//! Control groups of hosts: each host has its own in every hierarchy, so that its figures and its pods' groups
//! are apart from those of others, and so that everything that runs in it can be found and ended.
//!
//! A process of a host is known by its group and by nothing else: no process id is ever remembered and reused.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::error::{Error, file};

/// Folder of all labs in each hierarchy.
const TOP: &str = "rkctl-lab";

/// Of the processor, for all labs together: twenty times a process's.
const V1_SHARES: &str = "20480";
/// The same as version 2 counts it, where a process has 100.
const V2_WEIGHT: &str = "2000";

/// Processes in uninterruptible sleep need a moment to see SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Mount points of the hierarchies: one for each v1 controller, one for v2.
pub(crate) fn hierarchies() -> Result<Vec<PathBuf>, Error> {
    let path = "/proc/self/mountinfo";
    let text = fs::read_to_string(path).map_err(file("reading", path))?;
    let found = parse(&text);
    if found.is_empty() { Err(Error::NoCgroups) } else { Ok(found) }
}

/// proc(5): the fifth word is the mount point, the first after ` - ` the kind of file system.
fn parse(mountinfo: &str) -> Vec<PathBuf> {
    let mount = |line: &str| {
        let (head, tail) = line.split_once(" - ")?;
        let point = head.split(' ').nth(4)?;
        let kind = tail.split(' ').next()?;
        (kind.starts_with("cgroup") && point.starts_with("/sys/fs/cgroup")).then(|| PathBuf::from(point))
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// The groups of one host, or of a whole lab.
pub(crate) struct Groups {
    what: String,
    folders: Vec<PathBuf>,
}

impl Groups {
    /// The groups that become the root groups of the host.
    pub(crate) fn of_host(lab: &str, host: &str) -> Result<Self, Error> {
        Self::named(lab, host, format!("host {host}"))
    }

    /// The groups of what keeps the host running, beside the host's own: with v2, processes and groups that
    /// have controllers may not be in one group.
    pub(crate) fn of_supervisor(lab: &str, host: &str) -> Result<Self, Error> {
        Self::named(lab, &format!("{host}.supervisor"), format!("the supervisor of {host}"))
    }

    fn named(lab: &str, name: &str, what: String) -> Result<Self, Error> {
        let folders = hierarchies()?.into_iter().map(|top| top.join(TOP).join(lab).join(name)).collect();
        Ok(Self { what, folders })
    }

    /// Everything of a lab.
    pub(crate) fn of_lab(lab: &str) -> Result<Self, Error> {
        let folders = hierarchies()?.into_iter().map(|top| top.join(TOP).join(lab)).collect();
        Ok(Self { what: format!("lab {lab}"), folders })
    }

    /// The group in each hierarchy, separated by spaces: none of the paths has one.
    pub(crate) fn joined(&self) -> String {
        self.folders.iter().map(|folder| folder.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Makes the groups.
    pub(crate) fn create(&self) -> Result<(), Error> {
        for folder in &self.folders {
            let Some(top) = folder.ancestors().nth(3) else { continue };
            let mut here = top.to_owned();
            for part in folder.strip_prefix(top).into_iter().flatten() {
                delegate(&here);
                here.push(part);
                if !here.is_dir() {
                    fs::create_dir(&here).map_err(file("making", &here))?;
                }
                inherit_cpuset(&here);
                if part == TOP {
                    weigh(&here);
                }
            }
        }
        Ok(())
    }

    /// Every process in the groups and those below.
    pub(crate) fn processes(&self) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        for folder in &self.folders {
            collect(folder, &mut found);
        }
        found
    }

    /// Ends every process in the groups with SIGKILL and waits until they are gone.
    pub(crate) async fn kill(&self) -> Result<(), Error> {
        let deadline = Instant::now() + KILL_TIMEOUT;
        loop {
            for folder in &self.folders {
                // v2, Linux 5.14: the whole tree at once, forks in flight included.
                if folder.join("cgroup.kill").exists() {
                    let _older = fs::write(folder.join("cgroup.kill"), "1");
                }
            }
            let processes = self.processes();
            if processes.is_empty() {
                return Ok(());
            }
            for process in &processes {
                // It may have ended in between.
                let _gone = kill(Pid::from_raw(*process), Signal::SIGKILL);
            }
            if Instant::now() > deadline {
                return Err(Error::StillRunning { what: self.what.clone(), count: processes.len() });
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Removes the groups and those below; the folder of all labs too when it is the last.
    pub(crate) async fn remove(&self) -> Result<(), Error> {
        let deadline = Instant::now() + KILL_TIMEOUT;
        for folder in &self.folders {
            // A group stays busy for a moment after its last process.
            loop {
                match remove_tree(folder) {
                    Ok(()) => break,
                    Err(error) if Instant::now() > deadline => return Err(file("removing", folder)(error)),
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
            }
            if let Some(top) = folder.ancestors().find(|path| path.ends_with(TOP)) {
                // Another lab may be in it.
                let _used = fs::remove_dir(top);
            }
        }
        Ok(())
    }
}

/// v2: lets groups below have the controllers that this one has. v1 has no such file.
fn delegate(folder: &Path) {
    if let Ok(controllers) = fs::read_to_string(folder.join("cgroup.controllers")) {
        for controller in controllers.split_whitespace() {
            // Those that cannot be delegated here are missing below, as they would be on such a machine.
            let _refused = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
}

/// Hosts are machines: beside a compiler with ten processes a lab must not get the share of one process.
fn weigh(folder: &Path) {
    for (name, weight) in [("cpu.shares", V1_SHARES), ("cpu.weight", V2_WEIGHT)] {
        if folder.join(name).exists() {
            let _refused = fs::write(folder.join(name), weight);
        }
    }
}

/// v1: a new cpuset is empty, and nothing can enter it until it has processors and memory.
fn inherit_cpuset(folder: &Path) {
    let Some(parent) = folder.parent() else { return };
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let own = fs::read_to_string(folder.join(name)).unwrap_or_default();
        if own.trim().is_empty()
            && let Ok(value) = fs::read(parent.join(name))
            && folder.join("cgroup.clone_children").exists()
        {
            let _refused = fs::write(folder.join(name), value);
        }
    }
}

fn collect(folder: &Path, found: &mut BTreeSet<i32>) {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    // 0 stands for a process that this process cannot see.
    found.extend(text.lines().filter_map(|line| line.parse().ok()).filter(|id: &i32| *id > 0));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
}

fn remove_tree(folder: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_on_v1_hybrid_and_v2() {
        let hybrid = "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      31 30 0:27 / /sys/fs/cgroup/pids rw,nosuid shared:9 - cgroup cgroup rw,pids\n\
                      32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      33 30 0:29 / /other rw - cgroup cgroup rw,cpu\n";
        assert_eq!(parse(hybrid), [Path::new("/sys/fs/cgroup/pids"), Path::new("/sys/fs/cgroup/unified")]);
        let unified = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(parse(unified), [Path::new("/sys/fs/cgroup")]);
    }
}
