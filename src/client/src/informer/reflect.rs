//! Keeps a cache equal to the server: list in pages, watch from the list's revision, resume where a watch ended,
//! list again only where the server has forgotten the revision.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{AsyncBufReadExt, StreamExt};
use http::HeaderValue;
use http::header::ACCEPT;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status};
use kube::api::{ListParams, WatchParams};
use kube::core::Request;
use serde::Deserialize;
use serde_json::value::RawValue;
use stdx::backoff::Backoff;
use tokio_util::sync::CancellationToken;

use super::cache::{Cache, Cached};
use super::quiet::Quiet;
use crate::{ApiError, Error, list};

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
    /// What all informers of the process have said of their troubles.
    pub quiet: Arc<Quiet>,
}

/// A line of a watch, whose object is decoded when its type is known.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    type_: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// A bookmark carries a revision and nothing else.
#[derive(Deserialize)]
struct Bookmark {
    metadata: ObjectMeta,
}

/// What a line of a watch says.
enum Said<K> {
    Upserted(K),
    Removed(K),
    Reached(String),
    Refused(Box<Status>),
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
                    // The error itself names the path, which is another for each informer.
                    let cause = std::error::Error::source(&error);
                    let cause = cause.map_or_else(|| error.to_string(), stdx::error::chain);
                    source.complain(&cause, "cannot list; will retry");
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
    /// Warns, unless another informer had the same trouble a moment ago.
    fn complain(&self, error: &str, what: &str) {
        match self.quiet.tell(error, Instant::now()) {
            Some(0) => tracing::warn!(path = self.path, error, "{what}"),
            Some(others) => tracing::warn!(path = self.path, error, others, "{what}"),
            None => tracing::debug!(path = self.path, error, "{what}"),
        }
    }

    /// Every object, and the revision of the list.
    async fn list<K: Cached>(&self) -> Result<(Vec<K>, String), Error> {
        let mut objects = Vec::new();
        let accept = K::ACCEPT.map(|accept| accept.list);
        let mut params = ListParams { limit: Some(PAGE_OBJECTS), ..ListParams::default() };
        if !self.field_selector.is_empty() {
            params = params.fields(&self.field_selector);
        }
        loop {
            let page = match list::tolerant_page(&self.client, &self.path, &params, accept).await {
                Ok(page) => page,
                // The revision of the first page is gone: what was read so far is worthless.
                Err(kube::Error::Api(status)) if status.code == 410 && params.limit.is_some() => {
                    objects.clear();
                    params.limit = None;
                    params.continue_token = None;
                    continue;
                }
                Err(error) => return Err(Error::request(format!("list {}", self.path))(error)),
            };
            let list::Page { objects: mut more, revision, continue_token } = page;
            objects.append(&mut more);
            if continue_token.is_none() {
                return Ok((objects, revision));
            }
            params.continue_token = continue_token;
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
                if let Some(accept) = K::ACCEPT {
                    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept.watch));
                }
                self.client.request_stream(request).await
            }
            Err(error) => Err(kube::Error::BuildRequest(error)),
        };
        let mut lines = match opened {
            Ok(stream) => stream.lines(),
            Err(kube::Error::Api(status)) if status.code == 410 => return (End::Expired, revision),
            Err(error) => {
                self.complain(&ApiError(error).to_string(), "cannot watch; will retry");
                return (End::Failed, revision);
            }
        };
        let mut end = End::Failed;
        loop {
            let line = match tokio::time::timeout(WATCH_DEAD_AFTER, lines.next()).await {
                Ok(Some(Ok(line))) => line,
                Ok(Some(Err(error))) => {
                    tracing::debug!(path = self.path, %error, "watch broke; will resume");
                    return (end, revision);
                }
                Ok(None) | Err(_) => return (end, revision),
            };
            match read::<K>(&line) {
                Ok(Said::Upserted(object)) => {
                    advance(&mut revision, object.resource_version());
                    cache.upsert(object);
                }
                Ok(Said::Removed(object)) => {
                    advance(&mut revision, object.resource_version());
                    cache.remove(object);
                }
                Ok(Said::Reached(mark)) => advance(&mut revision, Some(&mark)),
                Ok(Said::Refused(status)) if status.code == Some(410) => return (End::Expired, revision),
                Ok(Said::Refused(status)) => {
                    self.complain(&status.message.unwrap_or_default(), "watch failed; will retry");
                    return (End::Failed, revision);
                }
                // The connection ended within a line.
                Err(error) if error.is_eof() => return (end, revision),
                Err(error) => tracing::warn!(path = self.path, %error, "an object does not decode; ignored"),
            }
            end = End::Resume;
        }
    }
}

/// What a line says. Types this program does not know say nothing new.
fn read<K: Cached>(line: &str) -> Result<Said<K>, serde_json::Error> {
    let event: Event<'_> = serde_json::from_str(line)?;
    let object = event.object.get();
    Ok(match event.type_.as_ref() {
        "ADDED" | "MODIFIED" => Said::Upserted(serde_json::from_str(object)?),
        "DELETED" => Said::Removed(serde_json::from_str(object)?),
        "ERROR" => Said::Refused(Box::new(serde_json::from_str(object)?)),
        "BOOKMARK" => {
            let mark: Bookmark = serde_json::from_str(object)?;
            Said::Reached(mark.metadata.resource_version.unwrap_or_default())
        }
        other => {
            return Err(serde::de::Error::unknown_variant(
                other,
                &["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"],
            ));
        }
    })
}

fn advance(revision: &mut String, to: Option<&str>) {
    if let Some(to) = to.filter(|to| !to.is_empty()) {
        to.clone_into(revision);
    }
}
