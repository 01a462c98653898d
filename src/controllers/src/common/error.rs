//! The errors of this crate.

use std::path::PathBuf;

/// What can go wrong in a controller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the API failed.
    #[error(transparent)]
    Api(#[from] client::Error),
    /// A file that the controllers were told to use cannot be read.
    #[error("read {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key is not as it should be.
    #[error(transparent)]
    Certificate(#[from] pki::Error),
    /// The key of service accounts is of no use.
    #[error("{} holds no private P-256 or RSA key to sign tokens with", path.display())]
    SigningKey {
        /// Which file.
        path: PathBuf,
    },
    /// A token could not be signed.
    #[error("sign the token of {object}")]
    Sign {
        /// `Secret web/robot`.
        object: String,
        /// Why.
        #[source]
        source: jsonwebtoken::errors::Error,
    },
    /// An object cannot be acted on as it is; its author must change it.
    #[error("{object}: {problem}")]
    Object {
        /// `Deployment web/front`.
        object: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A controller cannot go on.
    #[error("controller {name}")]
    Controller {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A controller's code is wrong.
    #[error("a controller panicked")]
    Panicked,
}

/// Turns an error of kube-rs into one that says what was being done.
pub fn doing(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let wrap = client::Error::request(what);
    move |source| Error::Api(wrap(source))
}

/// What the API server answered, without what was being done: events and conditions say that themselves.
pub fn cause(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| stdx::error::chain(error), stdx::error::chain)
}
