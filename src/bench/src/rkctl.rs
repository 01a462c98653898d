//! The program that is measured, and how its commands are run.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::command;
use crate::phases::Ended;

/// Making hosts takes some seconds, and half a minute more where their base is not there yet.
const LAB_LIMIT: Duration = Duration::from_secs(300);
/// Well above what `up` gives up after by itself.
const UP_LIMIT: Duration = Duration::from_secs(600);
const SHORT_LIMIT: Duration = Duration::from_secs(30);

/// The program: a copy of its own, so that a build going on at the same time does not change what is measured.
#[derive(Debug, Clone)]
pub struct Rkctl {
    program: PathBuf,
    /// Its version alone.
    pub version: String,
    /// Version and Kubernetes' version, for people.
    pub title: String,
}

/// A run of `rkctl up`.
#[derive(Debug, Clone)]
pub struct Up {
    /// From exec to exit.
    pub elapsed_ms: f64,
    /// The steps as they ended.
    pub steps: Vec<Ended>,
}

/// A lab as `rkctl lab list` tells of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabStatus {
    /// Its name.
    pub name: String,
    /// The inventory of its hosts.
    pub inventory_path: PathBuf,
    /// The key that lets in.
    pub key_path: PathBuf,
    /// The keys of its hosts.
    pub known_hosts_path: PathBuf,
    /// Its hosts.
    pub hosts: Vec<LabHost>,
}

/// A host of a lab.
#[derive(Debug, Clone, Deserialize)]
pub struct LabHost {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Process id of its init while it runs.
    pub pid: Option<i32>,
}

impl Rkctl {
    /// Copies the program into `folder` and asks for its version.
    pub async fn copy(from: &Path, folder: &Path) -> anyhow::Result<Self> {
        let program = folder.join("rkctl");
        tokio::fs::copy(from, &program)
            .await
            .with_context(|| format!("copy {}: build it with `make build`, or name it with --rkctl", from.display()))?;
        let mut own = Self { program, version: String::new(), title: String::new() };
        own.title = own.run(&["version"], SHORT_LIMIT).await?.trim().to_owned();
        let version: Value = serde_json::from_str(&own.run(&["version", "--output", "json"], SHORT_LIMIT).await?)?;
        own.version = version["rkctl"].as_str().context("`rkctl version` does not tell its version")?.to_owned();
        Ok(own)
    }

    /// Its file.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A command line of it.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).kill_on_drop(true);
        command
    }

    /// Runs it to its end and answers its standard output.
    pub async fn run(&self, words: &[&str], limit: Duration) -> anyhow::Result<String> {
        command::run(&mut self.command(words), "", limit).await
    }

    /// Makes a lab of these hosts.
    pub async fn lab_up(&self, name: &str, hosts: &[&str]) -> anyhow::Result<LabStatus> {
        self.run(&["lab", "up", "--name", name, "--hosts", &hosts.join(",")], LAB_LIMIT).await?;
        let labs: Vec<LabStatus> =
            serde_json::from_str(&self.run(&["lab", "list", "--output", "json"], SHORT_LIMIT).await?)
                .context("understand `rkctl lab list`")?;
        labs.into_iter().find(|lab| lab.name == name).with_context(|| format!("there is no lab {name} after `lab up`"))
    }

    /// Removes a lab, blocking: the last thing done, whatever went wrong before.
    pub fn lab_down(&self, name: &str) -> anyhow::Result<()> {
        let output = std::process::Command::new(&self.program)
            .args(["lab", "down", "--name", name])
            .stdin(Stdio::null())
            .output()
            .context("start rkctl")?;
        if !output.status.success() {
            bail!("`rkctl lab down --name {name}` {}: {}", output.status, command::last_lines(&output.stderr));
        }
        Ok(())
    }

    /// Runs `rkctl up`, which must succeed: then it has itself seen every node Ready and DNS answering.
    pub async fn up(&self, inventory: &Path, kubeconfig: &Path) -> anyhow::Result<Up> {
        let mut command = self.command(&["up", "--output", "json", "--kubeconfig"]);
        command.arg(kubeconfig).arg(inventory);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let began = Instant::now();
        let elapsed_ms = || began.elapsed().as_secs_f64() * 1000.0;
        let mut child = command.spawn().context("start `rkctl up`")?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let telling = async {
            let (mut steps, mut words) = (Vec::new(), String::new());
            let mut lines = BufReader::new(stderr.context("no standard error")?).lines();
            while let Some(line) = lines.next_line().await? {
                match Ended::parse(&line, elapsed_ms()) {
                    Some(step) => steps.push(step),
                    None => words.push_str(&(line + "\n")),
                }
            }
            anyhow::Ok((steps, words))
        };
        let answering = async {
            let mut text = String::new();
            stdout.context("no standard output")?.read_to_string(&mut text).await?;
            anyhow::Ok(text)
        };
        let ended = async { tokio::try_join!(telling, answering, async { Ok(child.wait().await?) }) };
        let ended = tokio::time::timeout(UP_LIMIT, ended).await;
        let ((steps, words), answer, status) =
            ended.with_context(|| format!("`rkctl up` did not end within {} s", UP_LIMIT.as_secs()))??;
        let elapsed_ms = elapsed_ms();
        if !status.success() {
            let wrong = wrong(&answer);
            let why = if wrong.is_empty() { command::last_lines(words.as_bytes()) } else { wrong };
            bail!("`rkctl up` {status}: {why}");
        }
        Ok(Up { elapsed_ms, steps })
    }
}

/// What a failed run says went wrong.
fn wrong(answer: &str) -> String {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let wrong = answer["wrong"].as_array().into_iter().flatten().filter_map(|text| text.as_str());
    wrong.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_tells_what_went_wrong() {
        assert_eq!(wrong(r#"{"steps": [], "wrong": ["w1: no", "w2: no"]}"#), "w1: no; w2: no");
        assert_eq!(wrong("rkctl: no such file"), "");
    }

    #[test]
    fn labs_are_read_as_they_are_listed() {
        let text = r#"[{"name": "x", "network": "10.88.0.0/24", "bridge": "rklab0", "folder": "/f",
            "inventoryPath": "/f/inventory.yaml", "keyPath": "/f/k", "knownHostsPath": "/f/known_hosts",
            "hosts": [{"name": "cp1", "role": "controller", "address": "10.88.0.2", "state": "running", "pid": 7},
                      {"name": "w1", "role": "worker", "address": "10.88.0.3", "state": "stopped", "pid": null}]}]"#;
        let labs: Vec<LabStatus> = serde_json::from_str(text).unwrap();
        assert_eq!((labs[0].hosts[0].pid, labs[0].hosts[1].pid), (Some(7), None));
    }
}
