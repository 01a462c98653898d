//! A real sshd on 127.0.0.1 with keys and configuration of its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that ends with the test.
pub struct Sshd {
    folder: tempfile::TempDir,
    pub port: u16,
    child: Child,
}

impl Sshd {
    /// Lets root in with the key `user`, and with `cut` for as long as 80 kB take; there are the keys `stranger` and
    /// `locked` (by a passphrase) too.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let keys = [
            ("host_ed25519", "ed25519"),
            ("host_ecdsa", "ecdsa"),
            ("user", "ed25519"),
            ("cut", "ecdsa"),
            ("stranger", "ed25519"),
            ("locked", "ed25519"),
        ];
        for (name, kind) in keys {
            let passphrase = if name == "locked" { "hunter2" } else { "" };
            let made = Command::new("ssh-keygen")
                // One in 256 of ECDSA's shortest keys begins with a zero, which the library cannot read.
                .args(["-q", "-t", kind, "-b", "384", "-N", passphrase, "-C", "", "-f"])
                .arg(path(name))
                .status()
                .expect("ssh-keygen is missing: apt-get install openssh-client");
            assert!(made.success());
        }
        let public = |name: &str| fs::read_to_string(path(&format!("{name}.pub"))).unwrap();
        // dd passes on at once what it reads.
        let cut = "sh -c \\\"$SSH_ORIGINAL_COMMAND\\\" | dd bs=4096 count=20 status=none; kill -9 $PPID";
        fs::write(path("authorized_keys"), format!("{}command=\"{cut}\" {}", public("user"), public("cut"))).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host_ed25519\nHostKey {0}/host_ecdsa\nPidFile none\n\
             AuthorizedKeysFile {0}/authorized_keys\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nSetEnv GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=*\n",
            folder.path().display()
        );
        fs::write(path("sshd_config"), config).unwrap();
        // Where sshd keeps its unprivileged child; Debian's package leaves making it to systemd.
        fs::create_dir_all("/run/sshd").unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(path("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("log")).unwrap())
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

    pub fn url(&self, repository: &Path) -> String {
        format!("ssh://root@127.0.0.1:{}{}", self.port, repository.display())
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
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}
