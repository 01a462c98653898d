//! How policy reads the cluster: objects straight out of the store's memory, decoded on the way. Never writes, and
//! knows keys but no kind.

use std::sync::Arc;

use serde_json::Value;
use store::{Entry, RangeOptions, Store};

use crate::status::{Result, Status};
use crate::storage::{self, StoredLabels};

/// Reads objects.
#[derive(Clone)]
pub struct Live(Arc<dyn Store>);

impl Live {
    /// Reads from `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// The store below.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0
    }

    /// An object with its resourceVersion; `namespace` is empty for cluster-scoped resources.
    ///
    /// # Errors
    /// 500 where the store fails.
    pub async fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Result<Option<Value>> {
        self.entry(group, resource, namespace, name).await?.as_ref().map(decode).transpose()
    }

    /// An object as it is stored, for those who want little of it.
    ///
    /// # Errors
    /// 500 where the store fails.
    pub async fn entry(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Result<Option<Entry>> {
        if name.is_empty() || name.contains('/') {
            return Ok(None);
        }
        let key = prefix(group, resource, namespace) + name;
        self.0.get(&key).await.map_err(failure)
    }

    /// The objects of a resource, of one namespace or (empty) of all, in order of their keys.
    ///
    /// # Errors
    /// 500 where the store fails.
    pub async fn list(&self, group: &str, resource: &str, namespace: &str) -> Result<Vec<Value>> {
        let range = self.0.range(&prefix(group, resource, namespace), RangeOptions::default()).await;
        range.map_err(failure)?.entries.iter().map(decode).collect()
    }

    /// Those of the objects whose labels are meant; of others no more is decoded.
    ///
    /// # Errors
    /// 500 where the store fails.
    pub async fn select(
        &self,
        group: &str,
        resource: &str,
        namespace: &str,
        is_meant: impl Fn(&StoredLabels<'_>) -> bool,
    ) -> Result<Vec<Value>> {
        let range =
            self.0.range(&prefix(group, resource, namespace), RangeOptions::default()).await.map_err(failure)?;
        range.entries.iter().filter(|entry| is_meant(&storage::labels(&entry.value))).map(decode).collect()
    }

    /// How many objects there are.
    ///
    /// # Errors
    /// 500 where the store fails.
    pub async fn count(&self, group: &str, resource: &str, namespace: &str) -> Result<u64> {
        self.0.count(&prefix(group, resource, namespace)).await.map_err(failure)
    }
}

/// The prefix of a resource's keys.
pub fn prefix(group: &str, resource: &str, namespace: &str) -> String {
    let mut prefix = String::from("/registry/");
    for part in [group, resource, namespace] {
        if !part.is_empty() {
            prefix.push_str(part);
            prefix.push('/');
        }
    }
    prefix
}

/// The object of an entry, with its resourceVersion.
///
/// # Errors
/// 500 where the bytes are no object.
pub fn decode(entry: &Entry) -> Result<Value> {
    let broken = |why: &str| Status::internal(format!("the stored object {} cannot be decoded: {why}", entry.key));
    let mut object: Value = serde_json::from_slice(&entry.value).map_err(|error| broken(&error.to_string()))?;
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut).ok_or_else(|| broken("no metadata"))?;
    metadata.insert("resourceVersion".to_string(), entry.mod_revision.to_string().into());
    Ok(object)
}

fn failure(error: store::Error) -> Status {
    Status::internal(stdx::error::chain(&error))
}

/// The string at a JSON pointer; empty where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The elements of the list at a JSON pointer; none where there is no list.
pub fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The strings of the list at a JSON pointer.
pub fn texts(object: &Value, pointer: &str) -> Vec<String> {
    items(object, pointer).iter().filter_map(Value::as_str).map(str::to_string).collect()
}
