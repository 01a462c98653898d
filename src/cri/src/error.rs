//! What can go wrong between the agent and the runtime.

use std::time::Duration;

pub use tonic::Code;

/// A call to the container runtime that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is not of the form `unix:///path`.
    #[error("container runtime endpoint {endpoint:?} is not a Unix socket: write it as unix:///path/to/socket")]
    Endpoint {
        /// What was configured.
        endpoint: String,
    },
    /// The transport could not be set up.
    #[error("set up the connection to the container runtime")]
    Transport(#[source] tonic::transport::Error),
    /// The runtime answered with an error, or could not be reached.
    #[error("{call}: {}", status.message())]
    Call {
        /// The CRI method.
        call: &'static str,
        /// gRPC's answer.
        status: Box<tonic::Status>,
    },
    /// No answer in time.
    #[error("{call}: no answer from the container runtime within {} s", limit.as_secs())]
    Timeout {
        /// The CRI method.
        call: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The answer lacks what the interface promises.
    #[error("{call}: the container runtime's answer has no {field}")]
    Incomplete {
        /// The CRI method.
        call: &'static str,
        /// The missing field.
        field: &'static str,
    },
    /// `ctr` could not be run.
    #[error("run {program} to import an image: install containerd's command line client")]
    Program {
        /// The program's path.
        program: String,
        /// Why it did not start or could not be written to.
        #[source]
        source: std::io::Error,
    },
    /// `ctr` ran and failed.
    #[error("import an image archive: {output}")]
    Import {
        /// The last of what it printed.
        output: String,
    },
}

impl Error {
    /// The answer of a runtime that does not know a method.
    pub fn unimplemented(call: &'static str) -> Self {
        Self::refused(call, Code::Unimplemented, "unknown method")
    }

    /// An answer that says no.
    pub fn refused(call: &'static str, code: Code, message: &str) -> Self {
        Self::Call { call, status: Box::new(tonic::Status::new(code, message)) }
    }

    /// True where the runtime says that the sandbox, container or image does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Call { status, .. } if status.code() == tonic::Code::NotFound)
    }

    /// True where the runtime does not know the method at all.
    pub fn is_unimplemented(&self) -> bool {
        matches!(self, Error::Call { status, .. } if status.code() == tonic::Code::Unimplemented)
    }

    /// True where the runtime is not there: nothing listens, or it went away in the middle of the call.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Error::Call { status, .. } => status.code() == tonic::Code::Unavailable,
            Error::Transport(_) => true,
            _ => false,
        }
    }

    /// True where nothing came in time, here or at the runtime.
    pub fn is_timeout(&self) -> bool {
        match self {
            Error::Call { status, .. } => status.code() == tonic::Code::DeadlineExceeded,
            Error::Timeout { .. } => true,
            _ => false,
        }
    }
}
