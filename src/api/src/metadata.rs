//! The rules of `metadata`, the same for every kind, and the two ways into validation.
//!
//! What a kind adds is its [`Kind::validate`](crate::resource::Kind::validate); fields with a fixed set of values are
//! checked by their schema.

mod choices;

use machinery::field::{FieldError, FieldErrors, Path, Reason};
use machinery::gvk::GroupVersion;
use machinery::{meta, names};
use serde_json::Value;

use crate::resource::Resource;

/// All annotations of an object together, keys and values, in bytes.
pub const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;

/// Finalizers that need no domain.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
/// Groups of kinds that take finalizers without a domain.
const FREE_GROUPS: [&str; 5] = [
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
];

/// Everything that is wrong with a new object.
pub fn validate_create(resource: &Resource, object: &Value) -> FieldErrors {
    if !resource.has_verb("get") {
        // A review is answered, not kept: it needs no name.
        return kind_errors(resource, object, None);
    }
    let mut errors = validate_meta(resource, object);
    errors.extend(kind_errors(resource, object, None));
    errors.extend(resource.behaviour.validate_new(object));
    errors
}

fn kind_errors(resource: &Resource, object: &Value, old: Option<&Value>) -> FieldErrors {
    let mut errors = match resource.custom() {
        // The whole schema is checked by the kind itself, with what was there before in view.
        Some(_) => FieldErrors::new(),
        None => choices::validate(resource, object),
    };
    errors.extend(match old {
        Some(old) => resource.behaviour.validate_changed(object, old),
        None => resource.behaviour.validate(object),
    });
    errors
}

/// Everything that is wrong with a change of an object.
pub fn validate_update(resource: &Resource, object: &Value, old: &Value) -> FieldErrors {
    let mut errors = validate_meta(resource, object);
    errors.extend(validate_object_meta_update(object, old));
    errors.extend(kind_errors(resource, object, Some(old)));
    errors.extend(resource.behaviour.validate_update(object, old));
    errors
}

/// Everything that is wrong with a change through a subresource (`status`, `finalize`, …).
pub fn validate_subresource_update(resource: &Resource, subresource: &str, object: &Value, old: &Value) -> FieldErrors {
    let mut errors = validate_meta(resource, object);
    errors.extend(validate_object_meta_update(object, old));
    errors.extend(resource.behaviour.validate_subresource_update(subresource, object, old));
    errors
}

fn validate_meta(resource: &Resource, object: &Value) -> FieldErrors {
    let mut errors = validate_object_meta(object, resource.namespaced, resource.name_rule);
    if !takes_any_finalizer(resource) {
        errors.extend(validate_finalizers_are_known(object));
    }
    errors
}

/// Kinds whose finalizers need no domain: custom ones, and those whose rules came from outside of the core.
fn takes_any_finalizer(resource: &Resource) -> bool {
    resource.custom().is_some()
        || FREE_GROUPS.contains(&resource.group_version.group.as_str())
        || matches!(
            (&*resource.group_version.group, &*resource.plural),
            ("", "events") | ("policy", "poddisruptionbudgets")
        )
}

fn is_free(finalizer: &str) -> bool {
    !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer)
}

/// What clients are told of new finalizers of custom objects, which are taken all the same.
pub fn finalizer_warnings(resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<String> {
    if resource.custom().is_none() {
        return Vec::new();
    }
    let was_there = |finalizer: &str| old.is_some_and(|old| meta::finalizers(old).any(|found| found == finalizer));
    meta::finalizers(object)
        .filter(|finalizer| is_free(finalizer) && !was_there(finalizer))
        .map(|finalizer| {
            format!(
                "metadata.finalizers: {finalizer:?}: prefer a domain-qualified finalizer name including a path (/) to \
                 avoid accidental conflicts with other finalizer writers"
            )
        })
        .collect()
}

fn validate_finalizers_are_known(object: &Value) -> FieldErrors {
    let path = Path::new("metadata").child("finalizers");
    meta::finalizers(object)
        .enumerate()
        .filter(|(_, finalizer)| is_free(finalizer))
        .map(|(index, finalizer)| {
            let wrong = "name is neither a standard finalizer name nor is it fully qualified";
            FieldError::invalid(&path.index(index), finalizer, wrong)
        })
        .collect()
}

/// The rules of an object's `metadata`; `name_rule` is its kind's rule for names.
pub fn validate_object_meta(object: &Value, namespaced: bool, name_rule: fn(&str) -> Vec<String>) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = FieldErrors::new();
    let (name, generate_name) = (meta::name(object), meta::generate_name(object));
    if !generate_name.is_empty() {
        // Letters follow a trailing dash, so the name will not end with it.
        let masked = generate_name.strip_suffix('-').map(|base| format!("{base}a"));
        let wrong = name_rule(masked.as_deref().unwrap_or(generate_name));
        invalid(&path.child("generateName"), generate_name, wrong, &mut errors);
    }
    match name {
        "" => errors.push(FieldError::required(&path.child("name"), "name or generateName is required")),
        name => invalid(&path.child("name"), name, name_rule(name), &mut errors),
    }
    let namespace_path = path.child("namespace");
    match (namespaced, meta::namespace(object)) {
        (true, "") => errors.push(FieldError::required(&namespace_path, "")),
        (true, namespace) => invalid(&namespace_path, namespace, names::dns1123_label(namespace), &mut errors),
        (false, "") => {}
        (false, _) => errors.push(FieldError::forbidden(&namespace_path, "not allowed on this type")),
    }
    if meta::generation(object) < 0 {
        let wrong = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&path.child("generation"), meta::generation(object), wrong));
    }
    let metadata = &object["metadata"];
    errors.extend(validate_labels(&metadata["labels"], &path.child("labels")));
    errors.extend(validate_annotations(&metadata["annotations"], &path.child("annotations")));
    errors.extend(validate_owners(meta::owner_references(object), &path.child("ownerReferences")));
    errors.extend(validate_finalizers(object, &path.child("finalizers")));
    errors
}

