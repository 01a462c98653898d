//! The operator's files about access to the API: the audit policy, and who is believed and permitted.

use super::{Action, Draft, View, Wave};
use crate::render::yaml;
use crate::secrets::{ACCESS_DIR, access_files};

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) {
    write(view, draft);
    forget(view, draft);
}

/// What the server is told of them, for its configuration; `None` where there are none.
pub(super) fn configuration(security: &inventory::cluster::Security) -> Option<String> {
    let files: serde_json::Map<String, serde_json::Value> =
        access_files(security).into_iter().map(|(key, path, _)| (key.to_owned(), path.into())).collect();
    (!files.is_empty()).then(|| yaml(&files))
}

fn is_ours(path: &str) -> bool {
    path.strip_prefix(ACCESS_DIR).is_some_and(|rest| rest.starts_with('/'))
}

fn write(view: &View<'_>, draft: &mut Draft<'_>) {
    let wanted = view.release.git_files.iter().filter(|(path, _)| is_ours(path));
    let differs: Vec<&str> = wanted
        .filter(|(path, sha256)| view.facts.sha256(path) != Some(sha256))
        .map(|(path, _)| path.as_str())
        .collect();
    if differs.is_empty() {
        return;
    }
    let state = |path: &&str| format!("{path} {}", view.facts.sha256(path).map_or("missing", |_| "of other content"));
    let before: Vec<String> = differs.iter().map(state).collect();
    draft
        .step(Wave::Host, "access-files", "write the files about access to the API", "the API server goes by them")
        .change(before.join(", "), differs.join(", "))
        .by(Action::Secrets { folder: ACCESS_DIR });
    draft.restart("rkctl-server", "the files about access change");
}

const FORGET: &str = "set -eu
rm -f -- \"$@\"
rmdir /etc/rkctl/access 2>/dev/null || true";

/// Files that the inventory does not have, or no longer.
fn forget(view: &View<'_>, draft: &mut Draft<'_>) {
    let wanted = &view.release.git_files;
    let files = view.facts.files.keys();
    let left: Vec<String> = files.filter(|path| is_ours(path) && !wanted.contains_key(*path)).cloned().collect();
    if left.is_empty() {
        return;
    }
    draft
        .step(Wave::Host, "access-files", "remove files about access to the API", "the inventory does not have them")
        .change(left.join(", "), "missing")
        .script(FORGET, left);
}
