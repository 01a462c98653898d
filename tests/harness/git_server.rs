//! A Git repository, served to the lab's hosts over ssh from the bridge's address of this machine.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// On an address that only the lab has.
const PORT: u16 = 2222;
const START_BOUND: Duration = Duration::from_secs(10);

/// An sshd that serves one repository with one key, and nothing else.
pub struct GitServer {
    folder: PathBuf,
    address: String,
    sshd: Child,
}

impl GitServer {
    /// Starts it. Keys and repository are in `folder`, and are made where they are missing.
    pub fn start(folder: &Path, address: &str) -> Self {
        fs::create_dir_all(folder).expect("a folder for the repository");
        let path = |name: &str| folder.join(name);
        for key in ["host", "user"].map(path).iter().filter(|key| !key.exists()) {
            let mut command = Command::new("ssh-keygen");
            succeed(command.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(key));
        }
        let user = fs::read_to_string(path("user.pub")).expect("ssh-keygen has written it");
        let serve = format!("git-upload-pack {}", path("repository").display());
        fs::write(path("authorized_keys"), format!("restrict,command=\"{serve}\" {user}")).expect("a file of ours");
        let host = fs::read_to_string(path("host.pub")).expect("ssh-keygen has written it");
        fs::write(path("known_hosts"), format!("[{address}]:{PORT} {host}")).expect("a file of ours");
        let config = format!(
            "ListenAddress {address}:{PORT}\nHostKey {0}/host\nPidFile none\nAuthorizedKeysFile {0}/authorized_keys\n\
             StrictModes no\nUsePAM no\nPermitRootLogin forced-commands-only\nPasswordAuthentication no\n",
            folder.display()
        );
        fs::write(path("sshd_config"), config).expect("a file of ours");
        // Where sshd keeps its unprivileged child; Debian's package leaves making it to systemd.
        fs::create_dir_all("/run/sshd").expect("root makes folders in /run");
        let sshd = Command::new("setpriv")
            // It ends with us, however we end.
            .args(["--pdeathsig", "TERM", "/usr/sbin/sshd", "-D", "-e", "-f"])
            .arg(path("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("log")).expect("a file of ours"))
            .spawn()
            .expect("setpriv is there: apt-get install util-linux");
        let server = Self { folder: folder.to_owned(), address: address.to_owned(), sshd };
        testkit::eventually(START_BOUND, "sshd listens", || {
            TcpStream::connect((address, PORT)).map_err(|error| format!("{error}\n{}", server.log()))
        });
        if !path("repository").exists() {
            fs::create_dir(path("repository")).expect("a folder of ours");
            server.git(&["init", "--quiet", "--initial-branch", "main"]);
        }
        server
    }

    /// How the cluster names the repository.
    pub fn url(&self) -> String {
        format!("ssh://root@{}:{PORT}{}", self.address, self.folder.join("repository").display())
    }

    /// The key the cluster shows.
    pub fn user_key(&self) -> PathBuf {
        self.folder.join("user")
    }

    /// The server's key, as known_hosts has it.
    pub fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    /// What sshd says.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn git(&self, words: &[&str]) -> String {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.folder.join("repository"));
        command.args(["-c", "user.name=drills", "-c", "user.email=drills@example.test"]).args(words);
        succeed(command.env("GIT_CONFIG_GLOBAL", "/dev/null"))
    }

    /// Writes files (`None` removes one), commits, and answers the commit's id. Nothing to commit is a mistake.
    pub fn commit(&self, message: &str, files: &[(&str, Option<&str>)]) -> String {
        for (name, text) in files {
            let path = self.folder.join("repository").join(name);
            match text {
                Some(text) => {
                    fs::create_dir_all(path.parent().expect("it is below the repository")).expect("a folder of ours");
                    fs::write(path, text).expect("a file of ours");
                }
                None => fs::remove_file(path).expect("it was committed before"),
            }
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Makes the repository one that wants nothing, whatever was in it.
    pub fn clear(&self) {
        self.git(&["rm", "-r", "-f", "--quiet", "--ignore-unmatch", "."]);
        let wanted = self.folder.join("repository/cluster");
        fs::create_dir_all(&wanted).expect("a folder of ours");
        fs::write(wanted.join("kustomization.yaml"), "resources: []\n").expect("a file of ours");
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "Want nothing"]);
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        let _ended = self.sshd.kill();
        let _status = self.sshd.wait();
    }
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
