//! Keeps a cache equal to the server: list in pages, watch from the list's revision, resume where a watch ended,
//! list again only where the server has forgotten the revision.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Request;
use serde::Deserialize;
use serde_json::value::RawValue;
use stdx::backoff::Backoff;
use tokio_util::sync::CancellationToken;

use super::cache::{Cache, Cached};
use crate::{ApiError, Error};

/// Objects a page of a list: bounds the size of one answer, few enough pages for the largest clusters.
const PAGE_OBJECTS: u32 = 500;
/// How long the server keeps a watch open before it ends it in good order.
const WATCH_SECONDS: u32 = 285;
/// A watch that outlives the server's own limit by this much is on a dead connection.
const WATCH_DEAD_AFTER: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 30);
/// First and longest pause between attempts.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));

/// What is listed and watched.
pub struct Source {
    pub client: kube::Client,
    /// `/api/v1/pods`.
    pub path: String,
    /// Empty for everything.
    pub field_selector: String,
}

/// A list of which only the envelope is decoded, so that one bad object does not hide the others.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Option<Vec<Box<RawValue>>>,
}

/// Why a watch ended.
#[derive(Debug, PartialEq)]
enum End {
    /// In good order, or by a lost connection after at least one event: resume.
    Resume,
    /// Without a single event: resume after a pause.
    Failed,
    /// The server has forgotten the revision: list again.
    Expired,
}

/// Follows the source until `stop`.
pub async fn run<K: Cached>(source: Source, cache: Arc<Cache<K>>, stop: CancellationToken) {
    let follow = follow(&source, &cache);
    tokio::select! {
        () = follow => {}
        () = stop.cancelled() => {}
    }
}

async fn follow<K: Cached>(source: &Source, cache: &Cache<K>) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1).with_jitter(0.5);
    let mut revision: Option<String> = None;
    loop {
        let from = match revision.take() {
            Some(revision) => revision,
            None => match source.list().await {
                Ok((objects, listed)) => {
                    cache.replace(objects);
                    listed
                }
                Err(error) => {
                    tracing::warn!(path = source.path, error = stdx::error::chain(&error), "cannot list; will retry");
                    tokio::time::sleep(backoff.next_delay()).await;
                    continue;
                }
            },
        };
        let (end, reached) = source.watch(cache, from).await;
        match end {
            End::Resume => {
                backoff.reset();
                revision = Some(reached);
            }
            End::Failed => {
                revision = Some(reached);
                tokio::time::sleep(backoff.next_delay()).await;
            }
            End::Expired => {
                tracing::debug!(path = source.path, revision = reached, "revision expired; listing again");
                // A server that answers 410 at once for a fresh list must not be asked in a tight loop.
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

impl Source {
    /// Every object, and the revision of the list.
    async fn list<K: Cached>(&self) -> Result<(Vec<K>, String), Error> {
        let mut objects = Vec::new();
        let mut params = ListParams { limit: Some(PAGE_OBJECTS), ..ListParams::default() };
        if !self.field_selector.is_empty() {
            params = params.fields(&self.field_selector);
        }
        loop {
            let what = || format!("list {}", self.path);
            let request = Request::new(self.path.as_str())
                .list(&params)
                .map_err(|source| Error::request(what())(kube::Error::BuildRequest(source)))?;
            let text = match self.client.request_text(request).await {
                Ok(text) => text,
                // The revision of the first page is gone: what was read so far is worthless.
                Err(kube::Error::Api(status)) if status.code == 410 && params.limit.is_some() => {
                    objects.clear();
                    params.limit = None;
                    params.continue_token = None;
                    continue;
                }
                Err(error) => return Err(Error::request(what())(error)),
            };
            let page: Page = serde_json::from_str(&text).map_err(|source| Error::Decode { what: what(), source })?;
            for raw in page.items.into_iter().flatten() {
                match serde_json::from_str::<K>(raw.get()) {
                    Ok(object) => objects.push(object),
                    Err(error) => tracing::warn!(path = self.path, %error, "an object does not decode; ignored"),
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok((objects, page.metadata.resource_version.unwrap_or_default())),
            }
        }
    }

    /// Follows changes after `revision`; why it ended, and the revision reached.
    async fn watch<K: Cached>(&self, cache: &Cache<K>, mut revision: String) -> (End, String) {
        let mut params = WatchParams::default().timeout(WATCH_SECONDS);
        if !self.field_selector.is_empty() {
            params = params.fields(&self.field_selector);
        }
        let opened = match Request::new(self.path.as_str()).watch(&params, &revision) {
            Ok(mut request) => {
                // kube-rs marks watches so, which exempts them from the client's read timeout.
                request.extensions_mut().insert("watch");
                self.client.request_events::<K>(request).await
            }
            Err(error) => Err(kube::Error::BuildRequest(error)),
        };
        let mut events = match opened {
            Ok(events) => events.boxed(),
            Err(kube::Error::Api(status)) if status.code == 410 => return (End::Expired, revision),
            Err(error) => {
                tracing::warn!(path = self.path, error = %ApiError(error), "cannot watch; will retry");
                return (End::Failed, revision);
            }
        };
        let mut end = End::Failed;
        loop {
            let event = match tokio::time::timeout(WATCH_DEAD_AFTER, events.next()).await {
                Ok(Some(event)) => event,
                Ok(None) | Err(_) => return (end, revision),
            };
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    advance(&mut revision, object.metadata().resource_version.as_deref());
                    cache.upsert(object);
                }
                Ok(WatchEvent::Deleted(object)) => {
                    advance(&mut revision, object.metadata().resource_version.as_deref());
                    cache.remove(object);
                }
                Ok(WatchEvent::Bookmark(mark)) => advance(&mut revision, Some(&mark.metadata.resource_version)),
                Ok(WatchEvent::Error(status)) if status.code == 410 => return (End::Expired, revision),
                Err(kube::Error::Api(status)) if status.code == 410 => return (End::Expired, revision),
                Ok(WatchEvent::Error(status)) => {
                    tracing::warn!(path = self.path, error = status.message, "watch failed; will retry");
                    return (End::Failed, revision);
                }
                Err(kube::Error::SerdeError(error)) => {
                    tracing::warn!(path = self.path, %error, "an object does not decode; ignored");
                }
                Err(error) => {
                    tracing::debug!(path = self.path, error = %ApiError(error), "watch broke; will resume");
                    return (end, revision);
                }
            }
            end = End::Resume;
        }
    }
}

fn advance(revision: &mut String, to: Option<&str>) {
    if let Some(to) = to.filter(|to| !to.is_empty()) {
        to.clone_into(revision);
    }
}
