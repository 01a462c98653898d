//! Environment variables and where their values come from.

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use super::resources;
use crate::check::At;
use crate::read;

const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What can be read of a pod and not be handed to its containers.
const OTHER_FIELDS: [&str; 4] = ["spec.restartPolicy", "spec.schedulerName", "spec.host", "status.phase"];
const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// A container's environment.
pub(crate) fn validate(container: &At<'_>, errors: &mut FieldErrors) {
    for variable in container.items("env") {
        variable.at("name").require_name(errors, names::env_var_name);
        source(&variable, errors);
    }
    for source in container.items("envFrom") {
        source.at("prefix").optional_name(errors, names::env_var_name);
        let set: Vec<&str> =
            ["configMapRef", "secretRef"].into_iter().filter(|kind| read::is_set(source.value, kind)).collect();
        match set.as_slice() {
            [] => {
                let wrong = "must specify one of: `configMapRef` or `secretRef`";
                errors.push(FieldError::invalid(&source.path, "", wrong));
            }
            [kind] => source.at(kind).at("name").require_name(errors, names::dns1123_subdomain),
            _ => several(&source, errors),
        }
    }
}

fn several(at: &At<'_>, errors: &mut FieldErrors) {
    errors.push(FieldError::invalid(&at.path, "", "may not have more than one field specified at a time"));
}

fn source(variable: &At<'_>, errors: &mut FieldErrors) {
    let from = variable.at("valueFrom");
    if !from.is_set() {
        return;
    }
    let set: Vec<&str> = SOURCES.into_iter().filter(|kind| read::is_set(from.value, kind)).collect();
    for kind in &set {
        let source = from.at(kind);
        match *kind {
            "fieldRef" => field_reference(&source, &ENV_FIELDS, errors),
            "resourceFieldRef" => resources::validate_reference(&source, false, errors),
            "fileKeyRef" => {
                for field in ["volumeName", "path", "key"] {
                    source.at(field).require_text(errors);
                }
            }
            _ => {
                source.at("name").follows(errors, names::dns1123_subdomain);
                source.at("key").require_name(errors, names::config_map_key);
            }
        }
    }
    if set.is_empty() {
        let wrong =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        errors.push(FieldError::invalid(&from.path, "", wrong));
    } else if !variable.at("value").text().is_empty() {
        errors.push(FieldError::invalid(&from.path, "", "may not be specified when `value` is not empty"));
    } else if set.len() > 1 {
        several(&from, errors);
    }
}

/// A reference to a field of the pod, from a file of a volume.
pub(crate) fn file_field_reference(reference: &At<'_>, errors: &mut FieldErrors) {
    field_reference(reference, &FILE_FIELDS, errors);
}

fn field_reference(reference: &At<'_>, supported: &[&str], errors: &mut FieldErrors) {
    let (version, field) = (reference.at("apiVersion"), reference.at("fieldPath"));
    if version.require_text(errors).is_none() {
        return;
    }
    let Some(path) = field.require_text(errors) else { return };
    let unread = |errors: &mut FieldErrors, why: String| {
        field.invalid(errors, format!("error converting fieldPath: {why}"));
    };
    if version.text() != "v1" {
        return unread(errors, format!("unsupported pod version: {}", version.text()));
    }
    match path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        Some(("metadata.annotations", key)) => subscript(reference, &key.to_lowercase(), errors),
        Some(("metadata.labels", key)) => subscript(reference, key, errors),
        Some(_) => unread(errors, format!("field label does not support subscript: {path}")),
        None if supported.contains(&path) => {}
        None if ENV_FIELDS.contains(&path) || FILE_FIELDS.contains(&path) || OTHER_FIELDS.contains(&path) => {
            field.not_supported(errors, supported);
        }
        None => unread(errors, format!("field label not supported: {path}")),
    }
}

fn subscript(reference: &At<'_>, key: &str, errors: &mut FieldErrors) {
    for wrong in names::qualified_name(key) {
        errors.push(FieldError::invalid(&reference.path, key, wrong));
    }
}
