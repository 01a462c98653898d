//! watch: the changes under a prefix as a stream of JSON lines or of protobuf events, in the form the client wants. Pulled by the
//! connection: a client that does not read holds nothing but its place in the store's ring.

mod pace;
mod shaper;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::resource::Resource;
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use store::{Error, WatchItem};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use pace::Pace;
use shaper::Shaper;

use super::initial::{First, Initial};
use super::list;
use super::paging::{At, Page};
use super::select::Selection;
use super::shape;
use super::target::Target;
use super::versions;
use crate::accept::Format;
use crate::body::Body;
use crate::body::{BoxError, JSON, PROTOBUF};
use crate::convert;
use crate::handler::LongRunning;
use crate::request::Query;
use crate::state::State;
use crate::status::{Result, Status};
use crate::storage;

/// Without `timeoutSeconds`, or with none of them, a watch ends after this and up to twice as long, so that clients
/// spread over servers.
const LIVES_AT_LEAST: Duration = Duration::from_secs(30 * 60);
/// Whoever asks for longer gets this.
const LIVES_AT_MOST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// How often a client that asked for bookmarks hears how far the store is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(20);
/// The media type of a stream of protobuf events.
const PROTOBUF_STREAM: &str = "application/vnd.kubernetes.protobuf;stream=watch";
/// Events that are ready are sent together up to about this size.
const CHUNK_BYTES: usize = 64 * 1024;

/// What a watch starts with.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    /// The objects there are, then changes.
    Objects {
        /// The objects are those of this revision or a newer one.
        not_older_than: Option<u64>,
        /// Say when the last has been sent.
        marked: bool,
    },
    /// The changes after a revision.
    After(u64),
    /// The changes from now on.
    Now,
}

/// Answers with a stream of events.
///
/// # Errors
/// 400, 406 and 422; a revision that is compacted is an ERROR event, as clients expect of watches.
pub async fn watch(target: &Target<'_>, running: Option<LongRunning>) -> Result<Response<Body>> {
    let (format, form) = target.negotiate()?;
    if format == Format::Yaml {
        return Err(Status::not_acceptable(&[JSON, PROTOBUF]));
    }
    let query = &target.context.query;
    let selection = Selection::read(target)?;
    let start = read_start(query, target.resource)?;
    let resource = target.context.served.hold(target.resource).ok_or_else(Status::no_such_resource)?;
    let shaper = Shaper { resource, selection, format, form, include: shape::include(target)?, columns_sent: false };
    let mut pending = Vec::new();
    let (watch, initial) = match begin(target, &shaper, start).await {
        Ok((watch, initial)) => (Some(watch), initial),
        Err(status) if status.code() == 410 => {
            shaper.error(&status, &mut pending);
            (None, Initial::none())
        }
        Err(status) => return Err(status),
    };
    let lives = match versions::number(query, "timeoutSeconds")? {
        None | Some(0) => LIVES_AT_LEAST.mul_f64(1.0 + rand::random::<f64>()),
        // Less than nothing is over at once; nobody asks for more than a clock can tell.
        Some(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or_default()).min(LIVES_AT_MOST),
    };
    let now = Instant::now();
    let mut stream = Stream {
        state: target.context.state.clone(),
        watch,
        shaper,
        initial,
        pending,
        last_bytes: 0,
        ends: now + lives,
        bookmark_due: query.flag("allowWatchBookmarks").then_some(now + BOOKMARK_EVERY),
        timer: Box::pin(tokio::time::sleep_until(now)),
        stopped: Box::pin(target.context.state.shutdown.clone().cancelled_owned()),
        seen: 0,
        told: 0,
        pace: Pace::new(now),
        gather_until: None,
        _running: running,
    };
    stream.set_timer();
    // What is wrong with the first objects is told as an answer, with those behind them as an event.
    stream.begin().await?;
    let beginning = stream.initial.beginning();
    let frames = stream::unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((Ok::<_, BoxError>(Frame::data(chunk)), stream))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let media_type = if format == Format::Protobuf { PROTOBUF_STREAM } else { JSON };
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Some(beginning) = beginning {
        response.extensions_mut().insert(beginning);
    }
    Ok(response)
}

