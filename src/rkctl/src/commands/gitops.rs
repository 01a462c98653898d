//! `rkctl gitops`: what the cluster's GitOps does, and steering it.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use gitops::{NAMESPACE, RECONCILE_AT, STATUS_NAME, SUSPEND, Status};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{exit, output, runtime};

/// Between two looks at the status.
const POLL: Duration = Duration::from_millis(200);
/// Long enough for a slow server, short enough to be told of one that does not answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The Git repository the cluster follows: show it, sync now, suspend, resume.
#[derive(Debug, clap::Args)]
#[command(after_help = "The cluster is found as kubectl finds it: KUBECONFIG, else ~/.kube/config.

Examples:
  rkctl gitops status --output json
  rkctl gitops sync --timeout 2m
  rkctl gitops suspend --context lab")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The context of the kubeconfig; its current one where it is left out.
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// How it is printed.
    #[arg(long, global = true, value_enum, default_value_t)]
    output: output::Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show which commit is applied, and what is wrong. Exit code 1 where the cluster is not equal to the repository.
    Status,
    /// Make the cluster equal to the repository now, and wait for it.
    Sync {
        /// How long it is waited for.
        #[arg(long, value_parser = inventory::duration::parse, default_value = "5m")]
        timeout: Duration,
    },
    /// Leave the cluster as it is until it is resumed.
    Suspend,
    /// Follow the repository again.
    Resume,
}

pub fn run(args: Args) -> exit::Answer {
    runtime::operator(async {
        let maps: Api<ConfigMap> = Api::namespaced(client(args.context.clone()).await?, NAMESPACE);
        let (status, code) = match args.command {
            Command::Status => {
                let status = read(&maps).await?;
                let code = if status.ready || status.suspended { exit::DONE } else { exit::FAILED };
                (status, code)
            }
            Command::Sync { timeout } => {
                let status = sync(&maps, timeout).await?;
                let code = if status.ready { exit::DONE } else { exit::FAILED };
                (status, code)
            }
            Command::Suspend => (suspend(&maps, true).await?, exit::DONE),
            Command::Resume => (suspend(&maps, false).await?, exit::DONE),
        };
        match args.output {
            output::Format::Json => output::print_json(&status)?,
            output::Format::Text => output::print(&text(&status))?,
        }
        Ok(code)
    })
}

async fn client(context: Option<String>) -> anyhow::Result<kube::Client> {
    let options = kube::config::KubeConfigOptions { context, ..Default::default() };
    let mut config = kube::Config::from_kubeconfig(&options)
        .await
        .context("find the cluster: set KUBECONFIG, or run `rkctl kubeconfig` first")?;
    config.connect_timeout = Some(REQUEST_TIMEOUT);
    config.read_timeout = Some(REQUEST_TIMEOUT);
    // kube asks fifteen times, for minutes, where a server is not available; an aggregated API that is down would
    // hold up whoever only wants to know what is served.
    config.default_retry = false;
    kube::Client::try_from(config).context("make a client of the API")
}

async fn read(maps: &Api<ConfigMap>) -> anyhow::Result<Status> {
    let stored = maps.get_opt(STATUS_NAME).await.map_err(client::Error::request("read the status of GitOps"))?;
    let Some(stored) = stored else {
        bail!(
            "the cluster follows no repository, or has not begun to: give the inventory a `spec.gitops` and run \
             `rkctl up`; else see `journalctl -u rkctl-server` on a control-plane host"
        );
    };
    Ok(gitops::read_status(&stored)?)
}

async fn annotate(maps: &Api<ConfigMap>, name: &str, value: Value) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {name: value}}}));
    maps.patch(STATUS_NAME, &PatchParams::default(), &patch)
        .await
        .map_err(client::Error::request(format!("annotate ConfigMap {NAMESPACE}/{STATUS_NAME}")))?;
    Ok(())
}

/// Waits until the status fulfils something.
async fn wait(
    maps: &Api<ConfigMap>,
    timeout: Duration,
    what: &str,
    done: impl Fn(&Status) -> bool,
) -> anyhow::Result<Status> {
    let deadline = Instant::now() + timeout;
    loop {
        let status = read(maps).await?;
        if done(&status) {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            let seconds = timeout.as_secs();
            bail!(
                "{what} was not done within {seconds} s: see `journalctl -u rkctl-server` on the control-plane hosts"
            );
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn sync(maps: &Api<ConfigMap>, timeout: Duration) -> anyhow::Result<Status> {
    if read(maps).await?.suspended {
        return Err(exit::Usage("GitOps is suspended: run `rkctl gitops resume` first".to_owned()).into());
    }
    let mark = jiff::Timestamp::now().to_string();
    annotate(maps, RECONCILE_AT, json!(mark)).await?;
    wait(maps, timeout, "the sync", |status| status.last_handled_reconcile_at.as_ref() == Some(&mark)).await
}

/// How long the server may take to take notice.
const NOTICE: Duration = Duration::from_secs(60);

async fn suspend(maps: &Api<ConfigMap>, suspended: bool) -> anyhow::Result<Status> {
    read(maps).await?;
    annotate(maps, SUSPEND, if suspended { json!("true") } else { Value::Null }).await?;
    let what = if suspended { "suspending" } else { "resuming" };
    wait(maps, NOTICE, what, |status| status.suspended == suspended).await
}

fn text(status: &Status) -> String {
    let path = if status.path.is_empty() { "." } else { &status.path };
    let state = match (status.suspended, status.ready) {
        (true, _) => "suspended",
        (false, true) => "ready",
        (false, false) => "not ready",
    };
    let commit = |id: &Option<String>| id.clone().unwrap_or_else(|| "none".to_owned());
    let applied = match (&status.last_applied_subject, &status.last_applied_commit) {
        (Some(subject), Some(id)) => format!("{id} ({subject})"),
        (_, id) => commit(id),
    };
    let mut lines = vec![
        ("repository", format!("{} {} {path}", status.url, status.reference)),
        ("state", state.to_owned()),
        ("applied", applied),
    ];
    if status.last_attempted_commit != status.last_applied_commit {
        lines.push(("attempted", commit(&status.last_attempted_commit)));
    }
    lines.extend(status.applied_at.clone().map(|at| ("at", at)));
    lines.push(("objects", status.objects.to_string()));
    lines.push(("message", status.message.clone()));
    lines.extend(status.error.clone().map(|error| ("error", error)));
    let filled = lines.iter().filter(|(_, value)| !value.is_empty());
    filled.map(|(name, value)| format!("{:<12}{value}\n", format!("{name}:"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_commit_is_shown_beside_the_applied_one() {
        let status = Status {
            url: "file:///srv/git".into(),
            reference: "main".into(),
            last_attempted_commit: Some("bbb".into()),
            last_applied_commit: Some("aaa".into()),
            last_applied_subject: Some("Good".into()),
            error: Some("a.yaml: broken".into()),
            objects: 3,
            ..Status::default()
        };
        let expected = "repository: file:///srv/git main .\nstate:      not ready\napplied:    aaa (Good)\n\
                        attempted:  bbb\nobjects:    3\nerror:      a.yaml: broken\n";
        assert_eq!(text(&status), expected);
    }
}
