//! Volumes: their names and sources.

pub(crate) mod mounts;
mod projected;
mod remote;

pub(crate) use remote::driver_name;

use std::collections::{HashMap, HashSet};

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use super::spec::Owner;
use super::{environment, resources};
use crate::check::At;
use crate::kinds::persistent_volume_claim as claim;
use crate::metadata::{validate_annotations, validate_labels};

/// Every source a volume can have.
const SOURCES: [&str; 30] = [
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
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

const MODE_RANGE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// The fields that sources cannot do without.
const REQUIRED: [(&str, &[&str]); 21] = [
    ("awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("azureFile", &["secretName", "shareName"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("gcePersistentDisk", &["pdName"]),
    ("gitRepo", &["repository"]),
    ("glusterfs", &["endpoints", "path"]),
    ("hostPath", &["path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("local", &["path"]),
    ("nfs", &["server", "path"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("quobyte", &["volume"]),
    ("rbd", &["image"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("secret", &["secretName"]),
    ("storageos", &["volumeName"]),
    ("vsphereVolume", &["volumePath"]),
];

/// The volumes of a pod by name, with the kind of their source. What is wrong in itself is not among them.
pub(crate) type Volumes<'a> = HashMap<&'a str, &'static str>;

/// Where a source stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// In a volume of a pod spec.
    Pod { owner: Owner<'a>, volume: &'a str },
    /// In a PersistentVolume of this name.
    PersistentVolume(&'a str),
}

/// Everything that is wrong with a pod spec's volumes, and what volumes there are.
pub(crate) fn validate<'a>(spec: &At<'a>, owner: Owner<'_>, errors: &mut FieldErrors) -> Volumes<'a> {
    let mut known = Volumes::new();
    let claimed: HashSet<String> = match owner {
        Owner::Pod(pod) if !pod.is_empty() => spec
            .items("volumes")
            .filter(|volume| volume.at("ephemeral").is_set())
            .map(|volume| format!("{pod}-{}", volume.at("name").text()))
            .collect(),
        _ => HashSet::new(),
    };
    for volume in spec.items("volumes") {
        let before = errors.len();
        let name = volume.at("name");
        let kind =
            volume.one_of(errors, &SOURCES, "must specify a volume type", "may not specify more than 1 volume type");
        if let Some(kind) = kind {
            let volume_name = name.text();
            validate_source(kind, &volume.at(kind), Place::Pod { owner, volume: volume_name }, errors);
            if kind == "ephemeral" {
                claim_name(owner, &name, errors);
            }
        }
        name.require_name(errors, names::dns1123_label);
        if known.contains_key(name.text()) {
            name.duplicate(errors);
        }
        if let Some(kind) = kind.filter(|_| errors.len() == before) {
            known.insert(name.text(), kind);
        }
        let claim = volume.at("persistentVolumeClaim.claimName");
        if claimed.contains(claim.text()) {
            claim.invalid(errors, "must not reference a PVC that gets created for an ephemeral volume");
        }
    }
    known
}

/// The claim of an ephemeral volume is called after the pod and the volume.
fn claim_name(owner: Owner<'_>, volume: &At<'_>, errors: &mut FieldErrors) {
    let Owner::Pod(pod) = owner else { return };
    if pod.is_empty() || volume.text().is_empty() {
        return;
    }
    let claim = format!("{pod}-{}", volume.text());
    for wrong in names::dns1123_subdomain(&claim) {
        volume.invalid(errors, format!("PVC name {claim:?}: {wrong}"));
    }
}

/// A source of a volume, in a pod or a PersistentVolume.
pub(crate) fn validate_source(kind: &str, source: &At<'_>, place: Place<'_>, errors: &mut FieldErrors) {
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
        "local" => no_backsteps(&source.at("path"), errors),
        "nfs" if !source.at("path").text().starts_with('/') => {
            let path = source.at("path");
            errors.push(FieldError::invalid(&path.path, path.text(), "must be an absolute path"));
        }
        "gitRepo" => descending_path(&source.at("directory"), errors),
        "secret" => keys_and_modes(source, errors),
        "configMap" => {
            source.at("name").require_text(errors);
            keys_and_modes(source, errors);
        }
        "downwardAPI" => downward(source, errors),
        "projected" => projected::validate(source, errors),
        "ephemeral" => ephemeral(source, errors),
        "image" if matches!(place, Place::Pod { owner: Owner::Pod(_), .. }) => {
            source.at("reference").require_text(errors);
        }
        _ => remote::validate(kind, source, place, errors),
    }
}

/// A claim that is made with the pod: labels, annotations and a spec.
fn ephemeral(source: &At<'_>, errors: &mut FieldErrors) {
    let template = source.at("volumeClaimTemplate");
    if !template.is_set() {
        return template.required(errors, "");
    }
    validate_claim_metadata(&template.at("metadata"), errors);
    claim::validate_spec(&template.at("spec"), errors);
}

/// The metadata of a claim that is made with a pod: labels and annotations.
pub(crate) fn validate_claim_metadata(metadata: &At<'_>, errors: &mut FieldErrors) {
    errors.extend(validate_annotations(metadata.at("annotations").value, &metadata.at("annotations").path));
    errors.extend(validate_labels(metadata.at("labels").value, &metadata.at("labels").path));
    for field in metadata.value.as_object().into_iter().flat_map(|fields| fields.keys()) {
        let is_said = !crate::read::same(metadata.at(field).value, &serde_json::Value::Null);
        if is_said && !matches!(field.as_str(), "annotations" | "labels") {
            metadata.at(field).forbidden(errors, "cannot be set");
        }
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
