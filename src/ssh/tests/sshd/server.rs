//! A real sshd on 127.0.0.1, with its own keys and configuration in a temporary folder.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ssh::{Auth, HostKeyPin, HostKeyPolicy, KeyFile, Target};

pub const SSHD: &str = "/usr/sbin/sshd";

/// A server that ends with the test.
pub struct Server {
    pub folder: tempfile::TempDir,
    pub port: u16,
    child: Child,
}

impl Server {
    /// A server with ed25519 and ecdsa host keys that lets root in with the key `user`; `extra` goes into its
    /// configuration.
    pub fn start(extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, kind) in [("host_ed25519", "ed25519"), ("host_ecdsa", "ecdsa"), ("user", "ed25519")] {
            keygen(folder.path(), &["-t", kind, "-N", "", "-C", "", "-f", name]);
        }
        fs::copy(path("user.pub"), path("authorized_keys")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host_ed25519\nHostKey {0}/host_ecdsa\nPidFile none\n\
             AuthorizedKeysFile {0}/authorized_keys\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nMaxStartups 100\n{extra}\n",
            folder.path().display()
        );
        fs::write(path("sshd_config"), config).unwrap();
        // Where sshd keeps its unprivileged child; Debian's package leaves making it to systemd.
        fs::create_dir_all("/run/sshd").unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let child = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(path("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd is missing: apt-get install openssh-server");
        let server = Self { folder, port, child };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "sshd did not start: {}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The text of one of its public keys.
    pub fn public(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap().trim().to_owned()
    }

    /// Root with the key `user` and the host key pinned.
    pub fn target(&self) -> Target {
        let mut target = Target::new("127.0.0.1", "root");
        target.port = self.port;
        target.auth = vec![Auth::Key(KeyFile::new(self.path("user")))];
        let pin = HostKeyPin::parse(&self.public("host_ed25519")).unwrap();
        target.host_key = HostKeyPolicy::Pinned(vec![pin]);
        target
    }

    /// What OpenSSH's client says to the same server with this known_hosts text: whether it goes in.
    pub fn openssh_accepts(&self, known_hosts: &str, policy: &str) -> bool {
        fs::write(self.path("openssh_kh"), known_hosts).unwrap();
        let status = Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "GlobalKnownHostsFile=none", "-o", "IdentitiesOnly=yes"])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", self.path("openssh_kh").display()))
            .arg("-o")
            .arg(format!("StrictHostKeyChecking={policy}"))
            .arg("-i")
            .arg(self.path("user"))
            .args(["-p", &self.port.to_string(), "root@127.0.0.1", "true"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        status.success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Runs ssh-keygen in `folder`.
pub fn keygen(folder: &Path, args: &[&str]) {
    let output = Command::new("ssh-keygen").arg("-q").args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "ssh-keygen {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
