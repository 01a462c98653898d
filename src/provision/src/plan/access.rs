//! The operator's files about access to the API: the audit policy, and who is believed and permitted.

use super::carried::Carried;
use super::{Draft, View};
use crate::render::yaml;
use crate::secrets::{ACCESS_DIR, ENCRYPTION_FILE, access_files};

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

/// What the server is told of how objects are encrypted in its store; `None` where they are not.
pub(super) fn datastore(security: &inventory::cluster::Security) -> Option<String> {
    security.encryption_config.as_ref().map(|_| yaml(&serde_json::json!({"encryptionConfigFile": ENCRYPTION_FILE})))
}

/// What the server is told of how much a client may take; `None` where it goes by its own figures.
pub(super) fn limits(security: &inventory::cluster::Security) -> Option<String> {
    security.connections_per_address.map(|figure| yaml(&serde_json::json!({"connectionsPerAddress": figure})))
}

/// What the server is told of them, for its configuration; `None` where there are none.
pub(super) fn configuration(security: &inventory::cluster::Security) -> Option<String> {
    let files: serde_json::Map<String, serde_json::Value> =
        access_files(security).into_iter().map(|(key, path, _)| (key.to_owned(), path.into())).collect();
    (!files.is_empty()).then(|| yaml(&files))
}
