//! What an update may change: of the object everything but its status, of a subresource nothing but its own part.
//! The rest is taken from the object as it is.

use api::resource::Resource;
use machinery::field::{FieldError, FieldErrors, Path};
use machinery::meta;
use serde_json::{Map, Value};

use super::target::Target;

/// Fields of metadata that an update without them keeps.
const KEPT_METADATA: [&str; 7] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
    "selfLink",
];

/// Takes from `old` what this update may not change.
pub fn for_update(target: &Target<'_>, object: &mut Value, old: &Value) {
    keep_metadata(object, old);
    match target.subresource_name() {
        "" => {
            if target.resource.subresource("status").is_some() {
                take_field(object, old, "status");
            }
            target.resource.behaviour.prepare_update(object, old);
        }
        "status" => {
            keep_all_but(object, old, &["metadata", "status"]);
            target.resource.behaviour.prepare_status_update(object, old);
        }
        "ephemeralcontainers" => keep_but_one(object, old, &["spec", "ephemeralContainers"]),
        "resize" => resize(object, old),
        "approval" => keep_but_one(object, old, &["status", "conditions"]),
        "finalize" => keep_but_one(object, old, &["spec", "finalizers"]),
        _ => {}
    }
    raise_generation(target.resource, object, old);
}

fn keep_metadata(object: &mut Value, old: &Value) {
    let metadata = meta::metadata_mut(object);
    // The generation is the server's own.
    metadata.remove("generation");
    for field in KEPT_METADATA {
        if let (false, Some(value)) = (metadata.contains_key(field), old["metadata"].get(field)) {
            metadata.insert(field.to_string(), value.clone());
        }
    }
}

fn take_field(object: &mut Value, old: &Value, field: &str) {
    let Some(fields) = object.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => fields.insert(field.to_string(), value.clone()),
        None => fields.remove(field),
    };
}

fn keep_all_but(object: &mut Value, old: &Value, changing: &[&str]) {
    let Some(fields) = object.as_object_mut() else { return };
    fields.retain(|field, _| changing.contains(&field.as_str()));
    for (field, value) in old.as_object().into_iter().flatten() {
        if !changing.contains(&field.as_str()) {
            fields.insert(field.clone(), value.clone());
        }
    }
}

/// Keeps everything of `old`, metadata included, but the field at a path of two names; and the version and managers
/// of the new object, which are looked at later.
fn keep_but_one(object: &mut Value, old: &Value, path: &[&str; 2]) {
    let changed = object[path[0]].get(path[1]).cloned();
    let managers = object["metadata"].get("managedFields").cloned();
    *object = old.clone();
    if let Some(managers) = managers {
        meta::set(object, "managedFields", managers);
    }
    if !object[path[0]].is_object() {
        object[path[0]] = Value::Object(Map::new());
    }
    if let Some(parent) = object[path[0]].as_object_mut() {
        match changed {
            Some(value) => parent.insert(path[1].to_string(), value),
            None => parent.remove(path[1]),
        };
    }
}

/// In-place resize: the containers' resources and resize policies, nothing else.
fn resize(object: &mut Value, old: &Value) {
    let wanted = object["spec"].clone();
    let managers = object["metadata"].get("managedFields").cloned();
    *object = old.clone();
    if let Some(managers) = managers {
        meta::set(object, "managedFields", managers);
    }
    for list in ["containers", "initContainers"] {
        let Some(containers) = object["spec"].get_mut(list).and_then(Value::as_array_mut) else { continue };
        for container in containers {
            let name = container["name"].clone();
            let mut wanted = wanted[list].as_array().into_iter().flatten();
            let Some(wanted) = wanted.find(|wanted| wanted["name"] == name) else { continue };
            for field in ["resources", "resizePolicy"] {
                take_field(container, wanted, field);
            }
        }
    }
    let resources = wanted.get("resources");
    if let (Some(resources), Some(spec)) = (resources, object["spec"].as_object_mut()) {
        spec.insert("resources".to_string(), resources.clone());
    }
}

/// The generation counts changes of what is wanted; of kinds that have one.
fn raise_generation(resource: &Resource, object: &mut Value, old: &Value) {
    let before = meta::generation(old);
    if before == 0 || meta::generation(object) > before || resource.subresource("status").is_none() {
        return;
    }
    if object.get("spec") != old.get("spec") {
        meta::set_generation(object, before + 1);
    }
}

/// What a subresource does not allow.
pub fn check(target: &Target<'_>, object: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if target.subresource_name() == "ephemeralcontainers" {
        let path = Path::new("spec").child("ephemeralContainers");
        let containers = |object: &Value| object["spec"]["ephemeralContainers"].as_array().cloned().unwrap_or_default();
        let wanted = containers(object);
        for (at, before) in containers(old).iter().enumerate() {
            match wanted.iter().find(|container| container["name"] == before["name"]) {
                None => {
                    let why = format!("existing ephemeral containers {} may not be removed", before["name"]);
                    errors.push(FieldError::forbidden(&path, why));
                }
                Some(after) if after != before => {
                    let why = format!("existing ephemeral containers {} may not be changed", before["name"]);
                    errors.push(FieldError::forbidden(&path.index(at), why));
                }
                Some(_) => {}
            }
        }
    }
    errors
}
