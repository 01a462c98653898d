//! The binary copies itself where its hash differs, and is there as the CNI plugins.

use super::{Action, BINARY, Draft, View, Wave};
use crate::observe::Found;

/// What the runtime calls; the binary looks at the name it was called by. containerd wants a plugin of its own for
/// the loopback link.
const PLUGINS: [&str; 2] = ["/opt/cni/bin/rkctl-cni", "/opt/cni/bin/loopback"];
const LINK: &str = "mkdir -p \"${2%/*}\" && ln -sfn \"$1\" \"$2\"";

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) {
    copy(view, draft);
    for plugin in PLUGINS {
        let before = match view.facts.files.get(plugin) {
            Some(Found::Link(to)) if to == BINARY => continue,
            // The reference plugins' own does the same.
            Some(Found::File { .. }) if plugin.ends_with("/loopback") => continue,
            Some(Found::Link(to)) => format!("a link to {to}"),
            Some(Found::File { .. }) => "a file".to_owned(),
            None => "missing".to_owned(),
        };
        draft
            .step(Wave::Host, "cni-plugin", format!("link {plugin}"), "the runtime calls it for every pod")
            .change(before, format!("a link to {BINARY}"))
            .script(LINK, vec![BINARY.to_owned(), plugin.to_owned()]);
    }
}

fn copy(view: &View<'_>, draft: &mut Draft<'_>) {
    let found = view.facts.sha256(BINARY);
    if found == Some(&view.release.sha256) {
        return;
    }
    let short = |hash: &str| format!("sha256 {}", &hash[..hash.len().min(12)]);
    let reason = if found.is_some() { "it is another build" } else { "it is missing" };
    draft
        .step(Wave::Host, "binary", format!("copy rkctl {}", view.release.version), reason)
        .change(found.map_or_else(|| "missing".to_owned(), short), short(&view.release.sha256))
        .by(Action::CopyBinary { sha256: view.release.sha256.clone() });
    draft.restart("rkctl-server", "the binary changes");
    draft.restart("rkctl-agent", "the binary changes");
}
