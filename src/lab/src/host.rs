//! One host: starting, waiting for it, finding its processes, ending it.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::cgroup::Groups;
use crate::error::Error;
use crate::root_fs::RootFs;
use crate::state::{HostRecord, HostState, HostStatus, Paths, Record};
use crate::{network, supervisor, tool};

/// From the start to an answer of sshd; seconds on an idle machine.
const BOOT_TIMEOUT: Duration = Duration::from_secs(90);

/// From the wish to reboot until systemd has let go.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Between looks at a host that is coming or going.
const POLL: Duration = Duration::from_millis(50);

/// One host of a lab.
pub(crate) struct Host<'a> {
    pub lab: &'a Record,
    pub record: &'a HostRecord,
    pub files: RootFs,
}

impl<'a> Host<'a> {
    pub(crate) fn new(lab: &'a Record, record: &'a HostRecord) -> Self {
        Self { lab, record, files: RootFs::of(&Paths::of(&lab.name), &record.name) }
    }

    fn groups(&self) -> Result<Groups, Error> {
        Groups::of_host(&self.lab.name, &self.record.name)
    }

    fn supervisor(&self) -> Result<Groups, Error> {
        Groups::of_supervisor(&self.lab.name, &self.record.name)
    }

    pub(crate) fn is_running(&self) -> Result<bool, Error> {
        Ok(!self.groups()?.processes().is_empty() || !self.supervisor()?.processes().is_empty())
    }

    /// The host's init on this machine: the process that is number 1 one level of process ids further down.
    pub(crate) fn init(&self) -> Result<Option<i32>, Error> {
        let levels = ids(std::process::id() as i32).len();
        let is_init = |process: &i32| {
            let ids = ids(*process);
            ids.len() == levels + 1 && ids.last() == Some(&1)
        };
        Ok(self.groups()?.processes().into_iter().find(is_init))
    }

    pub(crate) fn status(&self) -> Result<HostStatus, Error> {
        let state = match self.is_running()? {
            false => HostState::Stopped,
            true if self.files.cut().exists() => HostState::Cut,
            true => HostState::Running,
        };
        Ok(HostStatus {
            name: self.record.name.clone(),
            role: self.record.role,
            address: self.lab.address(self.record),
            state,
            pid: self.init()?,
        })
    }

    /// Starts the host where it does not run, and waits until its sshd answers. Answers whether it was started.
    pub(crate) async fn ensure_up(&self) -> Result<bool, Error> {
        let running = self.is_running()?;
        if !running {
            let _absent = fs::remove_file(self.files.cut());
            supervisor::start(self.lab, self.record, &self.files).await?;
        }
        if !self.files.cut().exists() {
            self.wait_for_ssh(None).await?;
        }
        Ok(!running)
    }

    /// Waits until sshd answers; where `old` is given, that of another init than this one.
    async fn wait_for_ssh(&self, old: Option<i32>) -> Result<(), Error> {
        let deadline = Instant::now() + BOOT_TIMEOUT;
        let address = self.lab.address(self.record);
        while old.is_some() && self.init()?.is_none_or(|init| Some(init) == old) || !answers(address).await {
            if !self.is_running()? {
                return Err(Error::Ended { host: self.record.name.clone(), console: self.files.console_tail() });
            }
            if Instant::now() > deadline {
                return Err(self.late("answer on port 22", BOOT_TIMEOUT));
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    fn late(&self, what: &'static str, limit: Duration) -> Error {
        self.files.late(&self.record.name, what, limit)
    }

    /// Restarts the host from within, as `systemctl reboot` does; one that does not react is ended and started.
    pub(crate) async fn reboot(&self) -> Result<(), Error> {
        let Some(old) = self.init()? else {
            return Err(Error::NotRunning { lab: self.lab.name.clone(), host: self.record.name.clone() });
        };
        let target = old.to_string();
        let words = ["nsenter", "--all", "--target", &target, "systemctl", "--no-block", "reboot"];
        let asked = tool::run(&words).await;
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        while asked.is_ok() && self.init()? == Some(old) && Instant::now() < deadline {
            sleep(POLL).await;
        }
        if self.init()? == Some(old) {
            let cut = self.files.cut().exists();
            self.kill().await?;
            if cut {
                self.flag_cut()?;
            }
            supervisor::start(self.lab, self.record, &self.files).await?;
        }
        if self.files.cut().exists() { self.wait_for_init(old).await } else { self.wait_for_ssh(Some(old)).await }
    }

    async fn wait_for_init(&self, old: i32) -> Result<(), Error> {
        let deadline = Instant::now() + BOOT_TIMEOUT;
        while self.init()?.is_none_or(|init| init == old) {
            if Instant::now() > deadline {
                return Err(self.late("start again", BOOT_TIMEOUT));
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Ends the host as a power failure does. Its files stay.
    pub(crate) async fn kill(&self) -> Result<(), Error> {
        // The supervisor first, lest it start the host again.
        self.supervisor()?.kill().await?;
        self.groups()?.kill().await?;
        let _absent = fs::remove_file(self.files.cut());
        let _absent = fs::remove_file(self.files.pid());
        Ok(())
    }

    fn flag_cut(&self) -> Result<(), Error> {
        fs::write(self.files.cut(), "").map_err(crate::error::file("writing", self.files.cut()))
    }

    fn require_running(&self) -> Result<(), Error> {
        if self.is_running()? {
            return Ok(());
        }
        Err(Error::NotRunning { lab: self.lab.name.clone(), host: self.record.name.clone() })
    }

    pub(crate) async fn cut(&self) -> Result<(), Error> {
        self.require_running()?;
        self.flag_cut()?;
        network::cut(&self.lab.link(self.record)).await
    }

    pub(crate) async fn heal(&self) -> Result<(), Error> {
        self.require_running()?;
        let _absent = fs::remove_file(self.files.cut());
        network::heal(&self.lab.link(self.record)).await
    }
}

/// The process's ids, from this machine's to the innermost (`NSpid` of proc(5)).
fn ids(process: i32) -> Vec<i32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Whether an SSH server greets at the address.
async fn answers(address: Ipv4Addr) -> bool {
    const GREETING: Duration = Duration::from_millis(500);
    let greet = async {
        let mut stream = TcpStream::connect(SocketAddr::from((address, 22))).await.ok()?;
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).await.ok()?;
        Some(greeting == *b"SSH-")
    };
    timeout(GREETING, greet).await.ok().flatten() == Some(true)
}

/// Every process of the given groups, for those who check that nothing is left.
pub(crate) fn processes_of_lab(lab: &str) -> Result<BTreeSet<i32>, Error> {
    Ok(Groups::of_lab(lab)?.processes())
}
