//! A host as those see it who act on it: something that runs commands and takes files.

use async_trait::async_trait;
use bytes::Bytes;

use crate::command::{Command, Output};
use crate::error::Error;
use crate::session::Session;
use crate::transfer::Upload;

/// A host that runs commands and takes files. [`Session`] is the real one; tests bring their own.
#[async_trait]
pub trait Remote: Send + Sync {
    /// What messages call the host.
    fn name(&self) -> &str;

    /// Runs a command to its end. A status other than 0 is an answer, not an error.
    async fn exec(&self, command: Command) -> Result<Output, Error>;

    /// Writes a file: whole or not at all, and durable when this returns.
    async fn upload(&self, upload: Upload) -> Result<(), Error>;

    /// Reads a file of at most `limit_bytes`.
    async fn download(&self, path: &str, limit_bytes: usize) -> Result<Bytes, Error>;

    /// Runs a command that must succeed: a status other than 0 is [`Error::Failed`] with the end of its standard error.
    async fn run(&self, command: Command) -> Result<Output, Error> {
        let summary = command.summary();
        let output = self.exec(command).await?;
        if output.success() {
            return Ok(output);
        }
        Err(Error::Failed {
            host: self.name().to_owned(),
            command: summary,
            status: output.status.clone(),
            stderr: output.error_text().into_owned(),
        })
    }
}

#[async_trait]
impl Remote for Session {
    fn name(&self) -> &str {
        Session::name(self)
    }

    async fn exec(&self, command: Command) -> Result<Output, Error> {
        Session::exec(self, command).await
    }

    async fn upload(&self, upload: Upload) -> Result<(), Error> {
        Session::upload(self, upload).await
    }

    async fn download(&self, path: &str, limit_bytes: usize) -> Result<Bytes, Error> {
        Session::download(self, path, limit_bytes).await
    }
}
