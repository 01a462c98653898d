//! What follows the store: indexes that are filled by a list, kept up by a watch and filled again where the watch is
//! lost; and what is looked at anew whenever something changes.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::Duration;

use serde_json::Value;
use store::{Error, RangeOptions, Store, Watch, WatchItem};

use crate::live::decode;

/// How long a failing store is left alone before it is asked again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Waits until something has changed since a watch began, or for a while where not all is as it should be; false where
/// the store has ended. The watch begins before the objects are looked at, so that nothing is missed in between.
pub async fn changed(watch: Result<Box<dyn Watch>, Error>, is_settled: bool, retry_after: Duration) -> bool {
    let mut watch = match watch {
        Ok(watch) => watch,
        Err(Error::Closed) => return false,
        Err(_) => {
            tokio::time::sleep(retry_after).await;
            return true;
        }
    };
    let changed = async { while let Ok(WatchItem::Progress(_)) = watch.next().await {} };
    match is_settled {
        true => changed.await,
        false => drop(tokio::time::timeout(retry_after, changed).await),
    }
    true
}

/// Something that is computed from objects one by one.
pub trait Index: Default + Send + Sync + 'static {
    /// Under which keys the objects are.
    fn prefixes() -> Vec<String>;

    /// Takes in an object, in place of what its key had before; `None` where it is gone.
    fn set(&mut self, key: &str, object: Option<&Value>);

    /// Takes in an object of an index that others read. What takes long is done before the lock is taken, which
    /// requests read by.
    fn take_in(index: &RwLock<Self>, key: &str, object: Option<&Value>) {
        index.write().unwrap_or_else(PoisonError::into_inner).set(key, object);
    }
}

/// An index that is kept up as long as the store lives.
pub struct Followed<I>(Arc<RwLock<I>>);

impl<I> Clone for Followed<I> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<I: Index> Followed<I> {
    /// Fills an index and keeps it up in the background.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn start(store: &Arc<dyn Store>) -> Result<Self, Error> {
        let index = Arc::new(RwLock::new(I::default()));
        let watches = fill(store, &index).await?;
        tokio::spawn(follow(Arc::downgrade(store), index.clone(), watches));
        Ok(Self(index))
    }

    /// The index as it is; held for a moment only, never across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, I> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fill<I: Index>(store: &Arc<dyn Store>, index: &RwLock<I>) -> Result<Vec<Box<dyn Watch>>, Error> {
    let mut watches = Vec::new();
    let mut ranges = Vec::new();
    for prefix in I::prefixes() {
        let range = store.range(&prefix, RangeOptions::default()).await?;
        watches.push(store.watch(&prefix, Some(range.revision)).await?);
        ranges.push(range);
    }
    let mut filled = I::default();
    for entry in ranges.iter().flat_map(|range| &range.entries) {
        match decode(entry) {
            Ok(object) => filled.set(&entry.key, Some(&object)),
            Err(status) => tracing::error!("{status}"),
        }
    }
    *index.write().unwrap_or_else(PoisonError::into_inner) = filled;
    Ok(watches)
}

/// Follows until the store is closed.
async fn follow<I: Index>(store: Weak<dyn Store>, index: Arc<RwLock<I>>, mut watches: Vec<Box<dyn Watch>>) {
    loop {
        match drain(&index, &mut watches).await {
            Error::Closed => return,
            lost => tracing::info!("an index is filled again: {lost}"),
        }
        loop {
            let Some(store) = store.upgrade() else { return };
            match fill(&store, &index).await {
                Ok(filled) => break watches = filled,
                Err(Error::Closed) => return,
                Err(error) => tracing::error!("reading the store: {}", stdx::error::chain(&error)),
            }
            drop(store);
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}

/// Takes changes in until a watch ends; answers why it did.
async fn drain<I: Index>(index: &RwLock<I>, watches: &mut [Box<dyn Watch>]) -> Error {
    loop {
        let next = watches.iter_mut().map(|watch| watch.next());
        let (item, _, _) = futures::future::select_all(next).await;
        let event = match item {
            Ok(WatchItem::Event(event)) => event,
            Ok(WatchItem::Progress(_)) => continue,
            Err(error) => return error,
        };
        let Some(entry) = event.current.as_ref().or(event.previous.as_ref()) else { continue };
        let object = event.current.as_deref().map(decode).transpose();
        match object {
            Ok(object) => I::take_in(index, &entry.key, object.as_ref()),
            Err(status) => tracing::error!("{status}"),
        }
    }
}
