//! What the figures of one run share.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::lab::Lab;
use crate::rkctl::{Rkctl, Up};

/// A run.
pub struct Bench {
    /// What is measured.
    pub rkctl: Rkctl,
    /// Fewer rounds.
    pub quick: bool,
    lab: Option<Lab>,
    /// `rkctl up` failed on fresh hosts: it would again, and each time takes minutes.
    up_failed: bool,
    folder: tempfile::TempDir,
}

impl Bench {
    /// A run of the program at `rkctl`, with its files in a new folder below `parent`.
    pub async fn new(rkctl: &Path, parent: &Path, quick: bool) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("rkctl-bench-").tempdir_in(parent);
        let folder = folder.with_context(|| format!("make a folder in {}", parent.display()))?;
        let rkctl = Rkctl::copy(rkctl, folder.path()).await?;
        Ok(Self { rkctl, quick, lab: None, up_failed: false, folder })
    }

    /// `full` rounds, or `quick` ones.
    pub fn rounds(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// A path in the run's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Fresh hosts with nothing on them; what there was of a lab is removed.
    pub async fn fresh_lab(&mut self) -> anyhow::Result<&Lab> {
        self.lab = None;
        let lab = Lab::make(&self.rkctl, self.folder.path()).await?;
        Ok(self.lab.insert(lab))
    }

    /// Fresh hosts, and a cluster made on them.
    pub async fn cold_up(&mut self) -> anyhow::Result<Up> {
        let run = self.fresh_lab().await?.up().await;
        self.up_failed = run.is_err();
        run
    }

    /// Hosts with a cluster on them: those of a figure before this one, or new ones.
    pub async fn cluster(&mut self) -> anyhow::Result<&Lab> {
        if self.up_failed {
            bail!("there is no cluster to measure: `rkctl up` failed before");
        }
        if !self.lab.as_ref().is_some_and(|lab| lab.kubeconfig().exists()) {
            self.cold_up().await.context("make a cluster to measure")?;
        }
        self.lab.as_ref().context("there is no lab")
    }

    /// Removes the lab.
    pub fn end(&mut self) {
        self.lab = None;
    }
}
