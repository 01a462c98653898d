//! Fetching and reading of Git repositories, in a worker process that can be killed.
//!
//! libgit2 can hang for ever, so it is only ever called by [`worker`], in a process of its own. The parent speaks to
//! it with [`Worker`]: one request as JSON on its standard input, one answer on its standard output. Secrets are
//! named by their files and never stand in arguments, environment or answers. Nothing is known here of Kubernetes.
//!
//! libgit2 knows Git's protocol and reads local repositories; the way to other hosts is `transport`'s, by the TLS and
//! the SSH that the rest of the program has.

mod access;
mod process;
mod read;
mod remote;
mod repository;
mod request;
mod transport;
pub mod url;
pub mod worker;

pub use process::Worker;
pub use request::{Auth, Commit, Files, Folder, MAX_FILE_BYTES, MAX_TOTAL_BYTES};

/// Why a repository was not fetched or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The worker could not be started or spoken to.
    #[error("run the git worker {program}")]
    Worker {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The worker did not answer in time and was killed.
    #[error("{what}: no answer within {timeout_s} s; the worker was ended")]
    Timeout {
        /// What it was to do.
        what: String,
        /// How long it was given, in seconds.
        timeout_s: u64,
    },
    /// The worker ended without an answer.
    #[error("{what}: the git worker ended without an answer ({status}): {output}")]
    Died {
        /// What it was to do.
        what: String,
        /// Its exit status.
        status: String,
        /// The end of what it wrote on standard error.
        output: String,
    },
    /// The worker's answer is none.
    #[error("{what}: the git worker's answer cannot be understood")]
    Answer {
        /// What it was to do.
        what: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The repository could not be fetched or read, and why.
    #[error("{0}")]
    Failed(String),
    /// A URL that no repository can have, or one with a secret in it.
    #[error("{0}")]
    Url(String),
}
