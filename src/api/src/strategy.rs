//! What the server itself sets or keeps when objects are created and updated, the same for most kinds.

use machinery::apply::Reset;
use machinery::meta;
use serde_json::Value;

use crate::read;

/// What a client may write in metadata and a subresource may not, where the kind says so.
const CLIENTS_METADATA: [&str; 4] = ["labels", "annotations", "finalizers", "ownerReferences"];

/// A new object has no status and, where generations are counted, the first generation.
pub fn create(object: &mut Value, has_generation: bool) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    meta::set(object, "generation", if has_generation { Value::from(1) } else { Value::Null });
}

/// The main resource keeps the status it had; its generation goes up when anything but metadata and status changed.
pub fn update(object: &mut Value, old: &Value, has_generation: bool) {
    keep(object, old, "status");
    keep_generation(object, old);
    if has_generation && !is_same_specification(object, old) {
        meta::set_generation(object, meta::generation(old) + 1);
    }
}

/// The `status` subresource changes status and metadata only; the generation stays.
pub fn status_update(object: &mut Value, old: &Value) {
    let others: Vec<String> = [&*object, old]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|fields| fields.keys().cloned())
        .filter(|name| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
        .collect();
    for name in others {
        keep(object, old, &name);
    }
    keep_generation(object, old);
}

fn keep_generation(object: &mut Value, old: &Value) {
    let generation = read::at(old, "metadata.generation").clone();
    meta::set(object, "generation", generation);
}

/// Keeps the fields of metadata that an endpoint does not take from clients.
pub fn keep_metadata(object: &mut Value, old: &Value, reset: Reset<'_>) {
    let is_kept = |field: &str| match reset {
        Reset::Fields(paths) => paths.iter().any(|path| matches!(*path, ["metadata"]) || *path == ["metadata", field]),
        Reset::AllBut(_) => true,
    };
    for field in CLIENTS_METADATA.into_iter().filter(|field| is_kept(field)) {
        meta::set(object, field, old["metadata"][field].clone());
    }
}

/// Gives `object` the field that `old` has.
pub fn keep(object: &mut Value, old: &Value, name: &str) {
    let Some(fields) = object.as_object_mut() else { return };
    match old.get(name) {
        Some(value) => fields.insert(name.to_string(), value.clone()),
        None => fields.remove(name),
    };
}

fn is_same_specification(object: &Value, old: &Value) -> bool {
    let names = |object: &Value| -> Vec<String> {
        let fields = object.as_object().into_iter().flat_map(|fields| fields.keys().cloned());
        fields.filter(|name| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status")).collect()
    };
    names(object).iter().chain(&names(old)).all(|name| read::same(&object[name.as_str()], &old[name.as_str()]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn clients_cannot_set_status_or_generation() {
        let mut object = json!({"metadata": {"generation": 7}, "spec": {}, "status": {"x": 1}});
        create(&mut object, true);
        assert_eq!(object, json!({"metadata": {"generation": 1}, "spec": {}}));
        let old = json!({"metadata": {"generation": 1}, "spec": {"a": 1}, "status": {"y": 2}});
        let mut new = json!({"metadata": {"generation": 9}, "spec": {"a": 1, "b": null}, "status": {"x": 1}});
        update(&mut new, &old, true);
        assert_eq!(new["metadata"]["generation"], 1);
        assert_eq!(new["status"], old["status"]);
        new["spec"]["a"] = json!(2);
        update(&mut new, &old, true);
        assert_eq!(new["metadata"]["generation"], 2);
    }

    #[test]
    fn the_status_subresource_changes_status_and_metadata_only() {
        let old = json!({"metadata": {"generation": 3}, "spec": {"a": 1}, "data": 1});
        let mut new = json!({"metadata": {"labels": {"l": "v"}}, "spec": {"a": 2}, "extra": 1, "status": {"s": 1}});
        status_update(&mut new, &old);
        assert_eq!(
            new,
            json!({"metadata": {"labels": {"l": "v"}, "generation": 3}, "spec": {"a": 1}, "data": 1, "status": {"s": 1}})
        );
        keep_metadata(&mut new, &old, Reset::Fields(&[&["spec"], &["metadata", "annotations"]]));
        assert_eq!(new["metadata"]["labels"], json!({"l": "v"}));
        keep_metadata(&mut new, &old, Reset::Fields(&[&["metadata", "labels"]]));
        assert_eq!(new["metadata"], json!({"generation": 3}));
    }
}
