//! The repository that the cluster follows: its credentials on the server, and what a change of it does to what is in
//! the cluster.

use super::{Action, Draft, View, Wave};
use crate::observe::Followed;
use crate::render::yaml;

/// What was applied from a repository, by name.
const APPLIED: &str = "ConfigMap kube-system/rkctl-gitops-inventory";

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) {
    changed(view, draft);
    write_secrets(view, draft);
    forget_secrets(view, draft);
}

/// What becomes of the objects of a repository that the server was told to follow and the inventory does not name.
fn changed(view: &View<'_>, draft: &mut Draft<'_>) {
    let Some(old) = &view.facts.server_config.gitops else { return };
    let new = view.cluster.gitops.as_ref().map(|gitops| Followed {
        url: gitops.url.clone(),
        reference: gitops.reference.clone(),
        path: gitops.path.clone(),
    });
    match new {
        Some(new) if new == *old => {}
        Some(new) => draft.notice(
            format!("the cluster is to follow {new} instead of {old}: objects of the old one that the new one does not have are pruned"),
            "to keep some, first commit the annotation `rkctl.dev/prune: disabled` on them to the old one",
        ),
        None => draft.notice(
            format!("the cluster is to follow {old} no longer: its objects stay, and what is changed on them is not put right any more"),
            format!("{APPLIED} lists them; a repository that is followed later prunes those it does not have"),
        ),
    }
}

/// What the server is told of the repository, for its configuration.
pub(super) fn configuration(gitops: &inventory::GitOps) -> String {
    let file = |there: bool, name: &str| there.then(|| format!("{}/{name}", crate::secrets::GIT_DIR));
    yaml(&serde_json::json!({
        "url": gitops.url,
        "ref": gitops.reference,
        "path": gitops.path,
        "interval": inventory::duration::format(gitops.interval),
        "sshKeyFile": file(gitops.auth.ssh_key.is_some(), "ssh_key"),
        "knownHostsFile": file(gitops.auth.known_hosts.is_some(), "known_hosts"),
        "username": gitops.auth.username,
        "passwordFile": file(gitops.auth.password.is_some(), "password"),
    }))
}

const FORGET: &str = "set -eu
rm -f -- \"$@\"
rmdir /etc/rkctl/gitops 2>/dev/null || true";

/// Credentials that the inventory does not have, or no longer.
fn forget_secrets(view: &View<'_>, draft: &mut Draft<'_>) {
    let ours = |path: &&String| path.strip_prefix(crate::secrets::GIT_DIR).is_some_and(|rest| rest.starts_with('/'));
    let wanted = &view.release.git_files;
    let left: Vec<String> =
        view.facts.files.keys().filter(ours).filter(|path| !wanted.contains_key(*path)).cloned().collect();
    if left.is_empty() {
        return;
    }
    draft
        .step(
            Wave::Host,
            "gitops-auth",
            "remove credentials of a repository",
            "the inventory does not have them: nobody needs them here",
        )
        .change(left.join(", "), "missing")
        .script(FORGET, left);
}

fn write_secrets(view: &View<'_>, draft: &mut Draft<'_>) {
    let differs: Vec<&str> = view
        .release
        .git_files
        .iter()
        .filter(|(path, sha256)| path.starts_with(crate::secrets::GIT_DIR) && view.facts.sha256(path) != Some(sha256))
        .map(|(path, _)| path.as_str())
        .collect();
    if differs.is_empty() {
        return;
    }
    let state = |path: &&str| format!("{path} {}", view.facts.sha256(path).map_or("missing", |_| "of other content"));
    let before: Vec<String> = differs.iter().map(state).collect();
    draft
        .step(
            Wave::Host,
            "gitops-auth",
            "write the repository's credentials",
            "the server fetches the repository with them",
        )
        .change(before.join(", "), differs.join(", "))
        .by(Action::Secrets { folder: crate::secrets::GIT_DIR });
    draft.restart("rkctl-server", "the repository's credentials change");
}
