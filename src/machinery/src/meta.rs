//! Reading and writing the metadata every object has, on [`serde_json::Value`].
//!
//! Getters answer with an empty string, `None` or nothing for what is missing or of the wrong type: whoever must
//! tell the two apart checks the object against its schema first. No rule about what metadata may hold lives here.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// Labels, annotations and other string maps as they stand in an object.
pub type StringMap = Map<String, Value>;

/// The string at `path`, or empty.
pub fn text_at<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    value_at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// The value at `path` of nested objects; `None` where a part is missing or null.
pub fn value_at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |at, name| at.get(name)).filter(|value| !value.is_null())
}

fn metadata_text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get("metadata").and_then(|metadata| metadata.get(name)).and_then(Value::as_str).unwrap_or_default()
}

/// `apiVersion`.
pub fn api_version(object: &Value) -> &str {
    text_at(object, &["apiVersion"])
}

/// `kind`.
pub fn kind(object: &Value) -> &str {
    text_at(object, &["kind"])
}

/// Takes `apiVersion` and `kind` out.
pub fn remove_type(object: &mut Value) {
    if let Value::Object(fields) = object {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    metadata_text(object, "name")
}

/// `metadata.generateName`.
pub fn generate_name(object: &Value) -> &str {
    metadata_text(object, "generateName")
}

/// `metadata.namespace`.
pub fn namespace(object: &Value) -> &str {
    metadata_text(object, "namespace")
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    metadata_text(object, "uid")
}

/// `metadata.resourceVersion`.
pub fn resource_version(object: &Value) -> &str {
    metadata_text(object, "resourceVersion")
}

/// `metadata.generation`, 0 where missing.
pub fn generation(object: &Value) -> i64 {
    value_at(object, &["metadata", "generation"]).and_then(Value::as_i64).unwrap_or_default()
}

/// `metadata.creationTimestamp`; `None` where missing or malformed.
pub fn creation_timestamp(object: &Value) -> Option<Timestamp> {
    metadata_text(object, "creationTimestamp").parse().ok()
}

/// `metadata.deletionTimestamp`; `None` where missing or malformed.
pub fn deletion_timestamp(object: &Value) -> Option<Timestamp> {
    metadata_text(object, "deletionTimestamp").parse().ok()
}

/// Deletion was asked for: `metadata.deletionTimestamp` is set.
pub fn is_terminating(object: &Value) -> bool {
    value_at(object, &["metadata", "deletionTimestamp"]).is_some()
}

/// `metadata.labels`.
pub fn labels(object: &Value) -> Option<&StringMap> {
    value_at(object, &["metadata", "labels"]).and_then(Value::as_object)
}

/// `metadata.annotations`.
pub fn annotations(object: &Value) -> Option<&StringMap> {
    value_at(object, &["metadata", "annotations"]).and_then(Value::as_object)
}

/// One label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    labels(object)?.get(key)?.as_str()
}

/// One annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    annotations(object)?.get(key)?.as_str()
}

/// `metadata.ownerReferences`.
pub fn owner_references(object: &Value) -> &[Value] {
    list_at(object, "ownerReferences")
}

/// The owner reference with `controller: true`.
pub fn controller_of(object: &Value) -> Option<&Value> {
    owner_references(object).iter().find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list_at(object, "finalizers").iter().filter_map(Value::as_str)
}

/// `metadata.managedFields`.
pub fn managed_fields(object: &Value) -> &[Value] {
    list_at(object, "managedFields")
}

fn list_at<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    value_at(object, &["metadata", name]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The object's metadata to be written to; made, or made an object, where it is none.
pub fn metadata_mut(object: &mut Value) -> &mut StringMap {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    match object {
        Value::Object(fields) => object_entry(fields, "metadata"),
        _ => unreachable!("made an object above"),
    }
}

fn object_entry<'a>(fields: &'a mut StringMap, name: &str) -> &'a mut StringMap {
    let entry = fields.entry(name).or_insert(Value::Null);
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    match entry {
        Value::Object(fields) => fields,
        _ => unreachable!("made an object above"),
    }
}

/// Sets a field of metadata, or removes it where `value` is null.
pub fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    let metadata = metadata_mut(object);
    match value.into() {
        Value::Null => {
            metadata.remove(name);
        }
        value => {
            metadata.insert(name.to_string(), value);
        }
    }
}

