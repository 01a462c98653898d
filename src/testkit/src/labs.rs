//! Labs for tests: made under a name of their own, gone with the test.

use std::time::Duration;

use lab::{Lab, Options};
use ssh::{Auth, HostKeyPolicy, KeyFile, Session, Target};

/// A lab that is removed when this is dropped; `RKCTL_KEEP_LAB=1` keeps it for a look.
pub struct TestLab {
    lab: Lab,
}

impl TestLab {
    /// A lab of the given hosts, called `t-WHAT-PROCESS`.
    ///
    /// # Panics
    /// Where it cannot be made: not root, or a tool is missing; the message names it.
    pub async fn up(what: &str, hosts: &[&str]) -> Self {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Self::with(what, Options { hosts, ..Options::default() }).await
    }

    /// As [`TestLab::up`] with options.
    pub async fn with(what: &str, options: Options) -> Self {
        let lab = Lab::named(&format!("t-{what}-{}", std::process::id())).expect("a short lower-case name");
        // Before `up`, so that what a failed `up` left is removed too.
        let made = Self { lab };
        if let Err(error) = made.lab.up(&options, &|event| println!("{event}")).await {
            panic!("the lab could not be made: {}", stdx::error::chain(&error));
        }
        made
    }

    /// The lab itself: reboot, kill, cut, heal, status.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// How to reach a host as root.
    ///
    /// # Panics
    /// Where the lab has no such host.
    pub fn target(&self, host: &str) -> Target {
        let status = self.lab.status().expect("the lab is there");
        let found = self.lab.host(host).unwrap_or_else(|error| panic!("{error}"));
        let mut target = Target::new(found.address.to_string(), "root");
        target.name = found.name;
        target.auth = vec![Auth::Key(KeyFile::new(status.key_path))];
        target.host_key = HostKeyPolicy::Strict(vec![status.known_hosts_path]);
        target.timeouts.connect = Duration::from_secs(5);
        target
    }

    /// A session as root.
    ///
    /// # Panics
    /// Where the host does not let in.
    pub async fn session(&self, host: &str) -> Session {
        match ssh::connect(&self.target(host)).await {
            Ok(session) => session,
            Err(error) => panic!("{}", stdx::error::chain(&error)),
        }
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        if std::env::var_os("RKCTL_KEEP_LAB").is_some_and(|keep| keep == "1") {
            eprintln!("lab {} is kept: remove it with `rkctl lab down --name {0}`", self.lab.name());
            return;
        }
        let lab = self.lab.clone();
        // A runtime of its own: the test's may be the one that drops this.
        let down = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| error.to_string())
                .and_then(|runtime| runtime.block_on(lab.down()).map_err(|error| stdx::error::chain(&error)))
        });
        if let Ok(Err(error)) = down.join() {
            eprintln!("the lab was not removed: {error}");
        }
    }
}
