//! Import of image archives, which CRI itself has no call for.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
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
/// An archive goes through the pipe in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

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

    /// Imports the archive that `write` writes. It goes from one to the other without a file between, which would
    /// cost a slow disk as much as the import itself.
    ///
    /// # Errors
    /// [`Error::Import`] with what the program said; [`Error::Program`] where it cannot be run or `write` fails.
    pub async fn import<F>(&self, write: F) -> Result<(), Error>
    where
        F: FnOnce(&mut dyn Write) -> std::io::Result<()> + Send + 'static,
    {
        let failed = |source| Error::Program { program: self.program.display().to_string(), source };
        let mut child = Command::new(&self.program)
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", NAMESPACE, "images", "import", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdin = child.stdin.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        let stdin = std::fs::File::from(stdin.into_owned_fd().map_err(failed)?);
        let writing = tokio::task::spawn_blocking(move || {
            let mut stdin = BufWriter::with_capacity(PIECE_BYTES, stdin);
            write(&mut stdin).and_then(|()| stdin.flush())
        });
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
            .map_err(failed)?;
        if !exit.success() {
            return Err(Error::Import { output: String::from_utf8_lossy(&printed).trim().to_string() });
        }
        writing.await.map_err(std::io::Error::other).flatten().map_err(failed)
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
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// An importer whose program is this shell script.
    fn importer(folder: &std::path::Path, script: &str) -> Importer {
        let program = folder.join("ctr");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Importer { program, socket: PathBuf::from("/run/c.sock") }
    }

    #[tokio::test]
    async fn the_program_reads_what_is_written_and_its_complaint_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        let taking = importer(folder.path(), &format!("cat >{}", copy.display()));
        let archive = vec![7_u8; 3 * PIECE_BYTES + 1];
        let written = archive.clone();
        taking.import(move |out| out.write_all(&written)).await.unwrap();
        assert_eq!(std::fs::read(&copy).unwrap(), archive);

        let error = taking.import(|_| Err(std::io::Error::other("no such binary"))).await.unwrap_err();
        assert!(matches!(error, Error::Program { .. }), "{error}");

        // It ends before it has read everything: what it says counts, not the broken pipe.
        let refusing = importer(folder.path(), "echo 'no room' >&2; exit 1");
        let error = refusing.import(move |out| out.write_all(&vec![0; 8 << 20])).await.unwrap_err();
        assert!(matches!(&error, Error::Import { output } if output == "no room"), "{error}");
    }

    #[test]
    fn only_unix_endpoints_are_taken() {
        assert_eq!(socket_path("unix:///run/c.sock").unwrap(), PathBuf::from("/run/c.sock"));
        for endpoint in ["", "/run/c.sock", "tcp://127.0.0.1:1", "unix://c.sock"] {
            assert!(socket_path(endpoint).is_err(), "{endpoint}");
        }
    }
}
