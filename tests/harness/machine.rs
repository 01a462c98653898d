//! A virtual machine as a host: a kernel of its own, with control groups v2, modules and swap, which hosts of a lab
//! share with this machine. QEMU emulates it in software, some ten times slower than a lab's host.
//!
//! What it is started from is made once and cached in `target/e2e`; what it writes goes with its process, and so does
//! the link to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::kubectl::Ran;
use testkit::tools::repository;

use super::hosts::{Hosts, Status};
use super::program::run;

/// The machine's only host.
pub const NAME: &str = "vm1";
const ADDRESS: &str = "10.89.0.2";
const GATEWAY: &str = "10.89.0.1";
/// QEMU makes it and takes it along. Two machines at a time do not get on.
const LINK: &str = "rkctl-vm";
const SCRIPT: &str = include_str!("machine.sh");

/// Packages are unpacked and an initial file system is packed: a minute where nobody else works.
const MAKE_BOUND: Duration = Duration::from_secs(900);
/// Half a minute where nobody else works.
const BOOT_BOUND: Duration = Duration::from_secs(240);
const SSH_BOUND: Duration = Duration::from_secs(240);

/// A machine that runs; it ends when this is dropped, or with this process.
pub struct Machine {
    qemu: Child,
    status: Status,
}

impl Machine {
    /// Starts it, after making what it is started from where that is missing; its console goes into `folder`.
    pub fn start(folder: &Path) -> Self {
        let parts = parts();
        let log = folder.join("console");
        let drive = |name: &str| format!("file={},if=virtio,format=raw,snapshot=on", parts.join(name).display());
        let qemu = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            // The oldest processor: programs take the vector instructions they find, and to emulate those takes
            // several times as long as what is done without them.
            .args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "qemu64", "-smp", "2", "-m", "2048"])
            .args(["-display", "none", "-monitor", "none", "-serial", &format!("file:{}", log.display())])
            .arg("-kernel")
            .arg(parts.join("kernel"))
            .arg("-initrd")
            .arg(parts.join("initrd"))
            .args(["-append", "root=/dev/vda rw console=ttyS0 mitigations=off"])
            .args(["-drive", &drive("disk"), "-drive", &drive("swap")])
            .args(["-netdev", &format!("tap,id=lan,ifname={LINK},script=no,downscript=no")])
            .args(["-device", "virtio-net-pci,netdev=lan"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("qemu")).expect("a file of ours"))
            .spawn()
            .expect("setpriv is there: apt-get install util-linux");
        let status = Status {
            addresses: BTreeMap::from([(NAME.to_owned(), ADDRESS.to_owned())]),
            gateway: GATEWAY.to_owned(),
            link: LINK.to_owned(),
            key: parts.join("key"),
            known_hosts: parts.join("known_hosts"),
        };
        let mut machine = Self { qemu, status };
        testkit::eventually(SSH_BOUND, "QEMU makes the link to the machine", || match machine.qemu.try_wait() {
            Ok(None) if Path::new("/sys/class/net").join(LINK).exists() => Ok(()),
            Ok(Some(ended)) => panic!("QEMU: {ended}: {}", fs::read_to_string(folder.join("qemu")).unwrap_or_default()),
            _ => Err("there is no link yet"),
        });
        for words in [&["address", "add", &format!("{GATEWAY}/24"), "dev", LINK][..], &["link", "set", LINK, "up"]] {
            run(Command::new("ip").args(words), SSH_BOUND, b"").ok();
        }
        machine.wait_until_it_answers(None, || fs::read_to_string(&log).unwrap_or_default());
        machine
    }

    /// How it is reached.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Which of its starts this is.
    fn boot(&self) -> Result<String, String> {
        let ran = self.ssh(NAME, "cat /proc/sys/kernel/random/boot_id", b"");
        if ran.status.success() { Ok(ran.stdout) } else { Err(ran.report()) }
    }

    fn wait_until_it_answers(&self, before: Option<String>, console: impl Fn() -> String) {
        testkit::eventually(BOOT_BOUND, "the machine answers", || match self.boot() {
            Ok(boot) if Some(&boot) != before.as_ref() => Ok(()),
            Ok(_) => Err("it has not gone down yet".to_owned()),
            Err(error) => Err(format!("{error}\n{}", console())),
        });
    }
}

impl Hosts for Machine {
    fn ssh(&self, host: &str, script: &str, input: &[u8]) -> Ran {
        assert_eq!(host, NAME, "the machine is one host");
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20"]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.status.known_hosts.display()));
        command.arg("-i").arg(&self.status.key).arg(format!("root@{ADDRESS}")).arg(script);
        run(&mut command, SSH_BOUND, input)
    }

    fn verb(&self, verb: &str, _host: &str) {
        assert_eq!(verb, "reboot", "a machine is not cut off");
        let before = self.boot().unwrap_or_else(|error| panic!("{error}"));
        // The connection may end before the answer.
        self.ssh(NAME, "systemctl reboot", b"");
        self.wait_until_it_answers(Some(before), String::new);
    }

    fn start(&self) {
        panic!("a virtual machine is not killed");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ended = self.qemu.kill();
        let _status = self.qemu.wait();
    }
}

/// Kernel, disks and keys, made where those of this script are not there.
fn parts() -> PathBuf {
    let folder = repository().join("target/e2e/machine");
    let made_by = folder.join("made-by");
    if fs::read_to_string(&made_by).is_ok_and(|script| script == SCRIPT) {
        return folder;
    }
    eprintln!("drills: making the virtual machine from Debian's packages (once)");
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "machine.sh"]).arg(&folder).args([NAME, ADDRESS, GATEWAY]);
    run(&mut command, MAKE_BOUND, b"").ok();
    fs::write(made_by, SCRIPT).expect("a folder of ours");
    folder
}
