//! What GitOps tells of itself: the ConfigMap that `rkctl gitops` shows.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::{Error, NAMESPACE};

/// The ConfigMap that holds the status and is annotated to steer.
pub const STATUS_NAME: &str = "rkctl-gitops";
/// Where in the ConfigMap.
pub const STATUS_KEY: &str = "status.json";

/// How far the cluster is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// What is followed.
    pub url: String,
    /// Which branch, tag or commit of it.
    pub reference: String,
    /// Which folder of it.
    pub path: String,
    /// The commit that was last tried.
    pub last_attempted_commit: Option<String>,
    /// The commit the cluster was last made equal to.
    pub last_applied_commit: Option<String>,
    /// The first line of that commit's message.
    pub last_applied_subject: Option<String>,
    /// When something was last changed for it: RFC 3339, UTC.
    pub applied_at: Option<String>,
    /// The cluster is equal to the last commit, as far as is known.
    pub ready: bool,
    /// What was done last, in words.
    pub message: String,
    /// Why it is not ready, in words.
    pub error: Option<String>,
    /// Nothing is done until it is resumed.
    pub suspended: bool,
    /// How many objects are managed.
    pub objects: usize,
    /// The last value of the annotation that asks for a sync whose sync is over.
    pub last_handled_reconcile_at: Option<String>,
}

/// Reads the status out of its ConfigMap; one that was never written is the default.
///
/// # Errors
/// [`Error::Books`].
pub fn read(stored: &ConfigMap) -> Result<Status, Error> {
    let text = stored.data.as_ref().and_then(|data| data.get(STATUS_KEY));
    let parse = |text: &String| serde_json::from_str(text);
    text.map_or(Ok(Status::default()), parse).map_err(|source| Error::Books { name: STATUS_NAME, source })
}

/// The ConfigMap of a status, to be applied.
pub(crate) fn write(status: &Status) -> ConfigMap {
    config_map(STATUS_NAME, STATUS_KEY, serde_json::to_string_pretty(status).unwrap_or_default())
}

pub(crate) fn config_map(name: &str, key: &str, text: String) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(key.to_owned(), text)])),
        ..ConfigMap::default()
    }
}
