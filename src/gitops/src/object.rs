//! What an object is called, and what its content is apart from the API's own bookkeeping.

use std::fmt;

use machinery::meta;
use serde_json::Value;

use crate::MANAGER;

/// An object of the cluster, whatever version it is written in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key {
    /// Empty for the core group.
    pub group: String,
    /// `Deployment`.
    pub kind: String,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Key {
    /// What `object` is called; `namespaced` tells whether its kind lives in namespaces.
    pub fn of(object: &Value, namespaced: bool) -> Self {
        let namespace = match meta::namespace(object) {
            _ if !namespaced => "",
            "" => "default",
            namespace => namespace,
        };
        Self {
            group: group(meta::api_version(object)).to_owned(),
            kind: meta::kind(object).to_owned(),
            namespace: namespace.to_owned(),
            name: meta::name(object).to_owned(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{}{dot}{} {}{slash}{}", self.kind, self.group, self.namespace, self.name)
    }
}

/// The group of an apiVersion.
pub fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Whether two states of an object differ in anything but what the API counts and notes by itself.
pub fn differs(live: &Value, planned: &Value) -> bool {
    content(live) != content(planned)
}

fn content(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(field);
        }
    }
    object
}

/// Whether the object was applied by us.
pub fn is_ours(object: &Value) -> bool {
    let field = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    meta::managed_fields(object)
        .iter()
        .any(|entry| field(entry, "manager") == MANAGER && field(entry, "operation") == "Apply")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_apis_own_counts_are_no_difference() {
        let live = json!({"metadata": {"name": "a", "resourceVersion": "1", "generation": 1}, "data": {"a": "1"}});
        let same = json!({"metadata": {"name": "a", "resourceVersion": "2", "managedFields": []}, "data": {"a": "1"}});
        let other = json!({"metadata": {"name": "a", "resourceVersion": "1"}, "data": {"a": "2"}});
        assert!(!differs(&live, &same));
        assert!(differs(&live, &other));
    }

    #[test]
    fn keys_read_as_people_write_them() {
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
        assert_eq!(Key::of(&web, true).to_string(), "Deployment.apps default/web");
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "namespace": "x"}});
        assert_eq!(Key::of(&node, false).to_string(), "Node n");
    }
}
