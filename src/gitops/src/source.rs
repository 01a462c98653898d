//! The commit that is followed, and the objects in it: the worker is asked for as many folders as rendering needs.

use std::collections::BTreeSet;

use git::{Commit, Folder};

use crate::render::{self, Rendered};
use crate::{Config, Error};

/// Each round reads the folders that the one before ran into; a kustomization that needs more is a maze.
const MAX_ROUNDS: usize = 64;

/// The commit that the reference means now.
pub async fn fetch(config: &Config) -> Result<Commit, Error> {
    Ok(config.worker.fetch(&config.url, &config.reference, &config.auth).await?)
}

/// The objects of a commit that was fetched.
pub async fn objects(config: &Config, commit: &str) -> Result<Vec<Rendered>, Error> {
    let folder = config.path.trim_matches('/').trim_start_matches("./").to_owned();
    let mut read = BTreeSet::from([Folder { path: folder.clone(), recursive: true }]);
    for _ in 0..MAX_ROUNDS {
        let asked: Vec<Folder> = read.iter().cloned().collect();
        let files = config.worker.read(&config.url, commit, &asked).await?;
        if files.missing.contains(&folder) {
            return Err(Error::Render(format!("the repository has no folder {folder}")));
        }
        if let Some(file) = files.too_large.iter().find(|file| render::is_manifest(file)) {
            return Err(Error::Render(format!("{file}: larger than {} MiB", git::MAX_FILE_BYTES >> 20)));
        }
        let rendering = render::render(&files.files, &folder, &read);
        if rendering.more.is_empty() {
            return rendering.result;
        }
        read.extend(rendering.more);
    }
    Err(Error::Render(format!("{folder}: needs more than {MAX_ROUNDS} folders elsewhere in the repository")))
}
