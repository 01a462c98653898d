//! Values that were kept with an earlier key, or none, are written anew once the server has started: after that, and
//! when etcd is compacted, the earlier key can go. Watchers see such a write as a change to the same.

use std::sync::Weak;
use std::time::Duration;

use stdx::backoff::Backoff;

use super::Etcd;
use crate::{Entry, Error};

/// How long a cluster that does not take a write is left alone, at first and at most.
const RETRY_AFTER: Duration = Duration::from_millis(100);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Writes each as it is now, where nobody else has meanwhile; until all are written.
pub(super) async fn keep_anew(store: Weak<Etcd>, stale: Vec<Entry>) {
    let count = stale.len();
    let mut backoff = Backoff::new(RETRY_AFTER, RETRY_AFTER_MAX);
    for (done, Entry { key, value, mod_revision, .. }) in stale.into_iter().enumerate() {
        loop {
            // Held for one write only: a store that is not used any more ends meanwhile.
            let Some(store) = store.upgrade() else { return };
            match store.put_anew(&key, value.clone(), mod_revision).await {
                // Whoever changed it has written it with a key of today.
                Ok(_) | Err(Error::Conflict { .. }) => break,
                Err(error) => tracing::warn!(
                    key = &*key,
                    left = count - done,
                    "cannot be encrypted anew, tried again: {}",
                    stdx::error::chain(&error)
                ),
            }
            drop(store);
            tokio::time::sleep(backoff.next_delay()).await;
        }
        backoff.reset();
    }
    tracing::info!(count, "values were encrypted anew");
}
