//! Sources of volumes on a network or in a cloud. Drivers do their work now; what may be said of them stays.

use machinery::field::{FieldError, FieldErrors};
use machinery::names;

use super::Place;
use crate::check::At;
use crate::metadata::too_long;

const DRIVER_NAME_BYTES_MAX: usize = 63;
/// Of the volume's name and the portal together, where the initiator has a name of its own.
const PORTAL_BYTES_MAX: usize = 64;
const TENANT_BYTES_MAX: usize = 64;

/// Everything that is wrong with a source of these kinds, besides fields that are missing.
pub(super) fn validate(kind: &str, source: &At<'_>, place: Place<'_>, errors: &mut FieldErrors) {
    let is_persistent = matches!(place, Place::PersistentVolume(_));
    match kind {
        "awsElasticBlockStore" | "gcePersistentDisk" => source.at("partition").in_range(errors, 0, 255),
        "azureDisk" => azure_disk(source, errors),
        "azureFile" if is_persistent && source.at("secretNamespace").is_set() => {
            source.at("secretNamespace").require_text(errors);
        }
        "cephfs" | "rbd" if source.items("monitors").next().is_none() => source.at("monitors").required(errors, ""),
        "cinder" => secret(&source.at("secretRef"), is_persistent, errors),
        "storageos" => {
            source.at("volumeName").optional_name(errors, names::dns1123_label);
            source.at("volumeNamespace").optional_name(errors, names::dns1123_label);
            secret(&source.at("secretRef"), is_persistent, errors);
        }
        "csi" => csi(source, is_persistent, errors),
        "fc" => fibre_channel(source, errors),
        "flexVolume" => flex_volume(source, errors),
        "flocker" => flocker(source, errors),
        "glusterfs" if is_persistent && source.at("endpointsNamespace").is_set() => {
            let namespace = source.at("endpointsNamespace");
            if namespace.text().is_empty() {
                namespace.invalid(errors, "if the endpointnamespace is set, it must be a valid namespace name");
            }
            namespace.optional_name(errors, names::dns1123_label);
        }
        "iscsi" => iscsi(source, place, errors),
        "quobyte" => quobyte(source, errors),
        _ => {}
    }
}

/// A reference to a secret, which of a PersistentVolume names its namespace too.
fn secret(reference: &At<'_>, is_persistent: bool, errors: &mut FieldErrors) {
    if reference.is_set() {
        reference.at("name").require_text(errors);
        if is_persistent {
            reference.at("namespace").require_text(errors);
        }
    }
}

fn azure_disk(source: &At<'_>, errors: &mut FieldErrors) {
    let (kind, uri) = (source.at("kind").text(), source.at("diskURI"));
    let (begin, whole) = match kind {
        "" => return,
        "Managed" => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        _ => ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"),
    };
    if !uri.text().starts_with(begin) {
        errors.push(FieldError::not_supported(&uri.path, uri.text(), &[whole]));
    }
}

/// The name of a CSI driver: at most 63 characters of a domain, in any case.
pub(crate) fn driver_name(driver: &At<'_>, errors: &mut FieldErrors) {
    driver.require_text(errors);
    if driver.text().len() > DRIVER_NAME_BYTES_MAX {
        errors.push(too_long(&driver.path, DRIVER_NAME_BYTES_MAX));
    }
    for wrong in names::dns1123_subdomain(&driver.text().to_lowercase()) {
        errors.push(FieldError::invalid(&driver.path, driver.text(), wrong));
    }
}

fn csi(source: &At<'_>, is_persistent: bool, errors: &mut FieldErrors) {
    driver_name(&source.at("driver"), errors);
    if !is_persistent {
        let name = source.at("nodePublishSecretRef.name");
        if source.at("nodePublishSecretRef").is_set() {
            name.require_name(errors, names::dns1123_subdomain);
        }
        return;
    }
    source.at("volumeHandle").require_text(errors);
    let references =
        ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"];
    for reference in references.iter().map(|field| source.at(field)).filter(At::is_set) {
        reference.at("name").require_name(errors, names::dns1123_subdomain);
        reference.at("namespace").require_name(errors, names::dns1123_label);
    }
}

fn fibre_channel(source: &At<'_>, errors: &mut FieldErrors) {
    let (names, lun) = (source.at("targetWWNs"), source.at("lun"));
    let (has_names, has_ids) = (source.items("targetWWNs").next().is_some(), source.items("wwids").next().is_some());
    match (has_names, has_ids) {
        (false, false) => names.required(errors, "must specify either targetWWNs or wwids, but not both"),
        (true, true) => names.invalid(errors, "targetWWNs and wwids can not be specified simultaneously"),
        _ => {}
    }
    if has_names && !lun.is_set() {
        lun.required(errors, "lun is required if targetWWNs is specified");
    } else if has_names {
        lun.in_range(errors, 0, 255);
    }
}

