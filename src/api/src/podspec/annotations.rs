//! Annotations of pods and templates that mean something: profiles as they were said before there were fields, the
//! cost of a deletion, and the mark of pods that only mirror a file on a node.

use machinery::field::{FieldError, FieldErrors};
use serde_json::Value;

use super::CONTAINER_LISTS;
use crate::check::At;
use crate::read;

/// The annotation of mirror pods.
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Everything that is wrong with the annotations of a pod or a template with this spec.
pub(crate) fn validate(metadata: &At<'_>, spec: &At<'_>, errors: &mut FieldErrors) {
    for (key, entry) in metadata.entries("annotations") {
        match key {
            MIRROR if spec.at("nodeName").text().is_empty() => {
                entry.invalid(errors, "must set spec.nodeName if mirror pod annotation is set");
            }
            DELETION_COST if !is_cost(entry.text()) => entry.invalid(errors, "must be a 32bit integer"),
            SECCOMP_POD => seccomp(&entry, errors),
            key if key.starts_with(SECCOMP_CONTAINER) => seccomp(&entry, errors),
            key => {
                if let Some(container) = key.strip_prefix(APP_ARMOR) {
                    app_armor(&entry, container, spec, errors);
                }
            }
        }
    }
}

/// A whole number of 32 bits without a sign before it or zeros.
fn is_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = text == "0" || digits.starts_with(|first: char| ('1'..='9').contains(&first));
    is_plain && text.parse::<i32>().is_ok()
}

fn seccomp(entry: &At<'_>, errors: &mut FieldErrors) {
    match entry.text().strip_prefix("localhost/") {
        Some(path) if path.starts_with('/') => entry.invalid(errors, "must be a relative path"),
        Some(path) if path.split('/').any(|part| part == "..") => entry.invalid(errors, "must not contain '..'"),
        Some(_) => {}
        None if matches!(entry.text(), "runtime/default" | "docker/default" | "unconfined") => {}
        None => entry.invalid(errors, "must be a valid seccomp profile"),
    }
}

fn app_armor(entry: &At<'_>, container: &str, spec: &At<'_>, errors: &mut FieldErrors) {
    let is_known =
        CONTAINER_LISTS.iter().any(|list| spec.items(list).any(|found| found.at("name").text() == container));
    if !is_known {
        errors.push(FieldError::invalid(&entry.path, container, "container not found"));
    }
    let profile = entry.text();
    if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with("localhost/") {
        entry.invalid(errors, format!("invalid AppArmor profile name: {profile:?}"));
    }
}

/// A profile that is said by an annotation and by a field has to be the same.
pub(crate) fn validate_profiles(metadata: &At<'_>, spec: &At<'_>, errors: &mut FieldErrors) {
    let said = |key: &str| metadata.at("annotations").key(key).value.as_str();
    let of_pod = spec.at("securityContext");
    if let Some(annotation) = said(SECCOMP_POD) {
        same(annotation, &of_pod.at("seccompProfile"), "seccomp", errors);
    }
    let is_windows = spec.at("os.name").text() == "windows";
    for container in CONTAINER_LISTS.iter().flat_map(|list| spec.items(list).collect::<Vec<_>>()) {
        let (name, context) = (container.at("name").text(), container.at("securityContext"));
        if let Some(annotation) = said(&format!("{SECCOMP_CONTAINER}{name}")) {
            same(annotation, &context.at("seccompProfile"), "seccomp", errors);
        }
        let Some(annotation) = said(&format!("{APP_ARMOR}{name}")).filter(|_| !is_windows) else { continue };
        let own = context.at("appArmorProfile");
        let profile = if own.is_set() { own.value } else { of_pod.at("appArmorProfile").value };
        same(annotation, &At { value: profile, path: own.path.clone() }, "apparmor", errors);
    }
}

fn same(annotation: &str, profile: &At<'_>, kind: &str, errors: &mut FieldErrors) {
    let local = annotation.strip_prefix("localhost/");
    let is_type = match profile.at("type").text() {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => annotation == "runtime/default" || (kind == "seccomp" && annotation == "docker/default"),
        "Localhost" => local.is_some(),
        _ => return,
    };
    if !is_type {
        profile.at("type").forbidden(errors, &format!("{kind} type in annotation and field must match"));
    } else if profile.at("type").text() == "Localhost" && profile.at("localhostProfile").value.as_str() != local {
        let wrong = format!("{kind} profile in annotation and field must match");
        profile.at("localhostProfile").forbidden(errors, &wrong);
    }
}

/// The annotations that stay with a pod as they were when it was made.
pub(crate) fn validate_update(metadata: &At<'_>, old: &Value, errors: &mut FieldErrors) {
    let (annotations, before) = (metadata.at("annotations"), read::map(old, "annotations"));
    let fixed = |key: &str| key == MIRROR || key.starts_with(APP_ARMOR);
    let name = |key: &str| if key == MIRROR { "mirror pod annotation" } else { "AppArmor annotations" };
    for (key, value) in before.iter().filter(|(key, _)| fixed(key)) {
        if annotations.key(key).value != value {
            annotations.key(key).forbidden(errors, &format!("may not remove or update {}", name(key)));
        }
    }
    for (key, entry) in metadata.entries("annotations").filter(|(key, _)| fixed(key) && !before.contains_key(*key)) {
        entry.forbidden(errors, &format!("may not add {}", name(key)));
    }
}
