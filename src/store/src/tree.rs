//! The ordered map that holds the live entries: a B+ tree whose nodes are shared until they are changed.
//!
//! A clone is a snapshot and costs one reference count; a change copies only the nodes on its way that a snapshot
//! still holds. Knows keys and their order, never revisions' meaning, disks or watchers.

use std::sync::Arc;

use crate::Entry;
use slots::{Keyed, Slots};

mod slots;

/// Most entries of a leaf and most children of an inner node: a copied node stays within a few cache lines.
const NODE_MAX: usize = 32;
/// A node with fewer is joined with its neighbour.
const NODE_MIN: usize = NODE_MAX / 4;

/// A persistent map from key to entry, ordered by the bytes of the key.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: Arc<Node>,
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(Slots<Arc<Entry>>),
    Inner(Slots<Child>),
}

#[derive(Debug, Clone)]
struct Child {
    /// No key below this child is smaller, and none of the child to the left is as great. Not read of a first child.
    low: Arc<str>,
    /// How many entries are below.
    len: usize,
    node: Arc<Node>,
}

impl Keyed for Arc<Entry> {
    const FIRST: usize = 0;

    fn key(&self) -> &Arc<str> {
        &self.key
    }
}

impl Keyed for Child {
    const FIRST: usize = 1;

    fn key(&self) -> &Arc<str> {
        &self.low
    }
}

impl Child {
    fn of(low: Arc<str>, node: Node) -> Self {
        Self { low, len: node.len(), node: Arc::new(node) }
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Slots::from(Vec::new()))) }
    }
}

impl Tree {
    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.root.len()
    }

    /// The entry of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(entries) => return entries.find(key.as_bytes()).ok().map(|at| &entries[at]),
                Node::Inner(children) => node = &children[child_of(children, key.as_bytes())].node,
            }
        }
    }

    /// Puts an entry under its key; answers what was there.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let (replaced, split) = Arc::make_mut(&mut self.root).insert(entry);
        if let Some(right) = split {
            let left = Child { low: Arc::from(""), len: self.root.len(), node: self.root.clone() };
            self.root = Arc::new(Node::Inner(Slots::from(vec![left, right])));
        }
        replaced
    }

    /// Takes the entry of a key out.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Arc<Entry>> {
        // Looked up first, so that nothing is copied for a key that is not there.
        self.get(key)?;
        let removed = Arc::make_mut(&mut self.root).remove(key);
        if let Node::Inner(children) = &*self.root
            && let [only] = &**children
        {
            self.root = only.node.clone();
        }
        removed
    }

    /// How many keys are smaller than `bound`.
    pub(crate) fn rank(&self, bound: &[u8]) -> usize {
        let mut node = &*self.root;
        let mut smaller = 0;
        loop {
            match node {
                Node::Leaf(entries) => {
                    return smaller + entries.before(bound);
                }
                Node::Inner(children) => {
                    let at = child_of(children, bound);
                    smaller += children[..at].iter().map(|child| child.len).sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// Calls `visit` for the entries from `rank` on, in order, until it answers false.
    pub(crate) fn visit_from(&self, rank: usize, visit: &mut dyn FnMut(&Arc<Entry>) -> bool) {
        self.root.visit_from(rank, visit);
    }
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Inner(children) => children.iter().map(|child| child.len).sum(),
        }
    }

    /// Slots in use: entries of a leaf, children of an inner node.
    fn width(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Inner(children) => children.len(),
        }
    }

    fn insert(&mut self, entry: Arc<Entry>) -> (Option<Arc<Entry>>, Option<Child>) {
        let replaced = match self {
            Self::Leaf(entries) => match entries.find(entry.key.as_bytes()) {
                Ok(at) => Some(entries.replace(at, entry)),
                Err(at) => {
                    entries.insert(at, entry);
                    None
                }
            },
            Self::Inner(children) => {
                let at = child_of(children, entry.key.as_bytes());
                let child = children.get_mut(at);
                let (replaced, split) = Arc::make_mut(&mut child.node).insert(entry);
                child.len = child.len + usize::from(replaced.is_none()) - split.as_ref().map_or(0, |right| right.len);
                if let Some(right) = split {
                    children.insert(at + 1, right);
                }
                replaced
            }
        };
        let split = (self.width() > NODE_MAX).then(|| self.split_off(NODE_MAX / 2));
        (replaced, split)
    }

    /// Takes the slots from `at` on into a node of their own.
    fn split_off(&mut self, at: usize) -> Child {
        match self {
            Self::Leaf(entries) => {
                let right = entries.split_off(at);
                Child::of(right[0].key.clone(), Self::Leaf(right))
            }
            Self::Inner(children) => {
                let right = children.split_off(at);
                Child::of(right[0].low.clone(), Self::Inner(right))
            }
        }
    }

    fn remove(&mut self, key: &str) -> Option<Arc<Entry>> {
        match self {
            Self::Leaf(entries) => entries.find(key.as_bytes()).ok().map(|at| entries.remove(at)),
            Self::Inner(children) => {
                let at = child_of(children, key.as_bytes());
                let child = children.get_mut(at);
                let removed = Arc::make_mut(&mut child.node).remove(key)?;
                child.len -= 1;
                if child.node.width() < NODE_MIN && children.len() > 1 {
                    join(children, at.min(children.len() - 2));
                }
                Some(removed)
            }
        }
    }

    fn visit_from(&self, rank: usize, visit: &mut dyn FnMut(&Arc<Entry>) -> bool) -> bool {
        match self {
            Self::Leaf(entries) => entries.iter().skip(rank).all(visit),
            Self::Inner(children) => {
                let mut skip = rank;
                for child in children.iter() {
                    if skip >= child.len {
                        skip -= child.len;
                    } else if !child.node.visit_from(std::mem::take(&mut skip), visit) {
                        return false;
                    }
                }
                true
            }
        }
    }
}

/// Joins the children at `at` and `at + 1`, and parts them evenly again where they are too many for one node.
fn join(children: &mut Slots<Child>, at: usize) {
    let mut right = children.remove(at + 1);
    let left = children.get_mut(at);
    let node = Arc::make_mut(&mut left.node);
    match (&mut *node, Arc::make_mut(&mut right.node)) {
        (Node::Leaf(into), Node::Leaf(from)) => into.append(from),
        (Node::Inner(into), Node::Inner(from)) => {
            from.get_mut(0).low = right.low;
            into.append(from);
        }
        _ => unreachable!("every leaf of a B+ tree is at the same depth"),
    }
    left.len += right.len;
    if node.width() > NODE_MAX {
        let right = node.split_off(node.width() / 2);
        left.len -= right.len;
        children.insert(at + 1, right);
    }
}

/// The child below which a key is or would be: the last whose low is not greater.
fn child_of(children: &Slots<Child>, key: &[u8]) -> usize {
    children.up_to(key) - 1
}

/// The smallest bytes that are greater than everything that begins with `prefix`; `None` where nothing is.
pub(crate) fn prefix_end(prefix: &str) -> Option<Vec<u8>> {
    let mut end = prefix.as_bytes().to_vec();
    // No byte of a str is 0xff, so the last one can always be raised.
    let last = end.last_mut()?;
    *last += 1;
    Some(end)
}

#[cfg(test)]
mod tests;