fn flex_volume(source: &At<'_>, errors: &mut FieldErrors) {
    for (key, option) in source.entries("options") {
        let namespace = key.split_once('/').map_or(key, |(namespace, _)| namespace);
        let normalized = format!(".{}", namespace.to_lowercase());
        if normalized.ends_with(".kubernetes.io") || normalized.ends_with(".k8s.io") {
            let wrong = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(FieldError::invalid(&option.path, key, wrong));
        }
    }
}

fn flocker(source: &At<'_>, errors: &mut FieldErrors) {
    let (name, uuid) = (source.at("datasetName"), source.at("datasetUUID"));
    match (name.text().is_empty(), uuid.text().is_empty()) {
        (true, true) => source.required(errors, "one of datasetName and datasetUUID is required"),
        (false, false) => {
            let wrong = "datasetName and datasetUUID can not be specified simultaneously";
            errors.push(FieldError::invalid(&source.path, "resource", wrong));
        }
        _ => {}
    }
    if name.text().contains('/') {
        name.invalid(errors, "must not contain '/'");
    }
}

fn iscsi(source: &At<'_>, place: Place<'_>, errors: &mut FieldErrors) {
    let (portal, initiator) = (source.at("targetPortal"), source.at("initiatorName"));
    iscsi_name(&source.at("iqn"), errors);
    source.at("lun").in_range(errors, 0, 255);
    let asks_for_secret = ["chapAuthDiscovery", "chapAuthSession"].iter().any(|field| source.at(field).is_true());
    if asks_for_secret && !source.at("secretRef").is_set() {
        source.at("secretRef").required(errors, "");
    }
    if !initiator.is_set() {
        return;
    }
    iscsi_name(&initiator, errors);
    let (volume, path) = match place {
        Place::Pod { volume, .. } => (volume, &source.path),
        Place::PersistentVolume(volume) => (volume, &portal.path),
    };
    if volume.len() + 1 + portal.text().len() > PORTAL_BYTES_MAX {
        let wrong = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                     iscsi.initiatorName is specified.";
        errors.push(FieldError::invalid(path, volume, wrong));
    }
}

/// A name of a target or an initiator: `iqn.2024-01.com.example:storage`, `eui.` with 16 characters, `naa.` with 32.
fn iscsi_name(name: &At<'_>, errors: &mut FieldErrors) {
    let text = name.text();
    let is_right = match text.get(..3) {
        Some("iqn") => is_iqn(text),
        Some("eui") => is_fixed(text, 16),
        Some("naa") => is_fixed(text, 32),
        _ if text.is_empty() => return,
        _ => return name.invalid(errors, "must be valid format starting with iqn, eui, or naa"),
    };
    if !is_right {
        name.invalid(errors, "must be valid format");
    }
}

fn is_fixed(text: &str, characters: usize) -> bool {
    text.len() == 4 + characters && text.bytes().skip(4).all(|byte| byte.is_ascii_alphanumeric())
}

fn is_iqn(text: &str) -> bool {
    let Some((date, rest)) = text.strip_prefix("iqn.").and_then(|rest| rest.split_once('.')) else { return false };
    let are_digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_dated = date.split_once('-').is_some_and(|(year, month)| are_digits(year, 4) && are_digits(month, 2));
    let Some((authority, own)) = rest.split_once(':') else { return false };
    let is_authority = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    is_dated
        && !authority.is_empty()
        && authority.bytes().all(is_authority)
        && !own.is_empty()
        && !own.contains(|character: char| character.is_whitespace() || ",;*&$|".contains(character))
}

fn quobyte(source: &At<'_>, errors: &mut FieldErrors) {
    let (registry, tenant) = (source.at("registry"), source.at("tenant"));
    let form = "must be a host:port pair or multiple pairs separated by commas";
    if registry.text().is_empty() {
        registry.required(errors, form);
    } else if tenant.text().len() > TENANT_BYTES_MAX {
        tenant.required(errors, "must be a UUID and may not exceed a length of 64 characters");
    } else {
        let is_pair =
            |pair: &str| pair.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
        for _ in registry.text().split(',').filter(|pair| !is_pair(pair)) {
            registry.invalid(errors, form);
        }
    }
}
