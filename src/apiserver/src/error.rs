//! Why a server does not start or cannot go on. What clients see is [`crate::status::Status`].

use std::path::PathBuf;

/// Why a server does not start or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of certificates or keys cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of certificates or keys does not hold what it should.
    #[error("{path}: {detail}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The audit log cannot be written.
    #[error("opening the audit log {path}")]
    AuditLog {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key does not fit its certificate, or TLS refuses the configuration.
    #[error("setting up TLS")]
    Tls(#[from] rustls::Error),
    /// The address is taken or not ours.
    #[error("listening on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The CustomResourceDefinitions cannot be read while the server starts.
    #[error("reading the CustomResourceDefinitions: {0}")]
    Definitions(String),
    /// The store failed while the server started.
    #[error("reading the store")]
    Store(#[from] store::Error),
}
