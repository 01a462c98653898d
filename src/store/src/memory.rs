//! Everything readers see: the newest snapshot, the feed of recent events, and snapshots of earlier revisions
//! rebuilt from both. Knows no disk; whoever makes writes durable publishes them here afterwards.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::feed::{Feed, FeedBounds, Watcher};
use crate::tree::{Tree, prefix_end};
use crate::{Entry, Error, Event, Range, RangeOptions};

/// Rebuilt snapshots that are kept: each holds on to the values that have changed since.
const REBUILT_MAX: usize = 8;

/// Changes that are made visible at once: readers wait as long.
const PUBLISHED_AT_ONCE: usize = 64;
/// Events that are undone where the reader runs; more would keep its thread from others.
const UNDONE_AT_ONCE: usize = 512;

/// The store at one revision.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) tree: Tree,
    pub(crate) revision: u64,
}

impl View {
    /// Carries a change out; answers what it replaced.
    fn apply(&mut self, event: &Event) -> Option<Arc<Entry>> {
        self.revision = event.revision;
        match (&event.current, &event.previous) {
            (Some(entry), _) => self.tree.insert(entry.clone()),
            (None, Some(previous)) => self.tree.remove(&previous.key),
            (None, None) => None,
        }
    }

    /// Takes a change back, when every later one has been.
    fn undo(&mut self, event: &Event) {
        match (&event.previous, &event.current) {
            (Some(previous), _) => drop(self.tree.insert(previous.clone())),
            (None, Some(created)) => drop(self.tree.remove(&created.key)),
            (None, None) => {}
        }
    }
}

/// What readers share with the one writer.
#[derive(Debug)]
pub(crate) struct Memory {
    view: RwLock<View>,
    /// Taken before `view` by whoever needs both.
    feed: Mutex<Feed>,
    rebuilt: Mutex<VecDeque<View>>,
    history: Duration,
}

impl Memory {
    pub(crate) fn new(view: View, bounds: FeedBounds, history: Duration) -> Self {
        Self {
            feed: Mutex::new(Feed::new(bounds, view.revision)),
            view: RwLock::new(view),
            rebuilt: Mutex::new(VecDeque::new()),
            history,
        }
    }

    /// Takes in the events that led to the view it was made with: every one after `floor`.
    pub(crate) fn remember(&self, floor: u64, events: Vec<Arc<Event>>) {
        self.feed().remember(floor, events, Instant::now());
    }

    /// Every event after this revision is in the feed.
    pub(crate) fn floor(&self) -> u64 {
        self.feed().floor()
    }

    fn feed(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest snapshot.
    pub(crate) fn view(&self) -> View {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn revision(&self) -> u64 {
        self.view.read().unwrap_or_else(PoisonError::into_inner).revision
    }

    /// Reads the newest state in place; whoever publishes waits meanwhile.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The live entry of a key.
    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        self.read(|view| view.tree.get(key).map(|entry| Entry::clone(entry)))
    }

    /// Makes durable changes visible, every one since the newest state: first to reads, then to watches, so that who
    /// saw an event reads it too. The tree is changed in place; only what a snapshot still holds of it is copied.
    pub(crate) fn publish(&self, events: Vec<Arc<Event>>) {
        let mut feed = self.feed();
        let now = Instant::now();
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            let some: Vec<Arc<Event>> = events.by_ref().take(PUBLISHED_AT_ONCE).collect();
            let mut replaced = Vec::with_capacity(some.len());
            let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
            for event in &some {
                replaced.push(view.apply(event));
            }
            let revision = view.revision;
            drop(view);
            drop(replaced);
            feed.publish(some, revision, now);
        }
    }

    /// Makes a newer state visible with the events that led to it.
    pub(crate) fn publish_view(&self, view: View, events: Vec<Arc<Event>>) {
        let mut feed = self.feed();
        let revision = view.revision;
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
        feed.publish(events, revision, Instant::now());
    }