fn read_start(query: &Query, resource: &Resource) -> Result<Start> {
    versions::check(query)?;
    let initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
    let revision = versions::of_resource(query, resource)?;
    Ok(match (initial, revision) {
        (Some(true), not_older_than) => Start::Objects { not_older_than, marked: query.flag("allowWatchBookmarks") },
        (Some(false), None) => Start::Now,
        // Kubernetes takes this for a watch with sendInitialEvents.
        (None, None) => Start::Objects { not_older_than: None, marked: query.flag("allowWatchBookmarks") },
        (_, Some(revision)) => Start::After(revision),
    })
}

async fn begin(target: &Target<'_>, shaper: &Shaper, start: Start) -> Result<(Box<dyn store::Watch>, Initial)> {
    let store = &target.state().store;
    // A watch of one object needs no other keys; names that only begin alike are filtered out afterwards.
    let one = shaper.selection.name().filter(|_| !target.namespace.is_empty() || !target.resource.namespaced);
    let prefix = match one {
        Some(name) => target.key(name),
        None => storage::prefix(target.resource, target.namespace),
    };
    let (after, initial) = match start {
        Start::After(revision) => (Some(revision), Initial::none()),
        Start::Now => (None, Initial::none()),
        Start::Objects { not_older_than, marked } => {
            let at = not_older_than.map_or(At::Newest, At::NotOlderThan);
            let page = Page { at, limit: None, after: None };
            let found = list::find(target, &shaper.selection, &page).await?;
            (Some(found.revision), Initial::new(found, marked))
        }
    };
    Ok((store.watch(&prefix, after).await.map_err(storage::failure)?, initial))
}

/// A running watch.
struct Stream {
    state: Arc<State>,
    /// `None` once it has ended; what is pending is still sent.
    watch: Option<Box<dyn store::Watch>>,
    shaper: Shaper,
    initial: Initial,
    /// Events that are to be sent together.
    pending: Vec<u8>,
    /// How long the last such piece was.
    last_bytes: usize,
    ends: Instant,
    bookmark_due: Option<Instant>,
    /// Of what comes first of the two. It and what follows stay as they are from one event to the next: a busy watch
    /// would set timers all the time.
    timer: Pin<Box<Sleep>>,
    /// The server ends.
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The newest revision that has been looked at.
    seen: u64,
    /// The newest revision the client knows of.
    told: u64,
    pace: Pace,
    /// What comes before this is sent together.
    gather_until: Option<Instant>,
    _running: Option<LongRunning>,
}

