//! The cluster the drills are run on: the lab's hosts, made a cluster by `rkctl up`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::kubectl::Ran;
use testkit::tools::KubectlVersion;
use testkit::{Kubectl, images};

use super::git_server::GitServer;
use super::hosts::{Hosts, Status};
use super::inventory;
use super::program::run;
use super::{Place, Stage};

/// Hosts of a lab's cluster as it begins; the first is the controller.
pub const HOSTS: [&str; 3] = ["cp1", "w1", "w2"];
/// A host of the lab that is not in the cluster until a drill adds it.
pub const SPARE: &str = "w3";
/// `up` has bounds of its own; this one is for an `up` that hangs.
const UP_BOUND: Duration = Duration::from_secs(600);
/// How often `up` is run on a virtual machine until it succeeds.
const MACHINE_TRIES: usize = 3;
/// Commands that only look.
const LOOK_BOUND: Duration = Duration::from_secs(60);
/// A connection to a host of this machine takes no time.
const CONNECT_BOUND: Duration = Duration::from_secs(2);
const API_PORT: u16 = 6443;
const NAME: &str = "drills";

/// What the drills are run on.
pub struct Cluster {
    program: PathBuf,
    hosts: Box<dyn Hosts>,
    status: Status,
    names: &'static [&'static str],
    folder: PathBuf,
    inventory: Mutex<Value>,
    images: Vec<u8>,
    git: Option<GitServer>,
}

