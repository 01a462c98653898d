//! Who owns what, as the informers tell it.

use std::collections::{HashMap, HashSet};

use client::discovery::ServerResource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::plan::FOREGROUND;

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub resource: ServerResource,
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

#[derive(Debug)]
struct Node {
    identity: Identity,
    /// The uid of each owner, and whether this one holds up the owner's deletion.
    owners: Vec<(String, bool)>,
    /// Is being deleted after its dependents.
    waiting: bool,
}

/// Every object, by uid, and its dependents. Objects that own nothing and are owned by nothing are among them: their
/// presence is what tells a dependent that its owner exists.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<String, Node>,
    dependents: HashMap<String, HashSet<String>>,
}

impl Graph {
    /// Takes in an object; the owners that it no longer has, or no longer holds up.
    pub fn set(&mut self, resource: &ServerResource, metadata: &ObjectMeta) -> Vec<String> {
        let uid = metadata.uid.clone().unwrap_or_default();
        let references = metadata.owner_references.iter().flatten();
        let owners: Vec<(String, bool)> =
            references.map(|owner| (owner.uid.clone(), owner.block_owner_deletion == Some(true))).collect();
        let foreground = metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FOREGROUND);
        let node = Node {
            identity: Identity {
                resource: resource.clone(),
                namespace: metadata.namespace.clone().unwrap_or_default(),
                name: metadata.name.clone().unwrap_or_default(),
            },
            owners: owners.clone(),
            waiting: metadata.deletion_timestamp.is_some() && foreground,
        };
        let old = self.nodes.insert(uid.clone(), node);
        let old = old.map(|old| old.owners).unwrap_or_default();
        for (owner, _) in &old {
            self.unlink(owner, &uid);
        }
        for (owner, _) in &owners {
            self.dependents.entry(owner.clone()).or_default().insert(uid.clone());
        }
        let still = |(owner, blocked): &(String, bool)| {
            owners.iter().any(|(other, blocks)| other == owner && (*blocks || !blocked))
        };
        old.into_iter().filter(|owner| !still(owner)).map(|(owner, _)| owner).collect()
    }

    /// Takes out an object; its dependents and its owners.
    pub fn remove(&mut self, uid: &str) -> (Vec<String>, Vec<String>) {
        let dependents = self.dependents(uid);
        let Some(node) = self.nodes.remove(uid) else { return (dependents, Vec::new()) };
        let owners: Vec<String> = node.owners.into_iter().map(|(owner, _)| owner).collect();
        for owner in &owners {
            self.unlink(owner, uid);
        }
        let waiting = owners.into_iter().filter(|owner| self.nodes.get(owner).is_some_and(|node| node.waiting));
        (dependents, waiting.collect())
    }

    fn unlink(&mut self, owner: &str, uid: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(uid);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }

    pub fn identity(&self, uid: &str) -> Option<Identity> {
        self.nodes.get(uid).map(|node| node.identity.clone())
    }

    pub fn dependents(&self, uid: &str) -> Vec<String> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Dependents that hold up the deletion of their owner.
    pub fn blocking_dependents(&self, uid: &str) -> Vec<String> {
        let blocks = |dependent: &String| {
            let node = self.nodes.get(dependent);
            node.is_some_and(|node| node.owners.iter().any(|(owner, blocks)| owner == uid && *blocks))
        };
        self.dependents(uid).into_iter().filter(blocks).collect()
    }

    /// Whether an object that waits for its dependents waits in the end for itself: each in the circle waits for the
    /// next, and none would ever go.
    pub fn waits_for_itself(&self, uid: &str) -> bool {
        let waits = |uid: &String| self.nodes.get(uid).is_some_and(|node| node.waiting);
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
        let node = self.nodes.get(uid);
        node.is_some_and(|node| node.owners.iter().any(|(owner, _)| !self.nodes.contains_key(owner)))
    }

    /// Whether the object's ownership, or its own deletion, is to be looked at.
    pub fn is_in_question(&self, uid: &str) -> bool {
        let waits = self.nodes.get(uid).is_some_and(|node| node.waiting);
        waits || self.has_unknown_owner(uid) || self.has_waiting_owner(uid)
    }

    /// Whether an owner waits for its dependents to go.
    pub fn has_waiting_owner(&self, uid: &str) -> bool {
        let waits = |owner: &str| self.nodes.get(owner).is_some_and(|node| node.waiting);
        self.nodes.get(uid).is_some_and(|node| node.owners.iter().any(|(owner, _)| waits(owner)))
    }
}