/// Sets `metadata.name`.
pub fn set_name(object: &mut Value, name: &str) {
    set(object, "name", name);
}

/// Sets `metadata.namespace`; removes it where empty.
pub fn set_namespace(object: &mut Value, namespace: &str) {
    set_or_remove(object, "namespace", namespace);
}

/// Sets `metadata.uid`.
pub fn set_uid(object: &mut Value, uid: &str) {
    set_or_remove(object, "uid", uid);
}

/// Sets `metadata.resourceVersion`; removes it where empty.
pub fn set_resource_version(object: &mut Value, resource_version: &str) {
    set_or_remove(object, "resourceVersion", resource_version);
}

/// Sets `metadata.generation`.
pub fn set_generation(object: &mut Value, generation: i64) {
    set(object, "generation", generation);
}

/// Sets `metadata.creationTimestamp` to the second.
pub fn set_creation_timestamp(object: &mut Value, time: Timestamp) {
    set(object, "creationTimestamp", format_time(time));
}

/// Sets `metadata.deletionTimestamp` to the second.
pub fn set_deletion_timestamp(object: &mut Value, time: Timestamp) {
    set(object, "deletionTimestamp", format_time(time));
}

/// Sets one label.
pub fn set_label(object: &mut Value, key: &str, value: &str) {
    object_entry(metadata_mut(object), "labels").insert(key.to_string(), value.into());
}

/// Sets one annotation.
pub fn set_annotation(object: &mut Value, key: &str, value: &str) {
    object_entry(metadata_mut(object), "annotations").insert(key.to_string(), value.into());
}

/// Sets `metadata.finalizers`; removes the field where there are none.
pub fn set_finalizers<S: Into<String>>(object: &mut Value, finalizers: impl IntoIterator<Item = S>) {
    let list: Vec<Value> = finalizers.into_iter().map(|finalizer| Value::String(finalizer.into())).collect();
    set(object, "finalizers", if list.is_empty() { Value::Null } else { Value::Array(list) });
}

fn set_or_remove(object: &mut Value, name: &str, value: &str) {
    set(object, name, if value.is_empty() { Value::Null } else { value.into() });
}

/// A point in time as Kubernetes' `Time` is written: UTC, whole seconds (`2026-01-02T03:04:05Z`).
pub fn format_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A point in time as Kubernetes' `MicroTime` is written: UTC, six decimals (`2026-01-02T03:04:05.000000Z`).
pub fn format_micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_or_malformed_reads_as_empty() {
        for object in [json!({}), json!({"metadata": null}), json!({"metadata": {"name": 1, "labels": []}}), json!(1)] {
            assert_eq!((name(&object), namespace(&object), uid(&object)), ("", "", ""));
            assert!(labels(&object).is_none() && creation_timestamp(&object).is_none());
            assert!(owner_references(&object).is_empty() && finalizers(&object).next().is_none());
        }
    }

    #[test]
    fn setters_make_metadata_and_remove_what_is_emptied() {
        let mut object = json!({"kind": "Pod"});
        set_name(&mut object, "a");
        set_namespace(&mut object, "b");
        set_label(&mut object, "app", "web");
        set_finalizers(&mut object, ["x/y"]);
        set_creation_timestamp(&mut object, "2026-01-02T03:04:05.9Z".parse().unwrap());
        assert_eq!(
            object,
            json!({"kind": "Pod", "metadata": {"name": "a", "namespace": "b", "labels": {"app": "web"},
                "finalizers": ["x/y"], "creationTimestamp": "2026-01-02T03:04:05Z"}})
        );
        set_namespace(&mut object, "");
        set_finalizers(&mut object, Vec::<String>::new());
        assert!(object["metadata"].get("namespace").is_none() && object["metadata"].get("finalizers").is_none());
    }

    #[test]
    fn the_controller_is_the_owner_that_says_so() {
        let object = json!({"metadata": {"ownerReferences": [{"name": "a"}, {"name": "b", "controller": true}]}});
        assert_eq!(controller_of(&object).unwrap()["name"], "b");
    }

    #[test]
    fn times_are_written_to_the_second_or_microsecond() {
        let time: Timestamp = "2026-01-02T03:04:05.000012999Z".parse().unwrap();
        assert_eq!(format_time(time), "2026-01-02T03:04:05Z");
        assert_eq!(format_micro_time(time), "2026-01-02T03:04:05.000012Z");
    }
}
