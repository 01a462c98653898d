//! Reading the whole log: every row is compared with its checksum and with what came before it. The start of the
//! store refuses at the first thing that is wrong, `check` names them all.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;

use super::layout;
use super::row::{self, Found, Row, unsigned};
use crate::feed::{self, FeedBounds};
use crate::memory::View;
use crate::tree::Tree;
use crate::{Entry, Event, Lease};

/// A row that is not needed once the event `at` is no longer kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Superseded {
    /// The revision of the event that made it so.
    pub(super) at: u64,
    /// The row.
    pub(super) revision: u64,
}

/// What the log holds.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) tree: Tree,
    /// Those after `events_after`, in order: what a feed of the given bounds holds of those after `floor`.
    pub(super) events: VecDeque<Arc<Event>>,
    pub(super) events_after: u64,
    events_bytes: usize,
    pub(super) superseded: VecDeque<Superseded>,
    pub(super) floor: u64,
    pub(super) revision: u64,
    /// The running sum of checksums at the newest row.
    pub(super) total: i64,
    pub(super) removed: i64,
    /// For how long the store has been open, as far as that was noted.
    pub(super) clock_ms: u64,
    /// Rows in the log.
    pub(super) rows: u64,
}

impl Log {
    /// The newest state.
    pub(super) fn view(&self) -> View {
        View { tree: self.tree.clone(), revision: self.revision }
    }

    /// Takes a change in; answers what of it cannot be.
    fn take(&mut self, row: Row, bounds: Option<&FeedBounds>) -> Result<(), String> {
        let Row { revision, key, value, create_revision, lease } = row;
        let previous = self.tree.get(&key).cloned();
        let known = revision > self.floor;
        let expected = match (&previous, &value) {
            (_, None) => 0,
            (Some(previous), Some(_)) => previous.create_revision,
            (None, Some(_)) => revision,
        };
        let impossible = if known && create_revision != expected {
            Some(format!("revision {revision} says {key} was created at {create_revision}, it was at {expected}"))
        } else if known && value.is_none() && previous.is_none() {
            Some(format!("revision {revision} deletes {key}, which was not there"))
        } else if value.is_some() && (create_revision == 0 || create_revision > revision) {
            Some(format!("revision {revision} says {key} was created at {create_revision}"))
        } else if value.is_none() && lease != 0 {
            Some(format!("revision {revision} deletes {key}, and cannot end by itself"))
        } else {
            None
        };
        if let Some(previous) = &previous {
            self.superseded.push_back(Superseded { at: revision, revision: previous.mod_revision });
        }
        let key = previous.as_ref().map_or(key, |previous| previous.key.clone());
        let lease = Lease::new(lease);
        let entry = |value| Arc::new(Entry { key: key.clone(), value, create_revision, mod_revision: revision, lease });
        let current = value.map(entry);
        match &current {
            Some(entry) => drop(self.tree.insert(entry.clone())),
            None => {
                self.tree.remove(&key);
                self.superseded.push_back(Superseded { at: revision, revision });
            }
        }
        if known && let Some(bounds) = bounds {
            self.remember(Event { revision, current, previous }, bounds);
        }
        impossible.map_or(Ok(()), Err)
    }

    /// What the feed would drop again is dropped here, or all values that there ever were would be held at once.
    fn remember(&mut self, event: Event, bounds: &FeedBounds) {
        self.events_bytes += feed::cost_bytes(&event);
        self.events.push_back(Arc::new(event));
        while self.events.len() > bounds.ring_events || self.events_bytes > bounds.ring_bytes {
            let Some(oldest) = self.events.pop_front() else { break };
            self.events_bytes -= feed::cost_bytes(&oldest);
            self.events_after = oldest.revision;
        }
    }
}

/// Reads the log of a file of layout `version`. `decode` makes the value of a revision's key of what is kept of it;
/// `wrong` is called with each thing that is wrong and answers whether to go on. Events are kept within `bounds`, none without.
pub(super) fn scan(
    connection: &Connection,
    version: i64,
    bounds: Option<&FeedBounds>,
    decode: &mut dyn FnMut(u64, &str, Bytes) -> Result<Bytes, String>,
    wrong: &mut dyn FnMut(String) -> bool,
) -> Result<Log, rusqlite::Error> {
    let floor = unsigned(layout::meta(connection, "floor")?);
    let removed = layout::meta(connection, "removed")?;
    let clock_ms = unsigned(layout::noted(connection, layout::CLOCK)?);
    if version >= layout::FIRST_SUMMED_META {
        for problem in layout::wrong_meta(connection)? {
            if !wrong(problem) {
                return Ok(Log::default());
            }
        }
    }
    let mut log = Log { floor, events_after: floor, revision: floor, removed, clock_ms, ..Log::default() };
    let (mut sum, mut total) = (0i64, removed);
    let columns = if version == layout::FIRST_LOG { row::COLUMNS_2 } else { row::COLUMNS };
    let mut statement = connection.prepare(&format!("SELECT {columns} FROM log ORDER BY revision"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let Found { mut row, checksum, total: running } = Found::read(row)?;
        let revision = row.revision;
        let mut problems = Vec::new();
        let sound = row.checksum() == checksum;
        if !sound {
            problems.push(format!("revision {revision} ({}) differs from its checksum", row.key));
        }
        if revision > floor && revision != log.revision.max(floor) + 1 {
            problems.push(format!("after revision {} comes {revision}", log.revision.max(floor)));
        }
        if let Some(value) = row.value.take() {
            // What is damaged says nothing of keys that are missing.
            let decoded = if sound { decode(revision, &row.key, value) } else { Ok(Bytes::new()) };
            row.value = Some(decoded.unwrap_or_else(|why| {
                problems.push(format!("revision {revision} ({}) {why}", row.key));
                Bytes::new()
            }));
        }
        (sum, total) = (sum.wrapping_add(i64::from(checksum)), running);
        problems.extend(log.take(row, bounds).err());
        log.revision = log.revision.max(revision);
        log.rows += 1;
        for problem in problems {
            if !wrong(problem) {
                return Ok(log);
            }
        }
    }
    log.total = total;
    if total.wrapping_sub(removed) != sum {
        wrong("rows are missing or are older than they should be: the checksums do not add up".to_string());
    }
    Ok(log)
}
