//! The host file: what a cluster is made of, as its operator writes it.
//!
//! [`load`] reads an inventory and answers a [`Cluster`] in which every default is filled in, ranges are expanded
//! and groups are merged, or every problem at once with file, line and column. Nothing here looks at a host,
//! and nothing here resolves a secret: secrets stay references until they are needed.

use std::path::{Path, PathBuf};

mod check;
pub mod cluster;
pub mod duration;
mod error;
mod file;
pub mod hostlist;
mod resolve;
mod schema;
mod secret;
mod support;
mod yaml;

pub use cluster::{
    Addon, Addons, Api, Become, Cluster, Datastore, Escalation, GitAuth, GitOps, Host, HostKeyPolicy, HostKeys,
    Network, Options, Prepare, Registry, Role, Security, Ssh, State, Taint, TaintEffect, Unreachable, Upgrade,
};
pub use error::{Error, Problem};
pub use schema::json_schema;
pub use secret::SecretRef;
pub use support::unsupported;

/// An inventory is small; a file above this many bytes is something else.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Reads and checks an inventory.
///
/// # Errors
/// [`Error::Read`] where the file cannot be read, [`Error::Invalid`] with every problem found in it.
pub fn load(path: impl AsRef<Path>) -> Result<Cluster, Error> {
    let path = path.as_ref();
    let read = |source| Error::Read { path: path.to_owned(), source };
    let size_bytes = std::fs::metadata(path).map_err(read)?.len();
    if size_bytes > MAX_FILE_BYTES {
        return Err(Error::TooLarge { path: path.to_owned(), limit_bytes: MAX_FILE_BYTES });
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    parse(&text, path)
}

/// Checks the text of an inventory; `path` is what messages name and what relative `file:` references start from.
///
/// # Errors
/// [`Error::Invalid`] with every problem found.
pub fn parse(text: &str, path: &Path) -> Result<Cluster, Error> {
    let raw: file::ClusterFile = yaml::from_str(text, path)?;
    let directory = path.parent().map_or_else(PathBuf::new, Path::to_owned);
    let mut problems = error::Problems::new(path);
    let cluster = resolve::resolve(&raw, &directory, &mut problems);
    problems.into_result(cluster)
}

#[cfg(test)]
mod tests;
