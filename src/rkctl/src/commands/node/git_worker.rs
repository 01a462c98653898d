//! `rkctl node git-worker`, and how the server's GitOps is told to start it.

use std::time::Duration;

use anyhow::Context as _;

use crate::config::{GitOps, ServerConfiguration};
use crate::exit;

/// A first fetch of a large repository over a slow line takes minutes; one that hangs must not hang for ever.
const TIMEOUT: Duration = Duration::from_secs(300);
/// In the data folder: copies of repositories.
const FOLDER: &str = "git";

/// Fetch or read a Git repository, for the server: one JSON request on standard input, one answer on standard output.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> exit::Answer {
    git::worker::run(std::io::stdin().lock(), std::io::stdout().lock()).context("speak to the server")?;
    Ok(exit::DONE)
}

/// Removes the copies of repositories: what they hold is nobody's business once none is followed.
pub fn remove_copies(server: &ServerConfiguration) {
    let folder = server.data_dir.join(FOLDER);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), error = %error, "cannot remove copies of repositories");
        }
        _ => {}
    }
}

/// What GitOps is told on this host.
pub fn gitops_config(server: &ServerConfiguration, gitops: &GitOps) -> anyhow::Result<gitops::Config> {
    let interval = inventory::duration::parse(&gitops.interval)
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("gitops.interval {:?}", gitops.interval))?;
    let host = nix::unistd::gethostname().context("read the host's name")?;
    Ok(gitops::Config {
        url: gitops.url.clone(),
        reference: gitops.reference.clone(),
        path: gitops.path.clone(),
        interval,
        auth: git::Auth {
            ssh_key_file: gitops.ssh_key_file.clone(),
            known_hosts_file: gitops.known_hosts_file.clone(),
            username: gitops.username.clone(),
            password_file: gitops.password_file.clone(),
        },
        worker: git::Worker {
            // This very binary, though the file of its name is replaced while it runs.
            program: "/proc/self/exe".into(),
            arguments: ["node", "git-worker"].map(Into::into).to_vec(),
            folder: server.data_dir.join(FOLDER),
            timeout: TIMEOUT,
        },
        // A host runs one server, which takes its lease up again at once when it is started anew.
        identity: host.to_string_lossy().into_owned(),
    })
}
