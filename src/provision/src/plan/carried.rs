//! Files that are carried to a host as they are, into a folder of their own: written where they are others, removed where
//! the inventory does not have them.

use super::{Action, Draft, View, Wave};
use crate::secrets::ENCRYPTION_FILE;

/// A folder of such files.
pub(super) struct Carried {
    /// `/etc/rkctl/access`.
    pub folder: &'static str,
    /// `access-files`.
    pub step: &'static str,
    /// What writing them is, and why.
    pub write: [&'static str; 2],
    /// What removing them is, and why.
    pub remove: [&'static str; 2],
    /// Why the server starts anew.
    pub restart: &'static str,
}

/// The folder goes with the last of its files.
const REMOVE: &str = "set -eu
rm -f -- \"$@\"
rmdir \"${1%/*}\" 2>/dev/null || true";

impl Carried {
    pub(super) fn plan(&self, view: &View<'_>, draft: &mut Draft<'_>) {
        self.write(view, draft);
        self.remove(view, draft);
    }

    fn holds(&self, path: &str) -> bool {
        path.strip_prefix(self.folder).is_some_and(|rest| rest.starts_with('/'))
    }

    fn write(&self, view: &View<'_>, draft: &mut Draft<'_>) {
        let wanted = view.release.git_files.iter().filter(|(path, _)| self.holds(path));
        let differs: Vec<&str> = wanted
            .filter(|(path, sha256)| view.facts.sha256(path) != Some(sha256))
            .map(|(path, _)| path.as_str())
            .collect();
        if differs.is_empty() {
            return;
        }
        let state =
            |path: &&str| format!("{path} {}", view.facts.sha256(path).map_or("missing", |_| "of other content"));
        let before: Vec<String> = differs.iter().map(state).collect();
        let [what, why] = self.write;
        draft
            .step(Wave::Host, self.step, what, why)
            .change(before.join(", "), differs.join(", "))
            .by(Action::Secrets { folder: self.folder });
        draft.restart("rkctl-server", self.restart);
    }

    fn remove(&self, view: &View<'_>, draft: &mut Draft<'_>) {
        let wanted = &view.release.git_files;
        let files = view.facts.files.keys();
        let is_left = |path: &&String| {
            // Keys by which objects were encrypted are not ours to throw away.
            self.holds(path) && !wanted.contains_key(*path) && *path != ENCRYPTION_FILE
        };
        let left: Vec<String> = files.filter(is_left).cloned().collect();
        if left.is_empty() {
            return;
        }
        let [what, why] = self.remove;
        draft.step(Wave::Host, self.step, what, why).change(left.join(", "), "missing").script(REMOVE, left);
    }
}
