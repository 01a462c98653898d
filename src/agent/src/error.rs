//! What stops the agent, or a pod on its way to running.

use std::path::PathBuf;

/// The agent's errors. Those of a single pod become its waiting reasons and events and never end the agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration file is not what it should be.
    #[error("read agent configuration {}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Where in the file, and what.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A setting that cannot be.
    #[error("agent configuration: {message}")]
    Setting {
        /// What and the remedy.
        message: String,
    },
    /// A file could not be read or written.
    #[error("{action} {}", path.display())]
    File {
        /// `write`, `read`, `create folder`, `mount`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The runtime did not do what was asked.
    #[error("container runtime")]
    Runtime(#[from] cri::Error),
    /// The API did not answer or refused.
    #[error("{action}")]
    Api {
        /// What was asked: `get ConfigMap default/web`.
        action: String,
        /// kube's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// There is no API to ask.
    #[error("{action}: this node has no API server")]
    Standalone {
        /// What was asked.
        action: String,
    },
    /// A key or certificate could not be made or read.
    #[error("{action}: {message}")]
    Certificate {
        /// What was being done.
        action: &'static str,
        /// What the library says.
        message: String,
    },
    /// A listening socket.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A pod waits for what was asked for it just now, which is no trouble yet.
    #[error("{0}")]
    Waiting(String),
    /// A pod asks for what cannot be given; the text is for its status.
    #[error("{0}")]
    Pod(String),
}

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { action, path, source }
    }

    /// True where the API says that the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Api { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if status.code == 404))
    }
}