impl Cluster {
    /// Makes a cluster of hosts that run, those of the given names. Files are kept in `folder`.
    pub fn make(
        stage: &Stage,
        program: PathBuf,
        (hosts, status, names): (Box<dyn Hosts>, Status, &'static [&'static str]),
        folder: &Path,
    ) -> Self {
        let git = matches!(stage.place, Place::Lab { .. }).then(|| {
            let git = GitServer::start(&folder.join("git"), &status.gateway);
            git.clear();
            git
        });
        let images = images::all();
        let inventory = Mutex::new(inventory::inventory(NAME, names, &status, git.as_ref()));
        let cluster = Self { program, hosts, status, names, folder: folder.to_owned(), inventory, images, git };
        (stage.prepare)(&cluster);
        cluster.remember_hosts();
        let began = Instant::now();
        // Where a busy machine emulates another, `up` may give up waiting for addons; run again, it goes on.
        let tries = if matches!(stage.place, Place::Machine) { MACHINE_TRIES } else { 1 };
        let early = (1..tries).map(|_| cluster.try_up()).find(|ran| ran.status.success());
        let report = early.map_or_else(|| cluster.up(), |ran| read_json(&ran.ok()));
        let steps = report["steps"].as_array().map_or(0, Vec::len);
        eprintln!("drills: `rkctl up` has done {steps} steps in {:.1} s", began.elapsed().as_secs_f64());
        cluster.import_images();
        cluster
    }

    /// The repository the cluster follows.
    pub fn git(&self) -> &GitServer {
        self.git.as_ref().expect("clusters in labs follow one")
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.kubeconfig())
    }

    /// The oldest kubectl that is driven.
    pub fn old_kubectl(&self) -> Kubectl {
        Kubectl::version(KubectlVersion::V1_20, self.kubeconfig())
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    fn inventory_path(&self) -> PathBuf {
        self.folder.join("inventory.yaml")
    }

    /// `rkctl` with a verb that takes the inventory, and what else is given.
    pub fn command(&self, verb: &str, more: &[&str]) -> Command {
        inventory::write(&self.inventory.lock().expect("drills that change it are alone"), &self.inventory_path());
        let mut command = Command::new(&self.program);
        command.arg(verb).arg(self.inventory_path()).args(more);
        command
    }

    /// Runs it to the end, which must come within `bound`.
    pub fn rkctl(&self, verb: &str, more: &[&str], bound: Duration) -> Ran {
        run(&mut self.command(verb, more), bound, b"")
    }

    /// Runs `rkctl` with a verb and an inventory of the drill's own.
    pub fn rkctl_with(&self, verb: &str, inventory: &str, more: &[&str], bound: Duration) -> Ran {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a temporary file");
        std::fs::write(file.path(), inventory).expect("a file of ours");
        run(Command::new(&self.program).arg(verb).arg(file.path()).args(more), bound, b"")
    }

    /// The binary under test.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The key that root of the lab's hosts takes.
    pub fn key(&self) -> PathBuf {
        self.status.key.clone()
    }

    /// The host keys of the lab.
    pub fn known_hosts(&self) -> PathBuf {
        self.status.known_hosts.clone()
    }

    /// A file that goes with the run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `rkctl up`, whatever comes of it.
    pub fn try_up(&self) -> Ran {
        let kubeconfig = self.kubeconfig();
        self.rkctl("up", &["--output", "json", "--kubeconfig", &kubeconfig.to_string_lossy()], UP_BOUND)
    }

    /// `rkctl up`, which must succeed; answers its report.
    #[track_caller]
    pub fn up(&self) -> Value {
        let ran = self.try_up();
        if !ran.status.success() {
            panic!("{}\n{}", ran.report(), self.journals());
        }
        read_json(&ran.ok())
    }

    /// `rkctl plan`, as JSON.
    #[track_caller]
    pub fn plan(&self) -> Value {
        read_json(&self.rkctl("plan", &["--output", "json"], LOOK_BOUND).ok())
    }

    /// `rkctl reset --yes`.
    #[track_caller]
    pub fn reset(&self) -> String {
        self.rkctl("reset", &["--yes"], UP_BOUND).ok()
    }

    /// `rkctl gitops VERB`, whatever comes of it.
    pub fn gitops(&self, words: &[&str]) -> Ran {
        let mut command = Command::new(&self.program);
        command.arg("gitops").args(words).env("KUBECONFIG", self.kubeconfig());
        run(&mut command, LOOK_BOUND, b"")
    }

    /// Changes a host of the inventory for the next `up`.
    pub fn change_host(&self, name: &str, change: impl FnOnce(&mut Value)) {
        change(inventory::host(&mut self.inventory.lock().expect("drills that change it are alone"), name));
    }

    /// Changes the inventory's `spec` for the next `up`.
    pub fn change_spec(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.inventory.lock().expect("drills that change it are alone")["spec"]);
    }

    /// Adds a worker to the inventory, or takes it out of it.
    pub fn set_worker(&self, name: &str, there: bool) {
        let mut inventory = self.inventory.lock().expect("drills that change it are alone");
        let hosts = inventory["spec"]["hosts"].as_array_mut().expect("the hosts are a list");
        hosts.retain(|host| host["name"] != name);
        if there {
            hosts.push(serde_json::json!({ "name": name, "role": "worker", "address": self.address(name) }));
        }
    }

    /// Whether the API server can be reached. kubectl would wait for minutes where a firewall is in the way.
    pub fn answers(&self) -> bool {
        let address = format!("{}:{API_PORT}", self.address(self.names[0]));
        let address = address.parse().expect("an address and a port");
        std::net::TcpStream::connect_timeout(&address, CONNECT_BOUND).is_ok()
    }

    /// A host's address.
    pub fn address(&self, host: &str) -> &str {
        self.status.addresses.get(host).unwrap_or_else(|| panic!("the lab has no host {host}"))
    }

    /// This machine's address, as the hosts reach it.
    pub fn gateway(&self) -> &str {
        &self.status.gateway
    }

    /// Runs a script on a host as root; it must succeed.
    #[track_caller]
    pub fn host(&self, host: &str, script: &str) -> String {
        self.try_host(host, script).ok()
    }

    /// Runs a script on a host as root, whatever comes of it.
    pub fn try_host(&self, host: &str, script: &str) -> Ran {
        self.hosts.ssh(host, script, b"")
    }

    /// Runs a script on a host as root with `input` on its standard input; it must succeed.
    #[track_caller]
    pub fn host_with(&self, host: &str, script: &str, input: &[u8]) -> String {
        self.hosts.ssh(host, script, input).ok()
    }

    /// `reboot`, `cut`, `heal` or `kill` of a host.
    #[track_caller]
    pub fn host_verb(&self, verb: &str, host: &str) {
        self.hosts.verb(verb, host);
    }

    /// Starts the hosts that were killed.
    #[track_caller]
    pub fn start_hosts(&self) {
        self.hosts.start();
    }

    /// Brings the test images to the cluster's first hosts, all at once.
    pub fn import_images(&self) {
        std::thread::scope(|scope| {
            for host in self.names {
                scope.spawn(move || self.import_images_on(host));
            }
        });
    }

    /// Brings the test images to a host.
    pub fn import_images_on(&self, host: &str) {
        self.hosts.ssh(host, "ctr -n k8s.io images import -", &self.images).ok();
    }

    /// What each host was before `up`, put down the first time; see [`Cluster::snapshot`].
    fn remember_hosts(&self) {
        for host in self.names {
            let path = self.folder.join(format!("before-{host}"));
            if !path.exists() {
                std::fs::write(&path, self.snapshot(host)).expect("a file of ours");
            }
        }
    }

    /// What a host was before the first `up`.
    pub fn before(&self, host: &str) -> String {
        std::fs::read_to_string(self.folder.join(format!("before-{host}"))).expect("it was put down")
    }

    /// What of a host `up` may touch: files, links, rules, kernel settings, units, mounts and processes.
    pub fn snapshot(&self, host: &str) -> String {
        self.host(host, include_str!("snapshot.sh"))
    }

    /// What the hosts' units said last.
    pub fn journals(&self) -> String {
        let mut text = String::new();
        for host in self.names {
            let units = "-u rkctl-server -u rkctl-agent";
            let ran = self.try_host(host, &format!("journalctl --no-pager -q -o short-precise -n 40 {units}"));
            text.push_str(&format!("--- journal of {host}\n{}{}", ran.stdout, ran.stderr));
        }
        text
    }
}

#[track_caller]
fn read_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON ({error}): {text}"))
}
