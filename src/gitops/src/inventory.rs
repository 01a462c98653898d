//! What was applied, so that it can be pruned: a list in a ConfigMap, written before and after the apply.

use k8s_openapi::api::core::v1::ConfigMap;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::object::{self, Key};

/// The ConfigMap that holds the inventory.
pub const INVENTORY_NAME: &str = "rkctl-gitops-inventory";
/// Where in the ConfigMap.
pub const INVENTORY_KEY: &str = "inventory.json";
/// A ConfigMap holds a mebibyte; with names of usual length that is some more objects.
pub const MAX_OBJECTS: usize = 5000;

/// An object that was applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// `apps/v1`: the version it was applied in.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Empty for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Tells it from another of the same name; empty until it was applied.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

impl Entry {
    /// What the object is called.
    pub fn key(&self) -> Key {
        Key {
            group: object::group(&self.api_version).to_owned(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// Reads the inventory out of its ConfigMap; none is empty.
pub fn read(stored: Option<&ConfigMap>) -> Result<Vec<Entry>, Error> {
    let text = stored.and_then(|map| map.data.as_ref()).and_then(|data| data.get(INVENTORY_KEY));
    let parse = |text: &String| serde_json::from_str(text);
    text.map_or(Ok(Vec::new()), parse).map_err(|source| Error::Books { name: INVENTORY_NAME, source })
}

/// The ConfigMap of an inventory, to be applied.
pub fn config_map(entries: &[Entry]) -> ConfigMap {
    let text = serde_json::to_string(entries).unwrap_or_default();
    crate::status::config_map(INVENTORY_NAME, INVENTORY_KEY, text)
}

/// What was there and what will be: nothing that is applied from now on can be forgotten, whatever happens. Where
/// both have an object, the one with a uid counts.
pub fn union(old: &[Entry], new: &[Entry]) -> Vec<Entry> {
    let mut all: std::collections::BTreeMap<Key, Entry> =
        old.iter().map(|entry| (entry.key(), entry.clone())).collect();
    for entry in new {
        let slot = all.entry(entry.key()).or_insert_with(|| entry.clone());
        if !entry.uid.is_empty() {
            *slot = entry.clone();
        }
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, uid: &str) -> Entry {
        Entry {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: "a".into(),
            name: name.into(),
            uid: uid.into(),
        }
    }

    #[test]
    fn the_union_forgets_nothing_and_prefers_what_is_known_to_exist() {
        let old = [entry("kept", "1"), entry("gone", "2")];
        let new = [entry("kept", ""), entry("new", "")];
        assert_eq!(union(&old, &new), [entry("gone", "2"), entry("kept", "1"), entry("new", "")]);
        assert_eq!(union(&old, &[entry("kept", "9")]), [entry("gone", "2"), entry("kept", "9")]);
    }

    #[test]
    fn what_is_written_is_read_again_and_nonsense_is_refused() {
        let entries = vec![entry("a", "1"), entry("b", "")];
        assert_eq!(read(Some(&config_map(&entries))).unwrap(), entries);
        assert_eq!(read(None).unwrap(), []);
        let mut broken = config_map(&entries);
        broken.data.as_mut().unwrap().insert(INVENTORY_KEY.into(), "{".into());
        assert!(read(Some(&broken)).unwrap_err().to_string().contains(INVENTORY_NAME));
    }
}
