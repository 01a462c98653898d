//! Files of a commit, straight from the object database: nothing is checked out. Runs in the worker only.

use std::collections::BTreeSet;

use git2::{ObjectType, Oid, Repository, Tree};

use crate::Error;
use crate::repository::failed;
use crate::request::{Files, Folder, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES};

/// A symbolic link's mode; links are passed over, as they could lead out of the repository.
const LINK: i32 = 0o120_000;
/// Folders in folders; deeper is refused.
const MAX_DEPTH: usize = 64;

struct Reader<'a> {
    repository: &'a Repository,
    files: Files,
    total_bytes: usize,
}

/// Reads `folders` of `commit`.
pub(crate) fn folders(repository: &Repository, commit: &str, folders: &[Folder]) -> Result<Files, Error> {
    let what = format!("read commit {commit}");
    let root = Oid::from_str(commit)
        .and_then(|id| repository.find_commit(id))
        .and_then(|commit| commit.tree())
        .map_err(failed(&what))?;
    let mut reader = Reader { repository, files: Files::default(), total_bytes: 0 };
    for folder in folders {
        let path = folder.path.trim_matches('/');
        let tree = if path.is_empty() {
            Some(root.clone())
        } else {
            let entry = root.get_path(std::path::Path::new(path)).ok();
            entry.and_then(|entry| repository.find_tree(entry.id()).ok())
        };
        match tree {
            Some(tree) => reader.tree(&tree, path, folder.recursive, 0)?,
            None => reader.files.missing.push(folder.path.clone()),
        }
    }
    let unique: BTreeSet<String> = std::mem::take(&mut reader.files.too_large).into_iter().collect();
    reader.files.too_large = unique.into_iter().collect();
    Ok(reader.files)
}

impl Reader<'_> {
    fn tree(&mut self, tree: &Tree<'_>, folder: &str, recursive: bool, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::Failed(format!("{folder}: more than {MAX_DEPTH} folders deep")));
        }
        for entry in tree {
            // A name that is no UTF-8 cannot be named in YAML either.
            let Ok(name) = entry.name() else { continue };
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            match entry.kind() {
                Some(ObjectType::Blob) if entry.filemode() != LINK => self.file(path, entry.id())?,
                Some(ObjectType::Tree) if recursive => {
                    let inner = self.repository.find_tree(entry.id()).map_err(failed(&path))?;
                    self.tree(&inner, &path, true, depth + 1)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, path: String, id: Oid) -> Result<(), Error> {
        if self.files.files.contains_key(&path) {
            return Ok(());
        }
        let (size_bytes, _) =
            self.repository.odb().and_then(|odb| odb.read_header(id)).map_err(failed(format!("read {path}")))?;
        if size_bytes > MAX_FILE_BYTES {
            self.files.too_large.push(path);
            return Ok(());
        }
        self.total_bytes += size_bytes;
        if self.total_bytes > MAX_TOTAL_BYTES || self.files.files.len() >= MAX_FILES {
            return Err(Error::Failed(format!(
                "{path}: the folder holds more than {MAX_FILES} files or {} MiB: point gitops.path to the manifests alone",
                MAX_TOTAL_BYTES >> 20
            )));
        }
        let blob = self.repository.find_blob(id).map_err(failed(format!("read {path}")))?;
        self.files.files.insert(path, blob.content().to_vec());
        Ok(())
    }
}
