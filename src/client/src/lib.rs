//! How components speak to the API: the kube-rs client, shared informers, work queues, leader election, events.
//!
//! Components receive a [`Context`] and nothing else of the control plane. No component's own logic lives here.

use tokio_util::sync::CancellationToken;

pub mod apply;
pub mod discovery;
pub mod events;
#[cfg(test)]
mod fake;
pub mod informer;
pub mod leader;
pub mod list;
pub mod queue;

/// What every component is given.
#[derive(Clone)]
pub struct Context {
    /// For requests; over TLS or in-process, the component cannot tell.
    pub client: kube::Client,
    /// One shared informer a kind for the whole process.
    pub informers: informer::Informers,
    /// Cancelled when the process stops.
    pub shutdown: CancellationToken,
}

impl Context {
    /// A context whose informers read through `client` until `shutdown`.
    pub fn new(client: kube::Client, shutdown: CancellationToken) -> Self {
        let informers = informer::Informers::new(client.clone(), shutdown.clone());
        Self { client, informers, shutdown }
    }
}

/// What can go wrong when speaking to the API.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request was refused or did not get through.
    #[error("{what}")]
    Request {
        /// What was being done, and to what.
        what: String,
        /// kube-rs' account of it.
        #[source]
        source: ApiError,
    },
    /// An answer was not what it should be.
    #[error("decode {what}")]
    Decode {
        /// Which answer.
        what: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// An object lacks what is needed to send it.
    #[error("object without {0}: set it")]
    Incomplete(&'static str),
    /// The cluster serves no such kind.
    #[error("no resource for kind {kind} in {api_version}: is its CustomResourceDefinition installed?")]
    UnknownKind {
        /// `apps/v1`.
        api_version: String,
        /// `Deployment`.
        kind: String,
    },
}

/// An error of kube-rs whose text is said once: kube-rs repeats the Status in text and source alike.
#[derive(Debug)]
pub struct ApiError(pub kube::Error);

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            kube::Error::Api(status) => f.write_str(&status.message),
            other => write!(f, "{other}"),
        }
    }
}

impl std::error::Error for ApiError {}

impl Error {
    /// The HTTP status where the API answered with a Status.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Request { source: ApiError(kube::Error::Api(status)), .. } => Some(status.code),
            _ => None,
        }
    }

    /// Wraps an error of kube-rs with what was being done.
    pub fn request(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Request { what, source: ApiError(source) }
    }
}

/// Whether the object that was asked for is not there.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Whether the object had changed since it was read, or a new one exists already.
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Whether nothing more is created because its namespace is being deleted: trying again cannot help.
pub fn is_namespace_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Whether the object to create exists already.
pub fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
}
