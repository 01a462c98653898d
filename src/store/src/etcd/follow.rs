//! Keeps memory equal to etcd: reads everything at one revision, then follows every change, and comes again wherever
//! the watch breaks.
//!
//! What is watched is every key of etcd and not only the store's: then each revision there is comes as an event, and
//! memory is at a revision exactly when its event has been taken in. etcd's own notes of progress are asked for only
//! to keep the stream busy and never believed: up to 3.4.24 and 3.5.7 one can overtake the events it speaks of.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tonic::Status;

use super::connection::{failed, is_compacted};
use super::wire::{self, EventType, RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use super::{Shared, Unreadable, unreadable, unsigned};
use crate::memory::View;
use crate::tree::{Tree, prefix_end};
use crate::{Entry, Error, Event};

/// Keys in one answer while everything is read.
const PAGE: i64 = 2000;
/// How long a cluster that breaks watches is left alone, at first and at most.
const RETRY_AFTER: Duration = Duration::from_millis(20);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);

/// Everything the store holds, at one revision.
pub(super) struct Everything {
    pub(super) view: View,
    /// The cluster's number.
    pub(super) cluster: u64,
    /// What is not kept as it would be written now.
    pub(super) stale: Vec<Entry>,
}

/// Reads everything.
pub(super) async fn read_all(shared: &Shared) -> Result<Everything, Error> {
    let first = format!("{}/", shared.prefix);
    let range_end = prefix_end(&first).map(Bytes::from).unwrap_or_default();
    let mut request = RangeRequest { key: Bytes::from(first), range_end, limit: PAGE, ..RangeRequest::default() };
    let mut tree = Tree::default();
    let mut cluster = 0;
    let mut stale = Vec::new();
    loop {
        let page = match shared.connection.range(request.clone()).await {
            Err(status) if is_compacted(&status) => {
                // Reading took longer than revisions are kept: from the beginning, at a new one.
                (tree, stale) = (Tree::default(), Vec::new());
                request = RangeRequest { key: Bytes::from(format!("{}/", shared.prefix)), revision: 0, ..request };
                continue;
            }
            page => page.map_err(|status| failed("reading etcd", status))?,
        };
        if let (0, Some(header)) = (request.revision, &page.header) {
            (request.revision, cluster) = (header.revision, header.cluster_id);
        }
        for kv in &page.kvs {
            if let Some((entry, is_stale)) = shared.entry(kv).map_err(unreadable)? {
                stale.extend(is_stale.then(|| entry.clone()));
                tree.insert(Arc::new(entry));
            }
        }
        match page.kvs.last() {
            Some(last) if page.more => request.key = [&last.key[..], &[0]].concat().into(),
            _ => return Ok(Everything { view: View { tree, revision: unsigned(request.revision) }, cluster, stale }),
        }
    }
}

/// How a watch ended.
enum Ended {
    /// The connection broke, or the member did.
    Lost(Status),
    /// A change cannot be read; it is waited for until it can or is gone, since nothing may be left out.
    Unreadable(Unreadable),
    /// What would follow has been compacted, or etcd is not what it was: everything is read again.
    Behind(String),
}

/// Follows for ever.
pub(super) async fn follow(shared: Arc<Shared>, mut cluster: u64) {
    let mut wait = RETRY_AFTER;
    loop {
        let (before, turn) = (shared.memory.revision(), shared.connection.turn());
        match watch(&shared, cluster).await {
            Ended::Lost(status) => {
                tracing::info!(code = ?status.code(), "the watch of etcd broke: {}", status.message());
            }
            Ended::Unreadable(why) => tracing::error!("reads wait, since a change cannot be read: {why}"),
            Ended::Behind(why) => {
                tracing::warn!("everything is read again from etcd: {why}");
                match read_all(&shared).await {
                    Ok(Everything { view, cluster: found, .. }) => {
                        cluster = found;
                        let revision = view.revision;
                        shared.memory.replace(view);
                        shared.applied.send_replace(revision);
                    }
                    Err(error) => tracing::error!("{}", stdx::error::chain(&error)),
                }
            }
        }
        if shared.memory.revision() != before {
            wait = RETRY_AFTER;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_AFTER_MAX);
        shared.connection.pass_on(turn);
        if let Err(error) = shared.connection.renew() {
            tracing::error!("{}", stdx::error::chain(&error));
        }
    }
}

