//! The lab of a run: hosts of its own, made when the first figure asks for them and always taken down.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::http::Access;
use crate::proc::{self, Process};
use crate::rkctl::{LabStatus, Rkctl, Up};

/// One control-plane host and two workers.
pub const HOSTS: [&str; 3] = ["cp1", "w1", "w2"];

/// A lab, and the cluster on it once `up` was run; taken down when dropped.
pub struct Lab {
    made: Made,
    status: LabStatus,
    kubeconfig: PathBuf,
}

impl Lab {
    /// Makes three fresh hosts.
    pub async fn make(rkctl: &Rkctl, folder: &Path) -> anyhow::Result<Self> {
        let kubeconfig = folder.join("lab.kubeconfig");
        // One of a lab before this one would lead to hosts that are gone.
        match std::fs::remove_file(&kubeconfig) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", kubeconfig.display()));
            }
            _ => {}
        }
        // Before it is made, so that what a failed or interrupted `lab up` left is removed too.
        let made = Made { rkctl: rkctl.clone(), name: format!("bench-{}", std::process::id()) };
        let status = rkctl.lab_up(&made.name, &HOSTS).await.context("make a lab of three hosts")?;
        Ok(Self { made, status, kubeconfig })
    }

    /// Its files and hosts.
    pub fn status(&self) -> &LabStatus {
        &self.status
    }

    /// The administrator's kubeconfig, once `up` was run.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs `rkctl up` on it.
    pub async fn up(&self) -> anyhow::Result<Up> {
        self.made.rkctl.up(&self.status.inventory_path, &self.kubeconfig).await
    }

    /// How to talk to the cluster's API.
    pub fn access(&self) -> anyhow::Result<Access> {
        Access::from_kubeconfig(&self.kubeconfig)
    }

    /// The process of a face of the program on a host: `server` or `agent`.
    pub fn process(&self, host: &str, face: &str) -> anyhow::Result<Process> {
        let found = self.status.hosts.iter().find(|found| found.name == host);
        let init = found.and_then(|found| found.pid).with_context(|| format!("{host} does not run"))?;
        proc::find(Process(init), &["rkctl", "node", face])
    }
}

/// A lab that may be there.
struct Made {
    rkctl: Rkctl,
    name: String,
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Err(error) = self.rkctl.lab_down(&self.name) {
            eprintln!("bench: the lab was not removed: {error:#}");
        }
    }
}
