//! The part of an object that is the same for every kind, for those who follow all kinds at once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::cache::Cached;

/// Name, owners, finalizers and deletion of an object of any kind; labels and annotations are not kept.
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    /// The object's metadata.
    pub metadata: ObjectMeta,
}

impl Cached for Metadata {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn slim(&mut self) {
        self.metadata.managed_fields = None;
        self.metadata.labels = None;
        self.metadata.annotations = None;
    }
}
