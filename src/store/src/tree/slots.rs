//! The slots of a node, in order of their keys, and a number for each by which it is found: the keys themselves lie
//! elsewhere, each in a line of memory of its own, and looking at many of them is what a search would cost.

use std::cmp::Ordering;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// How much of what keys have in common is in their numbers all the same: the next key of a sequence seldom has less.
const SLACK_BYTES: usize = 3;
/// More than this is not taken for common: resource, namespace and the beginning of a name of usual length.
const SHARED_MAX_BYTES: usize = 64;

/// What lies in a slot.
pub(super) trait Keyed {
    /// The first slot whose key counts.
    const FIRST: usize;

    /// What it is found by.
    fn key(&self) -> &Arc<str>;
}

/// Slots in order of their keys.
#[derive(Debug, Clone)]
pub(super) struct Slots<T> {
    items: Vec<T>,
    /// The sixteen bytes of each key behind the first `shared`; as ordered as the keys are.
    heads: Vec<u128>,
    /// So many bytes every key that counts has in common, and which: here, so that no key is looked at for them.
    shared: usize,
    front: [u8; SHARED_MAX_BYTES],
}

impl<T> Deref for Slots<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T: Keyed> From<Vec<T>> for Slots<T> {
    /// `items` are in order.
    fn from(items: Vec<T>) -> Self {
        let mut slots =
            Self { heads: Vec::with_capacity(items.capacity()), items, shared: 0, front: [0; SHARED_MAX_BYTES] };
        slots.number();
        slots
    }
}

/// The number of what is behind the shared bytes of a key. Bytes that are not there are zeros: where two numbers are
/// equal, the keys decide.
fn head(key: &[u8], shared: usize) -> u128 {
    let rest = key.get(shared..).unwrap_or_default();
    match rest.first_chunk() {
        Some(bytes) => u128::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 16];
            bytes[..rest.len()].copy_from_slice(rest);
            u128::from_be_bytes(bytes)
        }
    }
}

impl<T: Keyed> Slots<T> {
    /// Numbers every slot anew.
    fn number(&mut self) {
        let (first, last) = (self.items.get(T::FIRST), self.items.last());
        if let (Some(first), Some(last)) = (first, last) {
            // Whatever lies between two keys begins as both do.
            let both = first.key().bytes().zip(last.key().bytes());
            let shared = both.take_while(|(a, b)| a == b).count().saturating_sub(SLACK_BYTES);
            self.shared = shared.min(SHARED_MAX_BYTES);
            self.front[..self.shared].copy_from_slice(&first.key().as_bytes()[..self.shared]);
        }
        self.heads.clear();
        self.heads.extend(self.items.iter().map(|item| head(item.key().as_bytes(), self.shared)));
    }

    /// The slots whose numbers are that of a key: of those before them every key is smaller, of those behind greater.
    fn alike(&self, key: &[u8]) -> Range<usize> {
        let end = self.items.len();
        let first = T::FIRST.min(end);
        let front = &key[..key.len().min(self.shared)];
        match front.cmp(&self.front[..self.shared]) {
            Ordering::Less => return first..first,
            Ordering::Greater => return end..end,
            Ordering::Equal => {}
        }
        let number = head(key, self.shared);
        let from = first + self.heads[first..].partition_point(|head| *head < number);
        let same = self.heads[from..].iter().take_while(|head| **head == number).count();
        from..from + same
    }

    /// How many slots have smaller keys; the first of an inner node has none that counts and is one of them.
    pub(super) fn before(&self, key: &[u8]) -> usize {
        let alike = self.alike(key);
        alike.start + self.items[alike].partition_point(|item| item.key().as_bytes() < key)
    }

    /// How many slots have keys that are not greater; likewise.
    pub(super) fn up_to(&self, key: &[u8]) -> usize {
        let alike = self.alike(key);
        alike.start + self.items[alike].partition_point(|item| item.key().as_bytes() <= key)
    }

    /// The slot of a key, or where it would be.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let alike = self.alike(key);
        let found = self.items[alike.clone()].binary_search_by(|item| item.key().as_bytes().cmp(key));
        found.map(|at| alike.start + at).map_err(|at| alike.start + at)
    }

    /// A slot to change; its key stays, but for one that does not count.
    pub(super) fn get_mut(&mut self, at: usize) -> &mut T {
        &mut self.items[at]
    }

    /// Puts another of the same key in its place.
    pub(super) fn replace(&mut self, at: usize, item: T) -> T {
        std::mem::replace(&mut self.items[at], item)
    }

    /// Puts a slot where [`Self::find`] says that it would be.
    pub(super) fn insert(&mut self, at: usize, item: T) {
        let key = item.key().as_bytes();
        let alike = key.get(..self.shared).is_some_and(|front| front == &self.front[..self.shared]);
        let number = head(key, self.shared);
        self.items.insert(at, item);
        if alike && self.heads.len() > T::FIRST {
            self.heads.insert(at, number);
        } else {
            self.number();
        }
    }

    pub(super) fn remove(&mut self, at: usize) -> T {
        self.heads.remove(at);
        self.items.remove(at)
    }

    /// Takes the slots from `at` on out.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let right = self.items.split_off(at);
        self.number();
        Self::from(right)
    }

    /// Takes over the slots of another, which come behind.
    pub(super) fn append(&mut self, other: &mut Self) {
        self.items.append(&mut other.items);
        self.number();
    }
}
