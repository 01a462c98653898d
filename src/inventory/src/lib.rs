//! The host file: what a cluster is made of, as its operator writes it.
//!
//! [`load`] reads an inventory and answers a [`Cluster`] in which every default is filled in, ranges are expanded
//! and groups are merged, or every problem at once with file, line and column. Nothing here looks at a host,
//! and nothing here resolves a secret: secrets stay references until they are needed.

use std::io::Read as _;
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

/// An inventory is small; a file above this many bytes is something else.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Reads and checks an inventory.
///
/// # Errors
/// [`Error::Read`] where the file cannot be read, [`Error::Invalid`] with every problem found in it.
pub fn load(path: impl AsRef<Path>) -> Result<Cluster, Error> {
    let path = path.as_ref();
    parse(&read(path)?, path)
}

/// As [`load`], and refuses what rkctl of version `own` cannot carry out.
///
/// # Errors
/// As [`load`].
pub fn load_for(own: &str, path: impl AsRef<Path>) -> Result<Cluster, Error> {
    let path = path.as_ref();
    check(&read(path)?, path, Some(own))
}

fn read(path: &Path) -> Result<String, Error> {
    let wrong = |source| Error::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // What is no file in the end, such as a pipe, has no size that could be asked for before.
    let file = std::fs::File::open(path).map_err(wrong)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::TooLarge { path: path.to_owned(), limit_bytes: MAX_FILE_BYTES });
    }
    yaml::text(bytes, path)
}

/// Checks the text of an inventory; `path` is what messages name and what relative `file:` references start from.
///
/// # Errors
/// [`Error::Invalid`] with every problem found.
pub fn parse(text: &str, path: &Path) -> Result<Cluster, Error> {
    check(text, path, None)
}

fn check(text: &str, path: &Path, own: Option<&str>) -> Result<Cluster, Error> {
    let raw: file::ClusterFile = yaml::from_str(text, path)?;
    let directory = path.parent().map_or_else(PathBuf::new, Path::to_owned);
    let mut problems = error::Problems::new(path);
    let cluster = resolve::resolve(&raw, &directory, &mut problems);
    if let Some(own) = own {
        support::check(&raw, &cluster, own, &mut problems);
    }
    problems.into_result(cluster)
}

#[cfg(test)]
mod tests;
