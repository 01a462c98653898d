//! The binary copies itself where its hash differs, and is there as the CNI plugin.

use super::{Action, BINARY, Draft, View, Wave};
use crate::observe::Found;

/// What the runtime calls; the binary looks at the name it was called by.
const PLUGIN: &str = "/opt/cni/bin/rkctl-cni";
const LINK: &str = "mkdir -p \"${2%/*}\" && ln -sfn \"$1\" \"$2\"";

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) {
    copy(view, draft);
    let before = match view.facts.files.get(PLUGIN) {
        Some(Found::Link(to)) if to == BINARY => return,
        Some(Found::Link(to)) => format!("-> {to}"),
        Some(Found::File { .. }) => "a file".to_owned(),
        None => "missing".to_owned(),
    };
    draft
        .step(Wave::Host, "cni-plugin", format!("link {PLUGIN}"), "the runtime calls it for every pod")
        .change(before, format!("-> {BINARY}"))
        .script(LINK, vec![BINARY.to_owned(), PLUGIN.to_owned()]);
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
        .by(Action::CopyBinary);
    draft.restart("rkctl-server", "the binary changes");
    draft.restart("rkctl-agent", "the binary changes");
}
