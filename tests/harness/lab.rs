//! The lab the drills run in, through `rkctl lab`; and the proof that nothing of it is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::kubectl::Ran;

use super::hosts::{Hosts, Status};
use super::program::run;

/// Making the base from Debian's packages is the longest part, and only done once on a machine.
const UP_BOUND: Duration = Duration::from_secs(300);
/// A reboot takes some ten seconds, ending a lab about two.
const VERB_BOUND: Duration = Duration::from_secs(120);
/// Processes that were ended are gone within this.
const GONE_BOUND: Duration = Duration::from_secs(10);
/// A command on a host.
const SSH_BOUND: Duration = Duration::from_secs(120);

/// A lab: its name and the binary that makes it.
#[derive(Debug, Clone)]
pub struct Lab {
    pub rkctl: PathBuf,
    pub name: String,
}

impl Lab {
    fn lab(&self, words: &[&str], bound: Duration) -> Ran {
        run(Command::new(&self.rkctl).args(["lab", "--name", &self.name]).args(words), bound, b"")
    }

    /// Makes it, or what is missing of it, with these packages beyond those of every lab.
    pub fn up(&self, hosts: &[&str], packages: &[&str]) -> Status {
        let (hosts, packages) = (hosts.join(","), packages.join(","));
        let mut words = vec!["up", "--hosts", &hosts];
        if !packages.is_empty() {
            words.extend(["--packages", &packages]);
        }
        self.lab(&words, UP_BOUND).ok();
        self.status().unwrap_or_else(|| panic!("`rkctl lab up` has made no lab {}", self.name))
    }

    /// The lab as it is; `None` where it is not.
    pub fn status(&self) -> Option<Status> {
        let text = self.lab(&["list", "--output", "json"], VERB_BOUND).ok();
        let labs: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let lab = labs.as_array()?.iter().find(|lab| lab["name"] == self.name.as_str())?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let hosts = lab["hosts"].as_array()?.iter();
        let network = text(&lab["network"]);
        let prefix = network.rsplit_once('.').map(|(prefix, _)| prefix).unwrap_or_default();
        Some(Status {
            addresses: hosts.map(|host| (text(&host["name"]), text(&host["address"]))).collect(),
            gateway: format!("{prefix}.1"),
            link: text(&lab["bridge"]),
            key: text(&lab["keyPath"]).into(),
            known_hosts: text(&lab["knownHostsPath"]).into(),
        })
    }

    /// Removes it. Answers what is left of it nevertheless.
    pub fn down(&self, status: Option<&Status>) -> Vec<String> {
        let down = self.lab(&["down"], VERB_BOUND);
        // A process that has ended is seen until its parent has asked for it.
        let deadline = Instant::now() + GONE_BOUND;
        let mut left = self.traces(status);
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            left = self.traces(status);
        }
        if !down.status.success() {
            left.push(down.report());
        }
        left
    }

    /// Processes, mounts, links and folders of the lab.
    fn traces(&self, status: Option<&Status>) -> Vec<String> {
        let folder = format!("/var/lib/rkctl-lab/{}", self.name);
        let group = format!("/rkctl-lab/{}", self.name);
        let belongs =
            |line: &str| line.split_once(&group).is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('/'));
        let mut left = Vec::new();
        for process in entries("/proc").filter(|path| name(path).bytes().all(|byte| byte.is_ascii_digit())) {
            let groups = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
            let words = fs::read(process.join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            if groups.lines().any(belongs) || words.contains(&folder) {
                left.push(format!("process {} {words}", name(&process)));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        left.extend(mounts.lines().filter(|line| line.contains(&folder)).map(|line| format!("mount {line}")));
        if let Some(status) = status {
            // Hosts' ports are `vb-rkN-hM` on the bridge `rklabN`.
            let ports = format!("vb-rk{}-", status.link.trim_start_matches("rklab"));
            let links = entries("/sys/class/net").map(|path| name(&path));
            let own = links.filter(|link| *link == status.link || link.starts_with(&ports));
            left.extend(own.map(|link| format!("link {link}")));
        }
        let tops = entries("/sys/fs/cgroup").chain([PathBuf::from("/sys/fs/cgroup")]);
        let groups = tops.map(|top| top.join("rkctl-lab").join(&self.name)).filter(|path| path.exists());
        left.extend(groups.map(|path| format!("control group {}", path.display())));
        if Path::new(&folder).exists() {
            left.push(format!("folder {folder}"));
        }
        left
    }
}

impl Hosts for Lab {
    fn ssh(&self, host: &str, script: &str, input: &[u8]) -> Ran {
        let mut command = Command::new(&self.rkctl);
        run(command.args(["lab", "--name", &self.name, "ssh", host, script]), SSH_BOUND, input)
    }

    fn verb(&self, verb: &str, host: &str) {
        self.lab(&[verb, host], VERB_BOUND).ok();
    }

    fn start(&self) {
        self.lab(&["up"], UP_BOUND).ok();
    }
}

fn entries(folder: impl AsRef<Path>) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