fn invalid(path: &Path, value: &str, wrong: Vec<String>, errors: &mut FieldErrors) {
    errors.extend(wrong.into_iter().map(|detail| FieldError::invalid(path, value, detail)));
}

/// The rules of labels, of an object or a template.
pub fn validate_labels(labels: &Value, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        invalid(path, key, names::qualified_name(key), &mut errors);
        let value = value.as_str().unwrap_or_default();
        invalid(path, value, names::label_value(value), &mut errors);
    }
    errors
}

/// The rules of annotations, of an object or a template.
pub fn validate_annotations(annotations: &Value, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut size_bytes = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        invalid(path, key, names::qualified_name(&key.to_lowercase()), &mut errors);
        size_bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if size_bytes > ANNOTATIONS_MAX_BYTES {
        errors.push(too_long(path, ANNOTATIONS_MAX_BYTES));
    }
    errors
}

/// A value of more bytes than allowed.
pub(crate) fn too_long(path: &Path, limit_bytes: usize) -> FieldError {
    FieldError {
        path: path.clone(),
        reason: Reason::TooLong,
        value: Value::Null,
        detail: format!("may not be more than {limit_bytes} bytes"),
    }
}

fn validate_owners(owners: &[Value], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut controller: Option<&str> = None;
    for owner in owners {
        let api_version = meta::api_version(owner);
        if GroupVersion::parse(api_version).is_none() {
            let wrong = if api_version.is_empty() { "version must not be empty" } else { "must be GROUP/VERSION" };
            errors.push(FieldError::invalid(&path.child("apiVersion"), api_version, wrong));
        }
        for field in ["kind", "name", "uid"] {
            if meta::text_at(owner, &[field]).is_empty() {
                errors.push(FieldError::invalid(&path.child(field), "", format!("{field} must not be empty")));
            }
        }
        if meta::kind(owner) == "Event" && matches!(api_version, "v1" | "events.k8s.io/v1") {
            let wrong = format!("{api_version}, Kind=Event is disallowed from being an owner");
            errors.push(FieldError::invalid(path, owner.clone(), wrong));
        }
        if owner["controller"] == Value::Bool(true) {
            let name = meta::text_at(owner, &["name"]);
            if let Some(first) = controller {
                let wrong = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                errors.push(FieldError::invalid(path, owners.to_vec(), wrong));
            }
            controller = Some(name);
        }
    }
    errors
}

fn validate_finalizers(object: &Value, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let finalizers: Vec<&str> = meta::finalizers(object).collect();
    for finalizer in &finalizers {
        invalid(path, finalizer, names::qualified_name(finalizer), &mut errors);
    }
    if finalizers.contains(&"orphan") && finalizers.contains(&"foregroundDeletion") {
        let wrong = "finalizers orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(path, finalizers, wrong));
    }
    errors
}

/// What may not change in `metadata`.
pub fn validate_object_meta_update(object: &Value, old: &Value) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = FieldErrors::new();
    let frozen = ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];
    for field in frozen {
        let (new, old) = (&object["metadata"][field], &old["metadata"][field]);
        if new != old {
            errors.push(FieldError::invalid(&path.child(field), new.clone(), "field is immutable"));
        }
    }
    if meta::generation(object) < meta::generation(old) {
        errors.push(FieldError::invalid(
            &path.child("generation"),
            meta::generation(object),
            "must not be decremented",
        ));
    }
    if meta::is_terminating(old) {
        let added: Vec<String> = meta::finalizers(object)
            .filter(|finalizer| !meta::finalizers(old).any(|kept| kept == *finalizer))
            .map(|finalizer| format!("{finalizer:?}"))
            .collect();
        if !added.is_empty() {
            errors.push(FieldError::forbidden(
                &path.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    added.join(", ")
                ),
            ));
        }
    }
    errors
}

#[cfg(test)]
mod tests;
