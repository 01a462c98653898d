use machinery::field::FieldErrors;
use machinery::names;
use serde_json::{Value, json};

use super::*;

fn texts(errors: FieldErrors) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn check(metadata: Value) -> Vec<String> {
    texts(validate_object_meta(&json!({"metadata": metadata}), true, names::dns1123_subdomain))
}

#[test]
fn metadata_is_checked_in_kubernetes_words() {
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({"name": "a", "namespace": "b"}), &[]),
        (json!({"generateName": "a-", "name": "a-x", "namespace": "b"}), &[]),
        (json!({"namespace": "b"}), &["metadata.name: Required value: name or generateName is required"]),
        (json!({"name": "a"}), &["metadata.namespace: Required value"]),
        (
            json!({"name": "a", "namespace": "b", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]}),
            &["metadata.ownerReferences.uid: Invalid value: \"\": uid must not be empty"],
        ),
    ];
    for (metadata, expected) in cases {
        assert_eq!(check(metadata.clone()), expected, "{metadata}");
    }
    let errors = check(json!({"name": "A_b", "namespace": "b", "labels": {"a/b/c": "x", "ok": "-no"}}));
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].starts_with("metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must"));
    assert!(errors[1].starts_with("metadata.labels: Invalid value: \"a/b/c\": a valid label key"));
    assert!(errors[2].starts_with("metadata.labels: Invalid value: \"-no\": a valid label must"));
}

#[test]
fn cluster_scoped_objects_have_no_namespace() {
    let object = json!({"metadata": {"name": "n", "namespace": "x"}});
    assert_eq!(
        texts(validate_object_meta(&object, false, names::dns1123_subdomain)),
        ["metadata.namespace: Forbidden: not allowed on this type"]
    );
}

#[test]
fn annotations_are_bounded() {
    let object = json!({"name": "a", "namespace": "b", "annotations": {"k": "x".repeat(ANNOTATIONS_MAX_BYTES)}});
    assert_eq!(check(object), ["metadata.annotations: Too long: may not be more than 262144 bytes"]);
}

#[test]
fn identity_cannot_change() {
    let old =
        json!({"metadata": {"name": "a", "namespace": "b", "uid": "1", "generation": 2, "deletionTimestamp": "t"}});
    let new = json!({"metadata": {"name": "a", "namespace": "b", "uid": "2", "generation": 1, "deletionTimestamp": "t",
        "finalizers": ["x/y"]}});
    assert_eq!(
        texts(validate_object_meta_update(&new, &old)),
        [
            "metadata.uid: Invalid value: \"2\": field is immutable",
            "metadata.generation: Invalid value: 1: must not be decremented",
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new \
             finalizers []string{\"x/y\"}",
        ]
    );
}