async fn watch(shared: &Shared, cluster: u64) -> Ended {
    let next = i64::try_from(shared.memory.revision() + 1).unwrap_or(i64::MAX);
    // From zero byte to zero byte is every key there is.
    let every = Bytes::from_static(&[0]);
    let create =
        WatchCreateRequest { key: every.clone(), range_end: every, start_revision: next, progress_notify: true };
    let mut stream = match shared.connection.watch(WatchRequest { create: Some(create) }).await {
        Ok(stream) => stream,
        Err(status) => return Ended::Lost(status),
    };
    loop {
        let response = match stream.message().await {
            Ok(Some(response)) => response,
            Ok(None) => return Ended::Lost(Status::unavailable("the stream ended")),
            Err(status) => return Ended::Lost(status),
        };
        if response.compact_revision >= next {
            return Ended::Behind(format!(
                "it keeps revisions from {} on, we are at {}",
                response.compact_revision, next
            ));
        }
        if response.canceled {
            return Ended::Lost(Status::unavailable(response.cancel_reason));
        }
        if let Some(header) = &response.header {
            if header.cluster_id != cluster {
                return Ended::Behind("it is another cluster".to_string());
            }
            // A member may be behind the others for a while; all of them together may not.
            if header.revision + 1 < next {
                match quorum_revision(shared).await {
                    Ok(revision) if revision + 1 < next => {
                        return Ended::Behind(format!("it is at revision {revision}, we were at {}", next - 1));
                    }
                    Ok(_) => {}
                    Err(status) => return Ended::Lost(status),
                }
            }
        }
        if let Err(why) = take(shared, response) {
            return Ended::Unreadable(why);
        }
    }
}

async fn quorum_revision(shared: &Shared) -> Result<i64, Status> {
    let question = RangeRequest { key: Bytes::from_static(&[0]), count_only: true, ..RangeRequest::default() };
    let answer = shared.connection.range(question).await?;
    Ok(answer.header.map_or(0, |header| header.revision))
}

/// Makes the changes of one answer visible.
fn take(shared: &Shared, response: WatchResponse) -> Result<(), Unreadable> {
    let Some(newest) = response.events.iter().filter_map(|event| event.kv.as_ref()).map(|kv| kv.mod_revision).max()
    else {
        return Ok(());
    };
    let mut view = shared.memory.view();
    let from = view.revision;
    let mut events = Vec::with_capacity(response.events.len());
    for wire::Event { kind, kv } in &response.events {
        let Some(kv) = kv.as_ref().filter(|kv| unsigned(kv.mod_revision) > from) else { continue };
        let revision = unsigned(kv.mod_revision);
        let event = if *kind == EventType::Delete as i32 {
            let Some(previous) = shared.key(kv).and_then(|key| view.tree.remove(key)) else { continue };
            Event { revision, current: None, previous: Some(previous) }
        } else {
            let Some((mut entry, _)) = shared.entry(kv)? else { continue };
            if let Some(previous) = view.tree.get(&entry.key) {
                entry.key = previous.key.clone();
            }
            let entry = Arc::new(entry);
            let previous = view.tree.insert(entry.clone());
            Event { revision, current: Some(entry), previous }
        };
        events.push(Arc::new(event));
    }
    view.revision = from.max(unsigned(newest));
    let revision = view.revision;
    shared.memory.publish_view(view, events);
    shared.applied.send_replace(revision);
    Ok(())
}
