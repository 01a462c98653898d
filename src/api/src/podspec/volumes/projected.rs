//! Projected volumes: files of several sources in one folder.

use std::collections::HashSet;

use machinery::field::{FieldError, FieldErrors};

use super::{downward, keys_and_modes, local_path, mode};
use crate::check::{At, label_selector};
use crate::kinds::certificates::pod_request::{LIFE_MIN_S, longest_life_s, user_annotations};
use crate::kinds::certificates::{signer, trust_bundle};

/// Sources of a projected volume.
const SOURCES: [&str; 6] =
    ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];
/// The keys that nodes make for pods.
const KEY_TYPES: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const TOKEN_MIN_S: i64 = 600;
const TOKEN_MAX_S: i64 = 1 << 32;

/// What is wrong with a projected volume.
pub(super) fn validate(source: &At<'_>, errors: &mut FieldErrors) {
    mode(&source.at("defaultMode"), errors);
    repeated_paths(source, errors);
    for part in source.items("sources") {
        let kind = part.one_of(
            errors,
            &SOURCES,
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
            "serviceAccountToken" => token(&part, errors),
            "podCertificate" => pod_certificate(&part, errors),
            _ => bundle(&part, errors),
        }
    }
}

/// Two files of a projected volume cannot have one path.
fn repeated_paths(source: &At<'_>, errors: &mut FieldErrors) {
    let mut seen = HashSet::new();
    for part in source.items("sources") {
        let mut paths = Vec::new();
        for kind in ["secret", "configMap", "downwardAPI"] {
            let part = part.at(kind);
            let shown = part.at("name").text();
            for item in part.items("items") {
                let path = item.at("path").text();
                paths.push((path, if kind == "downwardAPI" { path } else { shown }));
            }
        }
        let own =
            ["credentialBundlePath", "keyPath", "certificateChainPath"].map(|field| format!("podCertificate.{field}"));
        for field in ["clusterTrustBundle.path"].into_iter().chain(own.iter().map(String::as_str)) {
            let path = part.at(field).text();
            paths.push((path, path));
        }
        for (path, shown) in paths.into_iter().filter(|(path, _)| !path.is_empty()) {
            if !seen.insert(path) {
                errors.push(FieldError::invalid(&source.path, shown, "conflicting duplicate paths"));
            }
        }
    }
}

fn token(token: &At<'_>, errors: &mut FieldErrors) {
    let seconds = token.at("expirationSeconds");
    match seconds.int() {
        Some(found) if found < TOKEN_MIN_S => {
            seconds.invalid(errors, "may not specify a duration less than 10 minutes");
        }
        Some(found) if found > TOKEN_MAX_S => {
            seconds.invalid(errors, "may not specify a duration larger than 2^32 seconds");
        }
        _ => {}
    }
    if token.at("path").require_text(errors).is_some() {
        local_path(&token.at("path"), errors);
    }
}

fn pod_certificate(certificate: &At<'_>, errors: &mut FieldErrors) {
    let signer_name = certificate.at("signerName");
    signer::validate(&signer_name, errors);
    let key_type = certificate.at("keyType");
    if !KEY_TYPES.contains(&key_type.text()) {
        errors.push(FieldError::not_supported(&key_type.path, key_type.text(), &KEY_TYPES));
    }
    let (seconds, longest) = (certificate.at("maxExpirationSeconds"), longest_life_s(signer_name.text()));
    match seconds.int() {
        Some(found) if found < LIFE_MIN_S => {
            seconds.invalid(errors, format!("if provided, maxExpirationSeconds must be >= {LIFE_MIN_S}"));
        }
        Some(found) if found > longest => {
            seconds.invalid(errors, format!("if provided, maxExpirationSeconds must be <= {longest}"));
        }
        _ => {}
    }
    let files = ["credentialBundlePath", "keyPath", "certificateChainPath"].map(|field| certificate.at(field));
    if files.iter().all(|file| file.text().is_empty()) {
        let wrong = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        certificate.required(errors, wrong);
    }
    for file in files.iter().filter(|file| !file.text().is_empty()) {
        local_path(file, errors);
    }
    user_annotations(&certificate.at("userAnnotations"), errors);
}

fn bundle(bundle: &At<'_>, errors: &mut FieldErrors) {
    let (name, signer_name) = (bundle.at("name"), bundle.at("signerName"));
    match (name.is_set(), signer_name.is_set()) {
        (true, true) => bundle.invalid(errors, "only one of name and signerName may be used"),
        (true, false) => {
            if name.text().is_empty() {
                name.required(errors, "must be a valid object name");
            }
            for wrong in trust_bundle::name_faults(&trust_bundle::signer_of(name.text()), name.text()) {
                name.invalid(errors, format!("not a valid clustertrustbundlename: {wrong}"));
            }
            if bundle.at("labelSelector").is_set() {
                bundle.at("labelSelector").invalid(errors, "labelSelector must be unset if name is specified");
            }
        }
        (false, true) => {
            signer::validate(&signer_name, errors);
            label_selector(&bundle.at("labelSelector"), errors);
        }
        (false, false) => bundle.required(errors, "either name or signerName must be specified"),
    }
    let path = bundle.at("path");
    if path.require_text(errors).is_some() {
        local_path(&path, errors);
    }
}
