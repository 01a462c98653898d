//! Values that were kept with an earlier key, or none, are written anew once the server has started: after that, and
//! when etcd is compacted, the earlier key can go. Watchers see such a write as a change to the same.

use std::sync::Weak;

use super::Etcd;
use crate::{Entry, Error, Precondition, Store};

/// Writes each as it is now, where nobody else has meanwhile.
pub(super) async fn keep_anew(store: Weak<Etcd>, stale: Vec<Entry>) {
    let count = stale.len();
    for Entry { key, value, mod_revision, .. } in stale {
        let Some(store) = store.upgrade() else { return };
        match store.put(&key, value, Precondition::Revision(mod_revision)).await {
            // Whoever changed it has written it with a key of today.
            Ok(_) | Err(Error::Conflict { .. }) => {}
            Err(error) => {
                tracing::error!(key = &*key, "cannot be encrypted anew: {}", stdx::error::chain(&error));
                return;
            }
        }
    }
    tracing::info!(count, "values were encrypted anew");
}
