//! Objects that are kept for some time only get that time when they are written. Those that were written before the
//! store knew of it get it here, once, or they would stay for ever.

use std::sync::Arc;
use std::time::Duration;

use api::registry::registry;
use async_trait::async_trait;
use futures::StreamExt as _;
use store::{Entry, Error, Precondition, RangeOptions, Store};

use super::objects::BoxError;
use crate::plugin::Bootstrap;
use crate::storage;

/// Objects of one read.
const PAGE: usize = 500;
/// Writes that wait for the store together.
const AT_ONCE: usize = 64;

/// Gives what is to go by itself its time.
pub struct Expiring(pub Arc<dyn Store>);

#[async_trait]
impl Bootstrap for Expiring {
    fn name(&self) -> &'static str {
        "rkctl/expiring-objects"
    }

    async fn bootstrap(&self, _: &kube::Client) -> Result<(), BoxError> {
        let kept = registry().resources().iter().filter(|resource| resource.storage.is_none());
        for (resource, ttl) in kept.filter_map(|resource| Some((resource, resource.behaviour.ttl()?))) {
            give(&*self.0, &storage::prefix(resource, ""), ttl).await?;
        }
        Ok(())
    }
}

async fn give(store: &dyn Store, prefix: &str, ttl: Duration) -> Result<(), Error> {
    let mut options = RangeOptions { limit: Some(PAGE), ..RangeOptions::default() };
    let mut given = 0;
    loop {
        let page = store.range(prefix, options.clone()).await?;
        let after = page.entries.last().map(|last| last.key.to_string());
        let endless = page.entries.into_iter().filter(|entry| entry.lease.is_none());
        let puts = endless.map(|Entry { key, value, mod_revision, .. }| async move {
            store.put_with_ttl(&key, value, Precondition::Revision(mod_revision), Some(ttl)).await
        });
        let mut puts = futures::stream::iter(puts).buffer_unordered(AT_ONCE);
        while let Some(put) = puts.next().await {
            match put {
                Ok(_) => given += 1,
                // Whoever wrote it meanwhile gave it its time, or it is gone.
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match after {
            Some(after) if page.remaining > 0 => options.after = Some(after),
            _ => break,
        }
    }
    if given > 0 {
        tracing::info!(prefix, given, "objects that were kept without end will go by themselves");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use store::embedded::{Embedded, Options};

    use super::*;

    #[tokio::test]
    async fn what_was_kept_without_end_gets_its_time_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Embedded::open(&folder.path().join("state.db"), Options::default()).expect("opens");
        let value = Bytes::from_static(b"{}");
        let hour = Some(Duration::from_secs(3600));
        let timed = store.put_with_ttl("/registry/events/default/new", value.clone(), Precondition::Absent, hour).await;
        let timed = timed.expect("is new");
        for number in 0..PAGE + 10 {
            let key = format!("/registry/events/default/{number:04}");
            store.put(&key, value.clone(), Precondition::Absent).await.expect("is new");
        }
        let other = "/registry/eventsources/default/x";
        store.put(other, value.clone(), Precondition::Absent).await.expect("is new");
        let own = Expiring(store.clone());
        let client = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().expect("a URL")));
        let client = client.expect("a client that asks nobody");
        own.bootstrap(&client).await.expect("given");
        let events = store.range("/registry/events/", RangeOptions::default()).await.expect("a list");
        assert_eq!(events.entries.len(), PAGE + 11);
        assert!(events.entries.iter().all(|entry| entry.lease.is_some() && entry.value == value));
        assert_eq!(store.get(&timed.key).await.expect("read"), Some(timed), "it has its time already");
        assert_eq!(store.get(other).await.expect("read").and_then(|entry| entry.lease), None);
        let revision = store.revision().await.expect("a revision");
        own.bootstrap(&client).await.expect("nothing to give");
        assert_eq!(store.revision().await.expect("a revision"), revision);
    }
}
