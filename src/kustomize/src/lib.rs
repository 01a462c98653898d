//! Rendering of kustomizations from a virtual file tree, with kustomize's results.
//!
//! [`build`] reads `kustomization.yaml` and everything it names through a [`Tree`] and answers with objects. Nothing
//! here touches a disk or a network, runs a plugin or fetches a remote base; what is not supported is refused with
//! the file and the field. Built-in kinds are merged by their schemas, others as JSON merge patches.

mod build;
mod fieldspec;
mod generate;
mod hash;
mod images;
mod kustomization;
mod labels;
mod merge;
mod names;
mod patches;
mod references;
mod replacements;
mod resource;
mod select;
mod tree;

use serde_json::Value;

pub use resource::Id;
pub use tree::Tree;

/// Why a kustomization was not rendered. Every message names the file or folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder without a kustomization file, or a resource that is neither file nor such a folder.
    #[error("{0}")]
    Missing(String),
    /// A file that could not be read, or is no YAML.
    #[error("{file}: {message}")]
    File {
        /// Which file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// A field of a kustomization that is unknown, not supported or makes no sense.
    #[error("{file}: {field}: {message}")]
    Field {
        /// Which file.
        file: String,
        /// Which field: `images[0].newTag`.
        field: String,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// Two objects have the same group, kind, namespace and name.
    #[error("{file}: may not add resource with an already registered id: {id}")]
    Conflict {
        /// Where the second one came in.
        file: String,
        /// Which object.
        id: Box<Id>,
    },
    /// An object refers to a name that several objects have had.
    #[error("{referrer}: found multiple possible referrals for {name:?}")]
    Ambiguous {
        /// The object that refers.
        referrer: Box<Id>,
        /// The name it refers to.
        name: String,
    },
    /// More folders, objects or bytes than allowed.
    #[error("{file}: {message}")]
    TooLarge {
        /// Where the limit was reached.
        file: String,
        /// Which limit.
        message: String,
    },
}

/// Renders the kustomization in `folder` (a path in the tree; empty for its root) to objects, in the order of their
/// files.
///
/// # Errors
/// The first thing that is wrong; nothing is rendered in part.
pub fn build(tree: &dyn Tree, folder: &str) -> Result<Vec<Value>, Error> {
    build::build(tree, folder)
}

/// Whether a folder has a kustomization file, so that [`build`] and not its plain YAML is meant.
pub fn is_kustomization(tree: &dyn Tree, folder: &str) -> bool {
    tree::KUSTOMIZATION_FILES.iter().any(|name| tree.read(&tree::join(folder, name).unwrap_or_default()).is_some())
}

#[cfg(test)]
mod tests;
