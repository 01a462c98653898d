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

/// What we own of an object, as its managedFields tell. An object whose configuration states no field has no owner.
pub fn owned(object: &Value) -> Option<&Value> {
    meta::managed_fields(object).iter().find(|entry| is_our_entry(entry))?.get(FIELDS)
}

/// Whether the object was applied by us.
pub fn is_ours(object: &Value) -> bool {
    meta::managed_fields(object).iter().any(is_our_entry)
}

/// The object's managedFields with what kubectl owns made ours: the next apply removes of it what the repository does
/// not have. `None` where kubectl owns nothing.
///
/// What was written through a subresource is left: `kubectl scale` sets what the repository may leave to a
/// controller, and where it states the number, that is a difference by itself.
pub fn taken_back(object: &Value) -> Option<Vec<Value>> {
    let entries = meta::managed_fields(object);
    let ours = entries.iter().find(|entry| is_our_entry(entry));
    let version = ours.map_or(meta::api_version(object), |entry| text(entry, API_VERSION));
    // Paths of another version may mean other fields.
    let is_taken = |entry: &Value| {
        text(entry, "manager").starts_with(BY_HAND) && !is_written_apart(entry) && text(entry, API_VERSION) == version
    };
    let (taken, mut kept): (Vec<Value>, Vec<Value>) = entries.iter().cloned().partition(is_taken);
    let mut own = match kept.iter().position(is_our_entry) {
        Some(index) => kept.remove(index),
        None => {
            let mut entry = taken.first()?.clone();
            (entry["manager"], entry["operation"]) = (MANAGER.into(), "Apply".into());
            entry
        }
    };
    let none = Value::Null;
    taken.iter().for_each(|entry| unite(&mut own[FIELDS], entry.get(FIELDS).unwrap_or(&none)));
    kept.push(own);
    (!taken.is_empty()).then_some(kept)
}

/// The field managers of people at a terminal begin so: `kubectl`, `kubectl-edit`, `kubectl-client-side-apply`.
const BY_HAND: &str = "kubectl";
const FIELDS: &str = "fieldsV1";
const API_VERSION: &str = "apiVersion";

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn is_written_apart(entry: &Value) -> bool {
    !text(entry, "subresource").is_empty()
}

fn is_our_entry(entry: &Value) -> bool {
    text(entry, "manager") == MANAGER && text(entry, "operation") == "Apply" && !is_written_apart(entry)
}

/// Adds the paths of one set of fields to another (`fieldsV1`: a tree of objects).
fn unite(into: &mut Value, from: &Value) {
    let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) else { return };
    for (path, below) in from {
        unite(into.entry(path.clone()).or_insert_with(|| below.clone()), below);
    }
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
    fn what_kubectl_owns_is_taken_back_and_what_others_own_is_not() {
        let entry = |manager: &str, operation: &str, version: &str, fields: Value| {
            json!({"manager": manager, "operation": operation, "apiVersion": version, "fieldsType": "FieldsV1",
                   "fieldsV1": fields})
        };
        let ours = |fields| entry("rkctl-gitops", "Apply", "v1", fields);
        let controller = entry("controller", "Update", "v1", json!({"f:data": {"f:c": {}}}));
        let edited = entry("kubectl-edit", "Update", "v1", json!({"f:data": {"f:y": {}}}));
        let applied = entry("kubectl", "Apply", "v1", json!({"f:data": {"f:z": {}}}));
        let mut scaled = entry("kubectl", "Update", "v1", json!({"f:spec": {"f:replicas": {}}}));
        scaled["subresource"] = "scale".into();
        let older = entry("kubectl-patch", "Update", "v1beta1", json!({"f:data": {"f:o": {}}}));
        let own = ours(json!({"f:data": {"f:x": {}}}));
        let both = ours(json!({"f:data": {"f:x": {}, "f:y": {}, "f:z": {}}}));
        for (entries, expected) in [
            (vec![], None),
            (vec![own.clone(), controller.clone(), scaled.clone(), older.clone()], None),
            (vec![own, edited.clone(), controller.clone(), applied], Some(vec![controller.clone(), both])),
            (vec![controller.clone(), edited], Some(vec![controller, ours(json!({"f:data": {"f:y": {}}}))])),
        ] {
            let object = json!({"apiVersion": "v1", "metadata": {"managedFields": entries}});
            assert_eq!(taken_back(&object), expected, "{object}");
        }
    }

    #[test]
    fn keys_read_as_people_write_them() {
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
        assert_eq!(Key::of(&web, true).to_string(), "Deployment.apps default/web");
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "namespace": "x"}});
        assert_eq!(Key::of(&node, false).to_string(), "Node n");
    }
}
