//! The operator's files about access to the API: the audit policy, and who is believed and permitted.

use super::carried::Carried;
use super::{Draft, View};
use crate::render::yaml;
use crate::secrets::{ACCESS_DIR, access_files};

const FILES: Carried = Carried {
    folder: ACCESS_DIR,
    step: "access-files",
    write: ["write the files about access to the API", "the API server goes by them"],
    remove: ["remove files about access to the API", "the inventory does not have them"],
    restart: "the files about access change",
};

pub(super) fn plan(view: &View<'_>, draft: &mut Draft<'_>) {
    FILES.plan(view, draft);
}

/// What the server is told of them, for its configuration; `None` where there are none.
pub(super) fn configuration(security: &inventory::cluster::Security) -> Option<String> {
    let files: serde_json::Map<String, serde_json::Value> =
        access_files(security).into_iter().map(|(key, path, _)| (key.to_owned(), path.into())).collect();
    (!files.is_empty()).then(|| yaml(&files))
}
