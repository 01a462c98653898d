//! The repository that the cluster follows: its credentials on the server, and what a change of it does to what is in
//! the cluster.

use super::carried::Carried;
use super::{Draft, View};
use crate::observe::Followed;
use crate::render::yaml;
use crate::secrets::GIT_DIR;

/// What was applied from a repository, by name.
const APPLIED: &str = "ConfigMap kube-system/rkctl-gitops-inventory";

const CREDENTIALS: Carried = Carried {
    folder: GIT_DIR,
    step: "gitops-auth",
    write: ["write the repository's credentials", "the server fetches the repository with them"],
    remove: ["remove credentials of a repository", "the inventory does not have them: nobody needs them here"],
    restart: "the repository's credentials change",
};

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) {
    changed(view, draft);
    CREDENTIALS.plan(view, draft);
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
    let file = |there: bool, name: &str| there.then(|| format!("{}/{name}", GIT_DIR));
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
