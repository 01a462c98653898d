//! PodCertificateRequest: a node asks a signer for a certificate for one of its pods (KEP-4317). The spec never
//! changes; what may become of it is in `status`.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use machinery::apply::Reset;
use machinery::field::{FieldError, FieldErrors};
use machinery::names;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::signature::{is_signed_by_its_key, key_fault};
use super::signer;
use crate::check::At;
use crate::metadata::{ANNOTATIONS_MAX_BYTES, too_long};
use crate::read;
use crate::resource::{Column, Kind};
use crate::strategy;
use crate::table::{name, name_column, text};

mod status;

use status::KNOWN;
pub use status::begins_now;

/// The shortest life of a certificate that may be asked for: an hour.
pub(crate) const LIFE_MIN_S: i64 = 3600;
/// The longest: 91 days.
pub(crate) const LIFE_MAX_S: i64 = 91 * 86_400;
/// The longest that Kubernetes' own signers give: a day.
pub(crate) const KUBERNETES_LIFE_MAX_S: i64 = 86_400;
const UID_MAX_BYTES: usize = 128;
const REQUEST_MAX_BYTES: usize = 10 << 10;

/// The behaviour of PodCertificateRequests.
pub struct PodRequest;

const COLUMNS: &[Column<'static>] = &[
    name_column(),
    text("PodName", "The pod that asks."),
    text("ServiceAccountName", "The pod's service account."),
    text("NodeName", "The pod's node."),
    text("SignerName", "Who is asked to sign."),
    text("State", "Where the request stands."),
];

impl Kind for PodRequest {
    fn prepare_subresource_update(&self, _subresource: &str, object: &mut Value, old: &Value) {
        strategy::status_update(object, old);
        strategy::keep_metadata(object, old, Reset::Fields(&[&["metadata"]]));
        status::keep_decision(object, old);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        validate_spec(&At::root(object).at("spec"), &mut errors);
        errors
    }

    fn validate_changed(&self, _object: &Value, _old: &Value) -> FieldErrors {
        // The spec was judged when it came, and is the same.
        FieldErrors::new()
    }

    fn validate_update(&self, object: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        At::root(object).at("spec").immutable(&mut errors, read::at(old, "spec"));
        errors
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, old: &Value) -> FieldErrors {
        status::validate(object, old)
    }

    fn columns(&self) -> Vec<Column<'_>> {
        COLUMNS.to_vec()
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let state = KNOWN.into_iter().find(|type_| crate::table::has_condition(object, type_)).unwrap_or("Pending");
        let of = |field: &str| Value::from(read::text(read::at(object, "spec"), field));
        let columns = ["podName", "serviceAccountName", "nodeName", "signerName"].map(of);
        [vec![name(object)], columns.to_vec(), vec![state.into()]].concat()
    }

    fn fields(&self) -> &'static [&'static str] {
        &["spec.signerName", "spec.podName", "spec.nodeName"]
    }
}

fn validate_spec(spec: &At<'_>, errors: &mut FieldErrors) {
    let signer_name = spec.at("signerName");
    signer::validate(&signer_name, errors);
    user_annotations(&spec.at("unverifiedUserAnnotations"), errors);
    for (name, uid) in [("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")] {
        spec.at(name).follows(errors, names::dns1123_subdomain);
        let uid = spec.at(uid);
        if uid.text().is_empty() {
            errors.push(FieldError::invalid(&uid.path, "", "must not be empty"));
        }
        if uid.text().len() > UID_MAX_BYTES {
            errors.push(too_long(&uid.path, UID_MAX_BYTES));
        }
    }
    let life = spec.at("maxExpirationSeconds");
    let Some(seconds) = life.int() else { return life.required(errors, "must be set") };
    let longest = longest_life_s(signer_name.text());
    if !(LIFE_MIN_S..=longest).contains(&seconds) {
        life.invalid(errors, format!("must be in the range [{LIFE_MIN_S}, {longest}]"));
    }
    let request = spec.at("stubPKCS10Request");
    let bytes = decoded(request.text());
    if bytes.len() > REQUEST_MAX_BYTES {
        errors.push(too_long(&request.path, REQUEST_MAX_BYTES));
    } else if let Some(fault) = request_fault(&bytes) {
        errors.push(FieldError::invalid(&request.path, "<value omitted>", fault));
    }
}

/// The longest life that may be asked of a signer, in seconds.
pub(crate) fn longest_life_s(signer_name: &str) -> i64 {
    if signer::is_kubernetes(signer_name) { KUBERNETES_LIFE_MAX_S } else { LIFE_MAX_S }
}

fn decoded(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_default()
}

fn request_fault(bytes: &[u8]) -> Option<String> {
    let Ok((rest, request)) = X509CertificationRequest::from_der(bytes) else {
        return Some("must be a valid PKCS#10 certificate signing request in DER".to_string());
    };
    if !rest.is_empty() {
        return Some("nothing may follow the PKCS#10 certificate signing request".to_string());
    }
    if let Some(fault) = key_fault(&request.certification_request_info.subject_pki) {
        return Some(fault);
    }
    (!is_signed_by_its_key(&request)).then(|| "could not verify the signature with the request's own key".to_string())
}

/// What a pod's author tells the signer: keys with a domain, and all together no more than annotations may be.
pub(crate) fn user_annotations(annotations: &At<'_>, errors: &mut FieldErrors) {
    let mut size_bytes = 0;
    let mut told = HashSet::new();
    for (key, value) in annotations.value.as_object().into_iter().flatten() {
        size_bytes += key.len() + value.as_str().map_or(0, str::len);
        let lower = key.to_lowercase();
        let mut wrong = names::qualified_name(&lower);
        if wrong.is_empty() && !lower.contains('/') {
            wrong.push("must be a domain-prefixed key (such as \"acme.io/foo\")".to_string());
        }
        if told.insert(lower.clone()) {
            errors.extend(wrong.into_iter().map(|wrong| FieldError::invalid(&annotations.path, lower.as_str(), wrong)));
        }
    }
    if size_bytes > ANNOTATIONS_MAX_BYTES {
        errors.push(too_long(&annotations.path, ANNOTATIONS_MAX_BYTES));
    }
}
