//! The root file system of one host: the overlay over the base, and what makes this host this host.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tokio::time::{Instant, sleep};

use crate::error::{Error, file};
use crate::state::{HostRecord, Paths, Record};
use crate::tool::{run, tail};

/// Folders that are plain ones of this machine: an overlay cannot lie over an overlay, and the container
/// runtime brings its own.
pub(crate) const PLAIN: [&str; 3] = ["/var/lib/containerd", "/var/lib/rkctl", "/var/lib/kubelet"];

/// Itself and nothing of the others, as on a freshly installed machine.
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";

/// The last user of a mount may need a moment to go.
const UNMOUNT_TIMEOUT: Duration = Duration::from_secs(5);

/// A host's files on this machine.
pub(crate) struct RootFs {
    pub folder: PathBuf,
}

impl RootFs {
    pub(crate) fn of(paths: &Paths, host: &str) -> Self {
        Self { folder: paths.host(host) }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    pub(crate) fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// Process id of the supervisor, for people who look; nothing is ended by it.
    pub(crate) fn pid(&self) -> PathBuf {
        self.folder.join("pid")
    }

    /// The host did not do in time what it should; with the end of its console.
    pub(crate) fn late(&self, host: &str, what: &'static str, limit: Duration) -> Error {
        Error::Host { host: host.to_owned(), what, timeout_s: limit.as_secs(), console: self.console_tail() }
    }

    /// The end of what the host and systemd-nspawn said.
    pub(crate) fn console_tail(&self) -> String {
        tail(&String::from_utf8_lossy(&fs::read(self.console()).unwrap_or_default()))
    }

    /// The flag that keeps the host cut off through restarts.
    pub(crate) fn cut(&self) -> PathBuf {
        self.folder.join("cut")
    }

    /// Where a plain folder of the host lies on this machine.
    pub(crate) fn plain(&self, inside: &str) -> PathBuf {
        let name = inside.rsplit('/').next().unwrap_or(inside);
        self.folder.join(format!("plain-{name}"))
    }

    pub(crate) fn is_mounted(&self) -> bool {
        let root = self.root();
        let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
        device(&root).is_some() && device(&root) != device(&self.folder)
    }

    /// Makes and mounts what is missing.
    pub(crate) async fn ensure(&self, lab: &Record, host: &HostRecord, key: &str) -> Result<(), Error> {
        for name in ["upper", "work", "root"] {
            let folder = self.folder.join(name);
            fs::create_dir_all(&folder).map_err(file("making", &folder))?;
        }
        for inside in PLAIN {
            let folder = self.plain(inside);
            fs::create_dir_all(&folder).map_err(file("making", &folder))?;
        }
        if !self.is_mounted() {
            self.mount(&lab.base)?;
        }
        self.identify(lab, host, key).await
    }

    fn mount(&self, base: &Path) -> Result<(), Error> {
        let (upper, work) = (self.folder.join("upper"), self.folder.join("work"));
        let options = format!("lowerdir={},upperdir={},workdir={}", base.display(), upper.display(), work.display());
        mount(Some("overlay"), &self.root(), Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .map_err(|errno| file("mounting", self.root())(errno.into()))
    }

    /// Host name, machine id, keys, address. Those that were made once stay.
    async fn identify(&self, lab: &Record, host: &HostRecord, key: &str) -> Result<(), Error> {
        let root = self.root();
        let machine_id = root.join("etc/machine-id");
        if !machine_id.exists() {
            let random = "/proc/sys/kernel/random/uuid";
            let uuid = fs::read_to_string(random).map_err(file("reading", random))?;
            self.write("etc/machine-id", &uuid.replace('-', ""), 0o444)?;
        }
        let host_key = root.join("etc/ssh/ssh_host_ed25519_key");
        if !host_key.exists() {
            let comment = format!("root@{}", host.name);
            run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f", &host_key.to_string_lossy()])
                .await?;
        }
        if !root.join("etc/hostname").exists() {
            self.write("etc/hostname", &format!("{}\n", host.name), 0o644)?;
            self.write("etc/hosts", HOSTS, 0o644)?;
            // No name server: a question fails at once instead of waiting for an answer.
            self.write("etc/resolv.conf", "# This host has no name server.\n", 0o644)?;
        }
        let network = format!(
            "[Match]\nName=host0\n\n[Network]\nAddress={}/24\nGateway={}\nLinkLocalAddressing=no\nLLMNR=no\nMulticastDNS=no\nIPv6AcceptRA=no\n",
            lab.address(host),
            lab.gateway()
        );
        self.write("etc/systemd/network/10-host0.network", &network, 0o644)?;
        self.write("root/.ssh/authorized_keys", &format!("{key}\n"), 0o600)
    }

    fn write(&self, inside: &str, text: &str, mode: u32) -> Result<(), Error> {
        let path = self.root().join(inside);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(file("making", folder))?;
        }
        fs::write(&path, text).map_err(file("writing", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(file("writing", &path))
    }

    /// The host's public key: `ssh-ed25519 AAAA…`.
    pub(crate) fn public_key(&self) -> Result<String, Error> {
        let path = self.root().join("etc/ssh/ssh_host_ed25519_key.pub");
        let text = fs::read_to_string(&path).map_err(file("reading", &path))?;
        Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }

    /// Unmounts the root and removes what systemd-nspawn leaves behind for it.
    pub(crate) async fn unmount(&self, machine: &str) -> Result<(), Error> {
        let root = self.root();
        if self.is_mounted() {
            remove_nspawn_traces(&root, machine);
            let deadline = Instant::now() + UNMOUNT_TIMEOUT;
            while let Err(errno) = umount2(&root, MntFlags::empty()) {
                if Instant::now() > deadline {
                    // Someone looks into it still; it goes when they do.
                    umount2(&root, MntFlags::MNT_DETACH).map_err(|_| file("unmounting", &root)(errno.into()))?;
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }
}

/// systemd-nspawn keeps a lock for the root's inode and folders for the machine, and does not remove them when
/// it is killed.
fn remove_nspawn_traces(root: &Path, machine: &str) {
    let top = Path::new("/run/systemd/nspawn");
    if let Ok(metadata) = fs::metadata(root) {
        let _absent = fs::remove_file(top.join(format!("locks/inode-{}:{}", metadata.dev(), metadata.ino())));
    }
    for (folder, name) in [("propagate", machine), ("unix-export", machine)] {
        let _absent = fs::remove_dir_all(top.join(folder).join(name));
    }
    for folder in ["propagate", "unix-export", "locks", ""] {
        // They stay while another machine uses them.
        let _used = fs::remove_dir(top.join(folder));
    }
}