    /// Begins anew with a view that no events lead to: every watch ends as if it had been too slow.
    pub(crate) fn replace(&self, view: View) {
        let mut feed = self.feed();
        self.rebuilt.lock().unwrap_or_else(PoisonError::into_inner).clear();
        feed.replace(view.revision);
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
    }

    pub(crate) fn watch(&self, prefix: &str, after: Option<u64>) -> Result<Watcher, Error> {
        self.feed().watch(prefix, after)
    }

    pub(crate) fn close(&self) {
        self.feed().close();
    }

    pub(crate) async fn range(&self, prefix: &str, options: &RangeOptions) -> Result<Range, Error> {
        let view = match options.at_revision {
            None => self.view(),
            Some(revision) => self.view_at(revision).await?,
        };
        let (mut from, to) = bounds(&view.tree, prefix);
        if let Some(after) = &options.after {
            // The smallest key behind `after` is `after` with a zero byte.
            let behind = view.tree.rank(&[after.as_bytes(), &[0]].concat());
            from = from.max(behind).min(to);
        }
        let wanted = options.limit.unwrap_or(usize::MAX).min(to - from);
        let mut entries = Vec::with_capacity(wanted);
        if wanted > 0 {
            view.tree.visit_from(from, &mut |entry| {
                entries.push(Entry::clone(entry));
                entries.len() < wanted
            });
        }
        Ok(Range { entries, revision: view.revision, remaining: (to - from - wanted) as u64 })
    }

    pub(crate) fn count(&self, prefix: &str) -> u64 {
        let (from, to) = self.read(|view| bounds(&view.tree, prefix));
        (to - from) as u64
    }

    /// The store as it was at a revision, rebuilt by undoing the events since.
    async fn view_at(&self, revision: u64) -> Result<View, Error> {
        let (mut view, events) = match self.known_at(revision)? {
            Known::View(view) => return Ok(view),
            Known::Since(newest, events) => (newest, events),
        };
        let far = events.len() > UNDONE_AT_ONCE;
        let undo = move || {
            events.iter().rev().for_each(|event| view.undo(event));
            view.revision = revision;
            view
        };
        let view = match far {
            true => tokio::task::spawn_blocking(undo)
                .await
                .map_err(|error| Error::Backend { doing: "rebuilding an earlier revision", source: error.into() })?,
            false => undo(),
        };
        let mut rebuilt = self.rebuilt.lock().unwrap_or_else(PoisonError::into_inner);
        // Pages of one list may have been asked for together.
        if let Some(other) = rebuilt.iter().find(|other| other.revision == revision) {
            return Ok(other.clone());
        }
        rebuilt.push_back(view.clone());
        if rebuilt.len() > REBUILT_MAX {
            rebuilt.pop_front();
        }
        Ok(view)
    }

    /// What there is of a revision, without work.
    fn known_at(&self, revision: u64) -> Result<Known, Error> {
        let feed = self.feed();
        let newest = self.view();
        if revision > newest.revision {
            return Err(Error::Future { requested: revision, current: newest.revision });
        }
        let oldest = feed.readable_from(self.history, Instant::now());
        if revision < oldest {
            return Err(Error::Compacted { requested: revision, oldest });
        }
        if revision == newest.revision {
            return Ok(Known::View(newest));
        }
        let mut rebuilt = self.rebuilt.lock().unwrap_or_else(PoisonError::into_inner);
        rebuilt.retain(|view| view.revision >= oldest);
        if let Some(view) = rebuilt.iter().find(|view| view.revision == revision) {
            return Ok(Known::View(view.clone()));
        }
        Ok(Known::Since(newest, feed.after(revision).cloned().collect()))
    }
}

/// What there is of an earlier revision.
enum Known {
    /// All of it.
    View(View),
    /// The newest state, and what has happened since.
    Since(View, Vec<Arc<Event>>),
}

/// The ranks of the first entry that begins with `prefix` and of the first behind the last.
fn bounds(tree: &Tree, prefix: &str) -> (usize, usize) {
    let from = tree.rank(prefix.as_bytes());
    let to = prefix_end(prefix).map_or_else(|| tree.rank(&[0xff]), |end| tree.rank(&end));
    (from, to)
}
