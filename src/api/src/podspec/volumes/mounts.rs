//! Where a container mounts volumes, and its block devices.

use std::collections::{HashMap, HashSet};

use machinery::field::{FieldError, FieldErrors};
use serde_json::Value;

use super::{Volumes, descending_path, no_backsteps};
use crate::check::At;
use crate::read;

/// Everything that is wrong with a container's mounts and devices.
pub(crate) fn validate(container: &At<'_>, known: &Volumes<'_>, errors: &mut FieldErrors) {
    mounts(container, known, errors);
    devices(container, known, errors);
}

/// The paths in one of the container's lists, by the names of the volumes.
fn paths<'a>(container: &At<'a>, list: &str, path: &str) -> HashMap<&'a str, &'a str> {
    read::list(container.value, list).iter().map(|found| (read::text(found, "name"), read::text(found, path))).collect()
}

fn mounts(container: &At<'_>, known: &Volumes<'_>, errors: &mut FieldErrors) {
    let devices = paths(container, "volumeDevices", "devicePath");
    let mut seen = HashSet::new();
    for mount in container.items("volumeMounts") {
        let (name, path) = (mount.at("name"), mount.at("mountPath"));
        name.require_text(errors);
        if !known.contains_key(name.text()) {
            name.not_found(errors);
        }
        path.require_text(errors);
        if !seen.insert(path.text()) {
            path.invalid(errors, "must be unique");
        }
        if devices.contains_key(name.text()) {
            name.invalid(errors, "must not already exist in volumeDevices");
        }
        if devices.values().any(|device| *device == path.text()) {
            path.invalid(errors, "must not already exist as a path in volumeDevices");
        }
        let (sub_path, expression) = (mount.at("subPath"), mount.at("subPathExpr"));
        descending_path(&sub_path, errors);
        if !sub_path.text().is_empty() && !expression.text().is_empty() {
            expression.invalid(errors, "subPathExpr and subPath are mutually exclusive");
        }
        descending_path(&expression, errors);
        propagation(container, &mount, errors);
    }
}

fn propagation(container: &At<'_>, mount: &At<'_>, errors: &mut FieldErrors) {
    let propagation = mount.at("mountPropagation");
    let is_privileged = read::flag(container.value, "securityContext.privileged");
    if propagation.text() == "Bidirectional" && !is_privileged {
        propagation.forbidden(errors, "Bidirectional mount propagation is available only to privileged containers");
    }
    let recursive = mount.at("recursiveReadOnly");
    match recursive.text() {
        "Enabled" | "IfPossible" => {
            if !mount.at("readOnly").is_true() {
                recursive.forbidden(errors, "may only be specified when readOnly is true");
            }
            if !matches!(propagation.text(), "" | "None") {
                let wrong = "may only be specified when mountPropagation is None or not specified";
                recursive.forbidden(errors, wrong);
            }
        }
        "Disabled" => {}
        _ if !recursive.is_set() => {}
        _ => recursive.not_supported(errors, &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn devices(container: &At<'_>, known: &Volumes<'_>, errors: &mut FieldErrors) {
    let mounts = paths(container, "volumeMounts", "mountPath");
    let (mut names, mut seen) = (HashSet::new(), HashSet::new());
    for device in container.items("volumeDevices") {
        let (name, path) = (device.at("name"), device.at("devicePath"));
        if name.require_text(errors).is_some() && !names.insert(name.text()) {
            name.invalid(errors, "must be unique");
        }
        match known.get(name.text()) {
            None => name.not_found(errors),
            Some(&("persistentVolumeClaim" | "ephemeral")) => {}
            Some(_) => {
                let wrong = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.push(FieldError::invalid(&name.path, name.text(), wrong));
            }
        }
        path.require_text(errors);
        if !path.text().is_empty() && !seen.insert(path.text()) {
            path.invalid(errors, "must be unique");
        }
        let mut climbs = FieldErrors::new();
        no_backsteps(&path, &mut climbs);
        if !climbs.is_empty() {
            path.invalid(errors, "can not contain backsteps ('..')");
        }
        if mounts.contains_key(name.text()) {
            name.invalid(errors, "must not already exist in volumeMounts");
        }
        if path.value != &Value::Null && mounts.values().any(|mount| *mount == path.text()) {
            path.invalid(errors, "must not already exist as a path in volumeMounts");
        }
    }
}
