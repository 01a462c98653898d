//! Files that must have a certain content.

use sha2::{Digest, Sha256};

use super::{Action, Draft, View, Wave};
use crate::observe::Found;

/// A file that must be there.
pub(super) struct Wanted<'a> {
    pub id: &'static str,
    pub wave: Wave,
    pub path: &'a str,
    pub mode: u32,
    pub content: String,
    /// What it is for.
    pub purpose: &'a str,
    /// Run after it was written.
    pub then: Option<&'static str>,
}

/// Adds a step where the file differs; answers whether it does.
pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>, wanted: Wanted<'_>) -> bool {
    let sha256 = hex::encode(Sha256::digest(&wanted.content));
    let short = |hash: &str| format!("sha256 {}", &hash[..hash.len().min(12)]);
    let (reason, before) = match view.facts.files.get(wanted.path) {
        Some(Found::File { sha256: found, mode, .. }) if *found == sha256 => {
            if *mode == wanted.mode {
                return false;
            }
            ("its mode differs".to_owned(), format!("mode {mode:o}"))
        }
        Some(Found::File { sha256: found, .. }) => ("its content differs".to_owned(), short(found)),
        Some(Found::Link(to)) => ("it is a link".to_owned(), format!("a link to {to}")),
        None => ("it is missing".to_owned(), "missing".to_owned()),
    };
    draft
        .step(wanted.wave, wanted.id, format!("write {}", wanted.path), format!("{}: {reason}", wanted.purpose))
        .change(before, format!("{}, mode {:o}", short(&sha256), wanted.mode))
        .by(Action::Write {
            path: wanted.path.to_owned(),
            content: wanted.content,
            mode: wanted.mode,
            then: wanted.then,
        });
    true
}

/// Whether one of the files was changed after the unit started: the run that changed it did not get to the restart.
pub(super) fn changed_since_start(view: &View<'_>, unit: &str, paths: &[&str]) -> Option<String> {
    let unit = view.facts.unit(unit);
    if !unit.is_active() || unit.since_s == 0 {
        return None;
    }
    let newer = paths.iter().find(|path| view.facts.modified_s(path).is_some_and(|at| at > unit.since_s))?;
    Some(format!("{newer} is newer than the running process"))
}