impl Stream {
    /// The next bytes to send; `None` ends the response.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.pending.is_empty()
                && let Err(status) = self.begin().await
            {
                self.shaper.error(&status, &mut self.pending);
                (self.watch, self.initial) = (None, Initial::none());
            }
            if !self.pending.is_empty() {
                let chunk = self.take_pending();
                // After a full one there may be more already.
                self.gather_until = if chunk.len() < CHUNK_BYTES { self.pace.sent(Instant::now()) } else { None };
                return Some(chunk);
            }
            let watch = self.watch.as_mut()?;
            let gather_until = self.gather_until.take();
            let next = async {
                if let Some(until) = gather_until {
                    tokio::time::sleep_until(until).await;
                }
                watch.next().await
            };
            let item = tokio::select! {
                item = next => item,
                () = self.timer.as_mut() => {
                    if Instant::now() >= self.ends {
                        return self.end();
                    }
                    self.bookmark();
                    continue;
                }
                () = self.stopped.as_mut() => return self.end(),
                () = self.shaper.resource.ended() => {
                    self.drain().await;
                    return self.end();
                }
            };
            if gather_until.is_some() {
                self.pending.reserve(self.last_bytes.min(CHUNK_BYTES));
            }
            self.take(item).await;
            self.drain().await;
        }
    }

    /// Takes in as many of the first objects as one chunk has; the next are made when the client has taken these.
    async fn begin(&mut self) -> Result<()> {
        while self.pending.len() < CHUNK_BYTES
            && let Some(next) = self.initial.next(&self.state.caller, &self.shaper.resource).await?
        {
            match next {
                First::Stored(entry) => {
                    self.shaper.line("ADDED", &entry, entry.mod_revision, &mut self.pending)?;
                }
                First::Converted(object) => self.shaper.shown("ADDED", object, &mut self.pending)?,
                First::Mark(revision) => self.shaper.bookmark(revision, true, &mut self.pending),
            }
        }
        Ok(())
    }

    /// Takes what is ready into the same chunk.
    async fn drain(&mut self) {
        while self.pending.len() < CHUNK_BYTES
            && let Some(watch) = self.watch.as_mut()
            && let Some(item) = watch.try_next().transpose()
        {
            self.take(item).await;
        }
    }

    async fn take(&mut self, item: std::result::Result<WatchItem, Error>) {
        match item {
            Ok(WatchItem::Progress(revision)) => self.seen = self.seen.max(revision),
            Ok(WatchItem::Event(event)) => {
                self.seen = self.seen.max(event.revision);
                let shaped = match convert::webhook(&self.shaper.resource) {
                    Some(_) => Box::pin(self.shaper.converted_event(&self.state, &event, &mut self.pending)).await,
                    None => self.shaper.event(&event, &mut self.pending),
                };
                match shaped {
                    Ok(true) => {
                        self.told = event.revision;
                        self.state.metrics.watch_event();
                    }
                    Ok(false) => {}
                    Err(status) => {
                        self.shaper.error(&status, &mut self.pending);
                        self.watch = None;
                    }
                }
            }
            // The client comes again from the last version it saw.
            Err(error) => {
                tracing::debug!("a watch ends: {}", stdx::error::chain(&error));
                self.watch = None;
            }
        }
    }

    fn bookmark(&mut self) {
        self.bookmark_due = Some(Instant::now() + BOOKMARK_EVERY);
        self.set_timer();
        if self.seen > self.told {
            self.told = self.seen;
            self.shaper.bookmark(self.seen, false, &mut self.pending);
        }
    }

    fn set_timer(&mut self) {
        let first = self.bookmark_due.map_or(self.ends, |due| due.min(self.ends));
        self.timer.as_mut().reset(first);
    }

    /// Ends the watch; a client that asked for bookmarks hears how far it got.
    fn end(&mut self) -> Option<Bytes> {
        self.watch = None;
        if self.bookmark_due.is_some() {
            self.bookmark();
        }
        (!self.pending.is_empty()).then(|| self.take_pending())
    }

    /// The piece that was gathered. The next one of a busy watch is likely to be as long.
    fn take_pending(&mut self) -> Bytes {
        self.last_bytes = self.pending.len();
        Bytes::from(std::mem::take(&mut self.pending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_starts_where_kubernetes_says() {
        let pods = api::registry().get("", "v1", "pods").expect("a resource");
        let objects = |not_older_than, marked| Ok(Start::Objects { not_older_than, marked });
        let cases = [
            ("", objects(None, false)),
            ("allowWatchBookmarks=1", objects(None, true)),
            ("resourceVersion=0", objects(None, false)),
            ("resourceVersion=7", Ok(Start::After(7))),
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1", objects(None, true)),
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=7", objects(Some(7), false)),
            ("sendInitialEvents=false&resourceVersionMatch=NotOlderThan", Ok(Start::Now)),
            ("sendInitialEvents=true", Err(422)),
            ("resourceVersionMatch=NotOlderThan", Err(422)),
        ];
        for (query, expected) in cases {
            let query = format!("watch=1&{query}");
            let start = read_start(&Query::parse(&query), pods).map_err(|status| status.code());
            assert_eq!(start, expected, "{query}");
        }
    }
}
