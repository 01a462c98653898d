//! Who owns what, as the informers tell it.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use client::discovery::ServerResource;
use client::informer::{Metadata, Owner};

use super::plan::FOREGROUND;

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub resource: Arc<ServerResource>,
    /// Empty for cluster-scoped resources.
    pub namespace: String,
    pub name: String,
}

impl Identity {
    /// The path of the collection that it is in.
    pub fn collection(&self) -> String {
        self.resource.path(Some(&self.namespace), None)
    }

    pub fn full_name(&self) -> String {
        if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }
}

/// An object, known by its uid. There is one of every object of the cluster, so it holds no more than the informer's
/// own.
#[derive(Debug)]
struct Node {
    resource: Arc<ServerResource>,
    object: Arc<Metadata>,
}

impl Node {
    /// Is being deleted after its dependents.
    fn waits(&self) -> bool {
        self.object.is_being_deleted() && self.object.has_finalizer(FOREGROUND)
    }
}

impl Borrow<str> for Node {
    fn borrow(&self) -> &str {
        self.object.uid()
    }
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.object.uid().hash(state);
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.object.uid() == other.object.uid()
    }
}

impl Eq for Node {}

/// Every object, by uid, and its dependents. Objects that own nothing and are owned by nothing are among them: their
/// presence is what tells a dependent that its owner exists.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashSet<Node>,
    dependents: HashMap<String, HashSet<String>>,
}

impl Graph {
    /// Takes in an object; the owners that it no longer has, or no longer holds up.
    pub fn set(&mut self, resource: &Arc<ServerResource>, object: &Arc<Metadata>) -> Vec<String> {
        let uid = object.uid();
        let old = self.nodes.replace(Node { resource: resource.clone(), object: object.clone() });
        let before = old.as_ref().map(|old| old.object.owners()).unwrap_or_default();
        for owner in before {
            self.unlink(&owner.uid, uid);
        }
        for owner in object.owners() {
            self.dependents.entry(owner.uid.to_string()).or_default().insert(uid.to_string());
        }
        let still = |owner: &Owner| {
            object.owners().iter().any(|other| other.uid == owner.uid && (other.blocks || !owner.blocks))
        };
        before.iter().filter(|owner| !still(owner)).map(|owner| owner.uid.to_string()).collect()
    }

    /// Takes out an object; its dependents and its owners.
    pub fn remove(&mut self, uid: &str) -> (Vec<String>, Vec<String>) {
        let dependents = self.dependents(uid);
        let Some(node) = self.nodes.take(uid) else { return (dependents, Vec::new()) };
        let owners = node.object.owners();
        for owner in owners {
            self.unlink(&owner.uid, uid);
        }
        let waiting = owners.iter().filter(|owner| self.waits(&owner.uid));
        (dependents, waiting.map(|owner| owner.uid.to_string()).collect())
    }

    fn unlink(&mut self, owner: &str, uid: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(uid);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }

    fn owners(&self, uid: &str) -> &[Owner] {
        self.nodes.get(uid).map(|node| node.object.owners()).unwrap_or_default()
    }

    fn waits(&self, uid: &str) -> bool {
        self.nodes.get(uid).is_some_and(Node::waits)
    }

    pub fn identity(&self, uid: &str) -> Option<Identity> {
        self.nodes.get(uid).map(|node| Identity {
            resource: node.resource.clone(),
            namespace: node.object.namespace().to_string(),
            name: node.object.name().to_string(),
        })
    }

    pub fn dependents(&self, uid: &str) -> Vec<String> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Dependents that hold up the deletion of their owner.
    pub fn blocking_dependents(&self, uid: &str) -> Vec<String> {
        let blocks = |dependent: &String| self.owners(dependent).iter().any(|owner| *owner.uid == *uid && owner.blocks);
        self.dependents(uid).into_iter().filter(blocks).collect()
    }

    /// Whether an object that waits for its dependents waits in the end for itself: each in the circle waits for the
    /// next, and none would ever go.
    pub fn waits_for_itself(&self, uid: &str) -> bool {
        let waits = |uid: &String| self.waits(uid);
        let mut seen = HashSet::new();
        let mut next = vec![uid.to_string()];
        while let Some(owner) = next.pop() {
            for dependent in self.blocking_dependents(&owner).into_iter().filter(waits) {
                if dependent == uid {
                    return true;
                }
                if seen.insert(dependent.clone()) {
                    next.push(dependent);
                }
            }
        }
        false
    }

    /// Whether the object has an owner that was not seen (yet).
    pub fn has_unknown_owner(&self, uid: &str) -> bool {
        self.owners(uid).iter().any(|owner| !self.nodes.contains(&*owner.uid))
    }

    /// Whether the object's ownership, or its own deletion, is to be looked at.
    pub fn is_in_question(&self, uid: &str) -> bool {
        self.waits(uid) || self.has_unknown_owner(uid) || self.has_waiting_owner(uid)
    }

    /// Whether an owner waits for its dependents to go.
    pub fn has_waiting_owner(&self, uid: &str) -> bool {
        self.owners(uid).iter().any(|owner| self.waits(&owner.uid))
    }
}
