//! Import of image archives, which CRI itself has no call for.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::Error;

/// The containerd namespace that CRI's images live in.
pub const NAMESPACE: &str = "k8s.io";
/// An archive of a few hundred megabytes on a slow disk is done in this time.
const IMPORT_LIMIT: Duration = Duration::from_secs(300);
/// How much of what the program printed is kept for the error.
const OUTPUT_MAX_BYTES: u64 = 4096;

/// Imports OCI and Docker archives through containerd's own client.
#[derive(Debug, Clone)]
pub struct Importer {
    program: PathBuf,
    socket: PathBuf,
}

impl Importer {
    /// An importer for the containerd at `endpoint` (`unix:///path`).
    pub fn new(endpoint: &str) -> Result<Self, Error> {
        Ok(Self { program: PathBuf::from("ctr"), socket: socket_path(endpoint)? })
    }

    /// Imports the archive in `file`.
    pub async fn import(&self, file: &Path) -> Result<(), Error> {
        let program = || self.program.display().to_string();
        let archive = std::fs::File::open(file).map_err(|source| Error::Program { program: program(), source })?;
        let mut child = Command::new(&self.program)
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", NAMESPACE, "images", "import", "-"])
            .stdin(Stdio::from(archive))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| Error::Program { program: program(), source })?;
        let mut printed = Vec::new();
        let stderr = child.stderr.take();
        let finished = async {
            if let Some(stderr) = stderr {
                stderr.take(OUTPUT_MAX_BYTES).read_to_end(&mut printed).await?;
            }
            child.wait().await
        };
        let exit = tokio::time::timeout(IMPORT_LIMIT, finished)
            .await
            .map_err(|_| Error::Timeout { call: "image import", limit: IMPORT_LIMIT })?
            .map_err(|source| Error::Program { program: program(), source })?;
        if exit.success() {
            return Ok(());
        }
        Err(Error::Import { output: String::from_utf8_lossy(&printed).trim().to_string() })
    }
}

/// The path in `unix:///path`.
pub(crate) fn socket_path(endpoint: &str) -> Result<PathBuf, Error> {
    match endpoint.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(Error::Endpoint { endpoint: endpoint.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unix_endpoints_are_taken() {
        assert_eq!(socket_path("unix:///run/c.sock").unwrap(), PathBuf::from("/run/c.sock"));
        for endpoint in ["", "/run/c.sock", "tcp://127.0.0.1:1", "unix://c.sock"] {
            assert!(socket_path(endpoint).is_err(), "{endpoint}");
        }
    }
}
