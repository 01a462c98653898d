//! The base root file system: Debian's packages, unpacked once and shared by all hosts below an overlay.
//!
//! Its folder is named after a hash of what it is made from, is built under another name and renamed when it is
//! whole, so that it is either there or not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, file};
use crate::lock;
use crate::prerequisites;
use crate::state;
use crate::tool;

/// Bases live here. Nothing but them does.
const BASES: &str = "/var/cache/rkctl-lab";

/// systemd 256 and later refuse control groups v1; bookworm's 252 runs on both.
const SUITE: &str = "bookworm";

/// What every host has. Neither firewalld nor ufw: labs that need them ask for them.
const PACKAGES: [&str; 22] = [
    "busybox-static",
    "ca-certificates",
    "conntrack",
    "containerd",
    "curl",
    "dbus",
    "ethtool",
    "iproute2",
    "iptables",
    "iputils-ping",
    "kmod",
    "libpam-systemd",
    "nftables",
    "openssh-server",
    "procps",
    "runc",
    "socat",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tcpdump",
    "util-linux-extra",
];

/// Counts changes of what this module does to the tree.
const REVISION: u32 = 1;

/// The controllers are mounted read-only for a container; runc needs to write. `bind` because the same mount
/// outside stays as it is.
const CGROUPS_UNIT: &str = "\
[Unit]
Description=Make the control groups of this host writable
DefaultDependencies=no
Before=sysinit.target
ConditionPathIsDirectory=/sys/fs/cgroup

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for group in /sys/fs/cgroup/*; do if mountpoint -q \"$group\"; then mount -o remount,bind,rw \"$group\"; fi; done'

[Install]
WantedBy=sysinit.target
";

/// The base with `extra` packages, built where it is missing. `on_build` is told when that begins.
pub(crate) async fn ensure(extra: &[String], on_build: impl FnOnce()) -> Result<PathBuf, Error> {
    let packages = packages(extra);
    let folder = Path::new(BASES).join(key(&packages));
    if folder.is_dir() {
        return Ok(folder);
    }
    let _held = lock::hold(Path::new(BASES)).await?;
    if folder.is_dir() {
        return Ok(folder);
    }
    on_build();
    let building = Path::new(BASES).join("building");
    remove(&building)?;
    let log = Path::new(BASES).join("building.log");
    let list = format!("--include={}", packages.join(","));
    let target = building.to_string_lossy();
    let words = [
        "mmdebstrap",
        "--variant=minbase",
        "--mode=root",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        &list,
        SUITE,
        &target,
    ];
    if let Err(error) = tool::run(&words).await {
        let _unwritable = fs::write(&log, error.to_string());
        let Error::Tool { stderr, .. } = error else { return Err(error) };
        return Err(Error::Base { log, stderr });
    }
    finish(&building)?;
    fs::rename(&building, &folder).map_err(file("renaming", &building))?;
    let _absent = fs::remove_file(log);
    Ok(folder)
}

/// What the packages leave to be decided: no keys or identity of the machine that built it, addresses by
/// networkd, no runtime until someone configures it, no work of its own at odd hours.
fn finish(root: &Path) -> Result<(), Error> {
    let units = root.join("etc/systemd/system");
    let etc = fs::read_dir(root.join("etc/ssh")).map_err(file("reading", root.join("etc/ssh")))?;
    for entry in etc.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("ssh_host_")) {
        fs::remove_file(entry.path()).map_err(file("removing", entry.path()))?;
    }
    for gone in ["etc/machine-id", "etc/hostname", "etc/resolv.conf", "var/lib/dbus/machine-id"] {
        remove(&root.join(gone))?;
    }
    for unit in ["containerd.service", "e2scrub_reap.service"] {
        remove(&units.join("multi-user.target.wants").join(unit))?;
    }
    remove(&units.join("timers.target.wants"))?;
    let cgroups = units.join("rkctl-lab-cgroups.service");
    fs::write(&cgroups, CGROUPS_UNIT).map_err(file("writing", &cgroups))?;
    for (unit, target) in [
        ("/etc/systemd/system/rkctl-lab-cgroups.service", "sysinit.target.wants/rkctl-lab-cgroups.service"),
        ("/lib/systemd/system/systemd-networkd.service", "multi-user.target.wants/systemd-networkd.service"),
        // Neither a console to log in at nor a first start that asks questions.
        ("/dev/null", "getty.target"),
        ("/dev/null", "systemd-firstboot.service"),
        ("/dev/null", "systemd-networkd-wait-online.service"),
    ] {
        let link = units.join(target);
        remove(&link)?;
        if let Some(folder) = link.parent() {
            fs::create_dir_all(folder).map_err(file("making", folder))?;
        }
        symlink(unit, &link).map_err(file("linking", &link))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    removed.map_err(file("removing", path))
}

fn packages(extra: &[String]) -> Vec<&str> {
    let mut packages: Vec<&str> = PACKAGES.into_iter().chain(extra.iter().map(String::as_str)).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn key(packages: &[&str]) -> String {
    let text = format!("{SUITE}\n{REVISION}\n{CGROUPS_UNIT}\n{}", packages.join("\n"));
    hex::encode(&Sha256::digest(text)[..8])
}

/// Removes every base that no lab lies over, and the folder with the last one. Answers how many were removed.
pub async fn purge() -> Result<usize, Error> {
    prerequisites::check()?;
    let top = Path::new(BASES);
    if !top.exists() {
        return Ok(0);
    }
    let _held = lock::hold(top).await?;
    let used: Vec<PathBuf> = state::all()?.into_iter().map(|lab| lab.base).collect();
    let mut removed = 0;
    for entry in fs::read_dir(top).map_err(file("reading", top))?.flatten() {
        if !used.contains(&entry.path()) {
            remove(&entry.path())?;
            removed += 1;
        }
    }
    // It stays while a lab uses a base.
    let _used = fs::remove_dir(top);
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_shared_by_those_who_ask_for_the_same_packages() {
        let with = |extra: &[&str]| {
            let extra: Vec<String> = extra.iter().map(|name| name.to_string()).collect();
            key(&packages(&extra))
        };
        assert_eq!(with(&["ufw", "chrony"]), with(&["chrony", "ufw", "ufw"]));
        assert_eq!(with(&[]), with(&["containerd"]));
        assert_ne!(with(&[]), with(&["ufw"]));
    }
}
