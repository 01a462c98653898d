//! Volumes and where containers mount them.

use std::collections::{HashMap, HashSet};

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use super::{environment, resources};
use crate::check::At;
use crate::read;

/// Every source a volume can have.
const SOURCES: [&str; 29] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "azureFile",
    "configMap",
    "vsphereVolume",
    "azureDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
    "projected",
    "csi",
    "ephemeral",
    "photonPersistentDisk",
    "image",
];

/// Sources of a projected volume.
const PROJECTED: [&str; 6] =
    ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

const MODE_RANGE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// The fields that sources cannot do without.
const REQUIRED: [(&str, &[&str]); 17] = [
    ("awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("azureFile", &["secretName", "shareName"]),
    ("cephfs", &[]),
    ("cinder", &["volumeID"]),
    ("csi", &["driver"]),
    ("gcePersistentDisk", &["pdName"]),
    ("gitRepo", &["repository"]),
    ("glusterfs", &["endpoints", "path"]),
    ("hostPath", &["path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("nfs", &["server", "path"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("portworxVolume", &["volumeID"]),
    ("rbd", &["image"]),
    ("secret", &["secretName"]),
    ("vsphereVolume", &["volumePath"]),
];

/// The volumes of a pod by name, with the kind of their source.
pub(crate) type Volumes<'a> = HashMap<&'a str, Option<&'static str>>;

/// Everything that is wrong with a pod spec's volumes, and what volumes there are.
pub(crate) fn validate<'a>(spec: &At<'a>, errors: &mut FieldErrors) -> Volumes<'a> {
    let mut known = Volumes::new();
    for volume in spec.items("volumes") {
        let kind =
            volume.one_of(errors, &SOURCES, "must specify a volume type", "may not specify more than 1 volume type");
        if let Some(kind) = kind {
            validate_source(kind, &volume.at(kind), errors);
        }
        let name = volume.at("name");
        name.require_name(errors, names::dns1123_label);
        if known.insert(name.text(), kind).is_some() {
            name.duplicate(errors);
        }
    }
    known
}

/// A source of a volume, in a pod or a PersistentVolume.
pub(crate) fn validate_source(kind: &str, source: &At<'_>, errors: &mut FieldErrors) {
    let required = REQUIRED.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, fields)| *fields);
    for field in required {
        source.at(field).require_text(errors);
    }
    match kind {
        "emptyDir" if source.at("sizeLimit").quantity().is_some_and(|limit| limit.is_negative()) => {
            source.at("sizeLimit").forbidden(errors, "SizeLimit field must be a valid resource quantity");
        }
        "hostPath" => {
            no_backsteps(&source.at("path"), errors);
            let type_ = source.at("type");
            if !HOST_PATH_TYPES.contains(&type_.text()) {
                type_.not_supported(errors, &HOST_PATH_TYPES);
            }
        }
        "nfs" if !matches!(source.at("path").text().bytes().next(), None | Some(b'/')) => {
            source.at("path").invalid(errors, "must be an absolute path");
        }
        "secret" => keys_and_modes(source, errors),
        "configMap" => {
            source.at("name").require_text(errors);
            keys_and_modes(source, errors);
        }
        "downwardAPI" => downward(source, errors),
        "projected" => projected(source, errors),
        "ephemeral" if !source.at("volumeClaimTemplate").is_set() => {
            source.at("volumeClaimTemplate").required(errors, "");
        }
        _ => {}
    }
}

fn mode(at: &At<'_>, errors: &mut FieldErrors) {
    if at.int().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        at.invalid(errors, MODE_RANGE);
    }
}

fn keys_and_modes(source: &At<'_>, errors: &mut FieldErrors) {
    mode(&source.at("defaultMode"), errors);
    for item in source.items("items") {
        item.at("key").require_text(errors);
        if item.at("path").require_text(errors).is_some() {
            local_path(&item.at("path"), errors);
        }
        mode(&item.at("mode"), errors);
    }
}

fn downward(source: &At<'_>, errors: &mut FieldErrors) {
    mode(&source.at("defaultMode"), errors);
    for file in source.items("items") {
        if file.at("path").require_text(errors).is_some() {
            local_path(&file.at("path"), errors);
        }
        let (field, resource) = (file.at("fieldRef"), file.at("resourceFieldRef"));
        match (field.is_set(), resource.is_set()) {
            (true, true) => file.invalid(errors, "fieldRef and resourceFieldRef can not be specified simultaneously"),
            (true, false) => environment::file_field_reference(&field, errors),
            (false, true) => resources::validate_reference(&resource, true, errors),
            (false, false) => file.required(errors, "one of fieldRef and resourceFieldRef is required"),
        }
        mode(&file.at("mode"), errors);
    }
}

