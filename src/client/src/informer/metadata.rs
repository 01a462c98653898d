//! The part of an object that is the same for every kind, for those who follow all kinds at once. There is one of every
//! object of the cluster: it is read past everything else, and kept in as few bytes as it takes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

use super::cache::{Accept, Cached};

/// Name, owners, finalizers and deletion of an object of any kind; nothing else is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Read")]
pub struct Metadata {
    namespace: Box<str>,
    name: Box<str>,
    uid: Box<str>,
    resource_version: Box<str>,
    /// Most objects have none of it.
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rest {
    owners: Box<[Owner]>,
    finalizers: Box<[Box<str>]>,
    is_being_deleted: bool,
}

/// Who owns an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The owner's uid.
    pub uid: Box<str>,
    /// Whether the object holds up the owner's deletion.
    pub blocks: bool,
}

impl Metadata {
    /// metadata.namespace; empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// metadata.name
    pub fn name(&self) -> &str {
        &self.name
    }

    /// metadata.uid; empty where there is none.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// metadata.ownerReferences
    pub fn owners(&self) -> &[Owner] {
        self.rest.as_ref().map(|rest| &*rest.owners).unwrap_or_default()
    }

    /// Whether a finalizer is among metadata.finalizers.
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.finalizers.iter().any(|own| **own == *finalizer))
    }

    /// Whether it has a metadata.deletionTimestamp.
    pub fn is_being_deleted(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.is_being_deleted)
    }
}

impl Cached for Metadata {
    const ACCEPT: Option<Accept> = Some(Accept {
        list: "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        watch: "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
    });

    fn names(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }

    fn uid(&self) -> Option<&str> {
        Some(&*self.uid).filter(|uid| !uid.is_empty())
    }

    fn resource_version(&self) -> Option<&str> {
        Some(&*self.resource_version).filter(|version| !version.is_empty())
    }

    fn slim(&mut self) {}
}

/// What is read; everything else of an object is passed over.
#[derive(Deserialize)]
struct Read {
    metadata: ReadMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadMetadata {
    namespace: Option<Box<str>>,
    name: Option<Box<str>>,
    uid: Option<Box<str>>,
    resource_version: Option<Box<str>>,
    owner_references: Option<Vec<ReadOwner>>,
    finalizers: Option<Box<[Box<str>]>>,
    deletion_timestamp: Option<Time>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadOwner {
    uid: Box<str>,
    block_owner_deletion: Option<bool>,
}

impl From<Read> for Metadata {
    fn from(Read { metadata: read }: Read) -> Self {
        let owners = read.owner_references.into_iter().flatten();
        let rest = Rest {
            owners: owners
                .map(|owner| Owner { uid: owner.uid, blocks: owner.block_owner_deletion == Some(true) })
                .collect(),
            finalizers: read.finalizers.unwrap_or_default(),
            is_being_deleted: read.deletion_timestamp.is_some(),
        };
        let has_rest = rest.is_being_deleted || !rest.owners.is_empty() || !rest.finalizers.is_empty();
        Self {
            namespace: read.namespace.unwrap_or_default(),
            name: read.name.unwrap_or_default(),
            uid: read.uid.unwrap_or_default(),
            resource_version: read.resource_version.unwrap_or_default(),
            rest: has_rest.then(|| Box::new(rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_collectors_ask_of_is_read_and_the_rest_is_passed_over() {
        let object = json!({"kind": "X", "spec": {"metadata": 1}, "metadata": {
            "name": "x", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"},
            "managedFields": [{"fieldsV1": {"f:a": {}}}], "finalizers": ["orphan"],
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Y", "name": "y", "uid": "o", "blockOwnerDeletion": true},
                {"apiVersion": "v1", "kind": "Y", "name": "z", "uid": "p"}],
        }});
        let read: Metadata = serde_json::from_value(object).unwrap();
        assert_eq!((read.names(), read.uid(), read.resource_version()), (("n", "x"), "u", Some("7")));
        let owners: Vec<(&str, bool)> = read.owners().iter().map(|owner| (&*owner.uid, owner.blocks)).collect();
        assert_eq!(owners, [("o", true), ("p", false)]);
        assert!(read.has_finalizer("orphan") && !read.has_finalizer("x") && read.is_being_deleted());
        let bare: Metadata = serde_json::from_value(json!({"metadata": {"name": "x", "finalizers": null}})).unwrap();
        assert!(bare.owners().is_empty() && !bare.has_finalizer("") && !bare.is_being_deleted());
        assert_eq!((bare.names(), Cached::uid(&bare), bare.resource_version()), (("", "x"), None, None));
        assert!(serde_json::from_value::<Metadata>(json!({"metadata": 1})).is_err());
    }
}
