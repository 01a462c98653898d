//! Files to and from a host, over the session's own channels: no SFTP server is asked for, so that sudo works.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::command::Command;
use crate::error::Error;
use crate::process::Stdin;
use crate::remote::Remote;
use crate::session::Session;

/// Size of the pieces a file is read and sent in; the channel cuts them to the server's packet size.
const PIECE_BYTES: usize = 256 << 10;

/// Writes standard input beside the target, checks it, and puts it in place in one step. What is
/// interrupted leaves the target as it was and nothing beside it.
const RECEIVE: &str = r#"set -eu
target=$1 mode=$2 owner=$3 want=$4
if [ -d "$target" ]; then echo "it is a directory" >&2; exit 64; fi
case $target in */*) dir=${target%/*}/ ;; *) dir=./ ;; esac
[ -d "$dir" ] || (umask 022 && mkdir -p "$dir")
umask 077
temp=$(mktemp "$dir.rkctl.XXXXXXXX")
trap 'rm -f "$temp"' EXIT
trap 'exit 1' HUP INT TERM PIPE
cat >"$temp"
have=$(sha256sum <"$temp")
have=${have%% *}
if [ "$have" != "$want" ]; then echo "it arrived with sha256 $have instead of $want" >&2; exit 65; fi
if [ -n "$owner" ]; then chown "$owner" "$temp"; fi
chmod "$mode" "$temp"
sync "$temp" 2>/dev/null || sync
mv -f "$temp" "$target"
trap - EXIT
sync "$dir" 2>/dev/null || sync
"#;

/// What is sent.
#[derive(Debug, Clone)]
pub enum Content {
    /// These bytes.
    Bytes(Bytes),
    /// The content of a local file, read while it is sent.
    File(PathBuf),
}

/// A file to write on a host.
#[derive(Debug, Clone)]
pub struct Upload {
    /// What is sent.
    pub content: Content,
    /// Where it goes; missing folders are made (0755).
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// `user` or `user:group`, as chown takes it; the user who writes when absent.
    pub owner: Option<String>,
}

impl Upload {
    /// `bytes` at `path` with permission bits `mode`.
    pub fn bytes(bytes: impl Into<Bytes>, path: impl Into<String>, mode: u32) -> Self {
        Self { content: Content::Bytes(bytes.into()), path: path.into(), mode, owner: None }
    }

    /// The local file `from` at `path` with permission bits `mode`.
    pub fn file(from: impl Into<PathBuf>, path: impl Into<String>, mode: u32) -> Self {
        Self { content: Content::File(from.into()), path: path.into(), mode, owner: None }
    }

    /// Gives the file to `owner`: `user` or `user:group`.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }
}

impl Session {
    /// Writes a file: whole or not at all, checked by its SHA-256, durable (fsync) when this returns.
    pub async fn upload(&self, upload: Upload) -> Result<(), Error> {
        let Upload { content, path, mode, owner } = upload;
        let digest = match &content {
            Content::Bytes(bytes) => hex::encode(Sha256::digest(bytes)),
            Content::File(path) => hash_file(path.clone()).await?,
        };
        let command =
            Command::new(RECEIVE).arg(&path).arg(format!("{mode:o}")).arg(owner.unwrap_or_default()).arg(digest);
        let mut process = self.start(&command).await?;
        let input = process.stdin();
        let mut said = Vec::new();
        let sending = async move {
            match content {
                Content::Bytes(bytes) => input.write(bytes).await?,
                Content::File(path) => send_file(&input, &path).await?,
            }
            input.close().await
        };
        let collect = |event: &crate::process::Event| {
            if let crate::process::Event::Stderr(data) = event {
                const SAID_LIMIT_BYTES: usize = 4 << 10;
                said.extend_from_slice(&data[..data.len().min(SAID_LIMIT_BYTES.saturating_sub(said.len()))]);
            }
            Ok(())
        };
        let limit = self.exec_timeout();
        let ended = match timeout(limit, process.feed(sending, collect)).await {
            Ok(ended) => ended,
            Err(_) => {
                let (host, command) = (self.name().to_owned(), format!("upload of {path}"));
                Err(Error::ExecTimeout { host, command, timeout_ms: limit.as_millis() })
            }
        };
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let said = String::from_utf8_lossy(&said).trim().replace('\n', " | ");
                let reason = if said.is_empty() { format!("the host's shell {status}") } else { said };
                Err(Error::Upload { host: self.name().to_owned(), path, reason })
            }
            Err(error) => {
                process.kill().await;
                Err(error)
            }
        }
    }

    /// Reads a file of at most `limit_bytes`.
    pub async fn download(&self, path: &str, limit_bytes: usize) -> Result<Bytes, Error> {
        let command = Command::new("cat <\"$1\"").arg(path).output_limit_bytes(limit_bytes);
        Ok(Bytes::from(self.run(command).await?.stdout))
    }
}

async fn hash_file(path: PathBuf) -> Result<String, Error> {
    let result = tokio::task::spawn_blocking({
        let path = path.clone();
        move || -> std::io::Result<String> {
            let mut file = File::open(&path)?;
            let mut hash = Sha256::new();
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                match file.read(&mut piece)? {
                    0 => return Ok(hex::encode(hash.finalize())),
                    length => hash.update(&piece[..length]),
                }
            }
        }
    })
    .await;
    result.map_err(std::io::Error::other).flatten().map_err(|source| Error::LocalFile { path, source })
}

async fn send_file(input: &Stdin, path: &Path) -> Result<(), Error> {
    let failed = |source| Error::LocalFile { path: path.to_owned(), source };
    let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
    loop {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        if file.read_buf(&mut piece).await.map_err(failed)? == 0 {
            return Ok(());
        }
        input.write(piece.freeze()).await?;
    }
}