fn projected(source: &At<'_>, errors: &mut FieldErrors) {
    mode(&source.at("defaultMode"), errors);
    for part in source.items("sources") {
        let kind = part.one_of(
            errors,
            &PROJECTED,
            "must specify a volume type",
            "may not specify more than 1 volume type per source",
        );
        let Some(kind) = kind else { continue };
        let part = part.at(kind);
        match kind {
            "secret" | "configMap" => {
                part.at("name").require_text(errors);
                keys_and_modes(&part, errors);
            }
            "downwardAPI" => downward(&part, errors),
            "serviceAccountToken" => {
                let seconds = part.at("expirationSeconds");
                match seconds.int() {
                    Some(found) if found < 600 => {
                        seconds.invalid(errors, "may not specify a duration less than 10 minutes")
                    }
                    Some(found) if found > 1 << 32 => {
                        seconds.invalid(errors, "may not specify a duration larger than 2^32 seconds");
                    }
                    _ => {}
                }
                part.at("path").require_text(errors);
            }
            "podCertificate" => {
                part.at("signerName").require_text(errors);
                part.at("keyType").require_text(errors);
            }
            _ => {
                part.at("path").require_text(errors);
            }
        }
    }
}

/// A path below some folder: relative, without `..`.
fn descending_path(at: &At<'_>, errors: &mut FieldErrors) {
    if at.text().starts_with('/') {
        at.invalid(errors, "must be a relative path");
    }
    no_backsteps(at, errors);
}

fn no_backsteps(at: &At<'_>, errors: &mut FieldErrors) {
    if at.text().split('/').any(|part| part == "..") {
        at.invalid(errors, "must not contain '..'");
    }
}

/// A file's path in a volume; names with two leading dots belong to the kubelet.
fn local_path(at: &At<'_>, errors: &mut FieldErrors) {
    descending_path(at, errors);
    if at.text().starts_with("..") && !at.text().starts_with("../") {
        at.invalid(errors, "must not start with '..'");
    }
}

/// A container's mounts and devices.
pub(crate) fn validate_mounts(container: &At<'_>, known: &Volumes<'_>, errors: &mut FieldErrors) {
    let devices: HashSet<&str> =
        read::list(container.value, "volumeDevices").iter().map(|device| read::text(device, "name")).collect();
    let mut paths = HashSet::new();
    for mount in container.items("volumeMounts") {
        let name = mount.at("name");
        name.require_text(errors);
        if !known.contains_key(name.text()) {
            name.not_found(errors);
        }
        if devices.contains(name.text()) {
            name.invalid(errors, "must not already exist in volumeDevices");
        }
        let path = mount.at("mountPath");
        if path.require_text(errors).is_some() && !paths.insert(path.text()) {
            path.invalid(errors, "must be unique");
        }
        let (sub_path, expression) = (mount.at("subPath"), mount.at("subPathExpr"));
        descending_path(&sub_path, errors);
        descending_path(&expression, errors);
        if !sub_path.text().is_empty() && !expression.text().is_empty() {
            expression.invalid(errors, "subPathExpr and subPath are mutually exclusive");
        }
        let is_shared = mount.at("mountPropagation").text() == "Bidirectional";
        if is_shared && !read::flag(container.value, "securityContext.privileged") {
            let wrong = "Bidirectional mount propagation is available only to privileged containers";
            mount.at("mountPropagation").forbidden(errors, wrong);
        }
    }
    let mut devices = HashSet::new();
    for device in container.items("volumeDevices") {
        let (name, path) = (device.at("name"), device.at("devicePath"));
        name.require_text(errors);
        match known.get(name.text()) {
            None => name.not_found(errors),
            Some(Some("persistentVolumeClaim" | "ephemeral")) => {}
            Some(_) => {
                let wrong = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.push(FieldError::invalid(&name.path, name.text(), wrong));
            }
        }
        if path.require_text(errors).is_some() {
            no_backsteps(&path, errors);
            if !devices.insert(path.text()) {
                path.invalid(errors, "must be unique");
            }
        }
    }
}
