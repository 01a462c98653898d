//! CertificateSigningRequest; ClusterTrustBundle and PodCertificateRequest are in files of their own, as are signers'
//! names and the signatures of requests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use machinery::apply::Reset;
use machinery::field::{FieldError, FieldErrors};
use serde_json::Value;
use stdx::pem;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::check::At;
use crate::read;
use crate::resource::{Column, Kind};
use crate::strategy;
use crate::table::{NONE, age, age_column, name, name_column, text, text_or};

pub mod pod_request;
mod signature;
pub(crate) mod signer;
pub mod trust_bundle;

pub use pod_request::PodRequest;
pub use trust_bundle::CLUSTER_TRUST_BUNDLE;

/// The behaviour of CertificateSigningRequests.
pub struct SigningRequest;

const CSR_COLUMNS: &[Column<'static>] = &[
    name_column(),
    age_column(),
    text("SignerName", "Who is asked to sign."),
    text("Requestor", "Who asks."),
    text("RequestedDuration", "How long the certificate should live."),
    text("Condition", "Where the request stands."),
];

fn csr_cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let duration = match read::at(object, "spec.expirationSeconds").as_i64() {
        Some(seconds) => machinery::table::human_duration(i128::from(seconds) * 1000),
        None => NONE.to_string(),
    };
    vec![
        name(object),
        age(object, now),
        text_or(object, "spec.signerName", NONE).into(),
        read::text(object, "spec.username").into(),
        duration.into(),
        condition(object).into(),
    ]
}

fn condition(object: &Value) -> String {
    let types: Vec<&str> =
        read::list(object, "status.conditions").iter().map(|found| read::text(found, "type")).collect();
    let mut shown = match (types.contains(&"Denied"), types.contains(&"Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_string();
    if types.contains(&"Failed") {
        shown.push_str(",Failed");
    }
    if !read::text(object, "status.certificate").is_empty() {
        shown.push_str(",Issued");
    }
    shown
}

/// What a certificate may be good for, in the order that refusals list it.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const EXPIRATION_SECONDS_MIN: i64 = 600;

/// Condition types that only the `approval` subresource may set.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];
/// Condition types that stay once they are there.
const FINAL: [&str; 3] = ["Approved", "Denied", "Failed"];
/// What a condition can be.
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

impl Kind for SigningRequest {
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        strategy::update(object, old, false);
        strategy::keep(object, old, "spec");
    }

    fn reset_fields(&self, subresource: &str) -> Reset<'static> {
        match subresource {
            "" => Reset::Fields(&[&["spec"], &["status"]]),
            "approval" => Reset::Fields(&[&["spec"], &["status", "certificate"]]),
            "status" => Reset::Fields(&[&["spec"], &["status", "conditions"]]),
            _ => Reset::NONE,
        }
    }

    /// `approval` sets conditions alone; `status` sets all but what has been decided, of which it cannot change a word.
    fn prepare_subresource_update(&self, subresource: &str, object: &mut Value, old: &Value) {
        strategy::status_update(object, old);
        if subresource == "approval" {
            let conditions = read::list(object, "status.conditions").to_vec();
            strategy::keep(object, old, "status");
            set_conditions(object, conditions);
            return;
        }
        let decided = |from: &Value, type_: &str| -> Vec<Value> {
            let all = read::list(from, "status.conditions").iter();
            all.filter(|found| read::text(found, "type") == type_).cloned().collect()
        };
        let mut conditions = read::list(object, "status.conditions").to_vec();
        for type_ in DECISIONS {
            let before = decided(old, type_);
            // One more or one less is said to be wrong.
            if before.len() == decided(object, type_).len() {
                let same = conditions.iter_mut().filter(|found| read::text(found, "type") == type_);
                same.zip(before).for_each(|(condition, before)| *condition = before);
            }
        }
        set_conditions(object, conditions);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let spec = At::root(object).at("spec");
        request(&spec.at("request"), &mut errors);
        if spec.items("usages").next().is_none() {
            spec.at("usages").required(&mut errors, "usages are required");
        }
        let usages: Vec<At<'_>> = spec.items("usages").collect();
        for (index, usage) in usages.iter().enumerate() {
            if !USAGES.contains(&usage.text()) {
                usage.not_supported(&mut errors, &USAGES);
            } else if usages[..index].iter().any(|earlier| earlier.text() == usage.text()) {
                usage.duplicate(&mut errors);
            }
        }
        signer::validate(&spec.at("signerName"), &mut errors);
        let expiration = spec.at("expirationSeconds");
        if expiration.int().is_some_and(|seconds| seconds < EXPIRATION_SECONDS_MIN) {
            expiration.invalid(&mut errors, "may not specify a duration less than 600 seconds (10 minutes)");
        }
        errors
    }

    fn validate_subresource_update(&self, subresource: &str, object: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let root = At::root(object);
        if subresource != "approval" {
            undecided(&root, old, &mut errors);
        }
        certificate(&root.at("status.certificate"), read::text(old, "status.certificate"), &mut errors);
        let conditions: Vec<At<'_>> = root.at("status").items("conditions").collect();
        for decided in read::list(old, "status.conditions").iter().map(|condition| read::text(condition, "type")) {
            let stays = conditions.iter().any(|condition| condition.at("type").text() == decided);
            if FINAL.contains(&decided) && !stays {
                let wrong = format!("updates may not remove a condition of type {decided:?}");
                errors.push(FieldError::forbidden(&root.at("status.conditions").path, wrong));
            }
        }
        for (index, condition) in conditions.iter().enumerate() {
            let type_ = condition.at("type");
            type_.require_text(&mut errors);
            if condition.at("status").require_text(&mut errors).is_some_and(|text| !STATUSES.contains(&text)) {
                condition.at("status").not_supported(&mut errors, &STATUSES);
            }
            if conditions[..index].iter().any(|earlier| earlier.at("type").text() == type_.text()) {
                type_.duplicate(&mut errors);
            }
            if FINAL.contains(&type_.text()) && matches!(condition.at("status").text(), "False" | "Unknown") {
                condition.at("status").not_supported(&mut errors, &["True"]);
            }
        }
        let has = |name: &str| conditions.iter().any(|found| found.at("type").text() == name);
        if has("Approved") && has("Denied") {
            let wrong = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(&root.at("status.conditions").path, "Denied", wrong));
        }
        errors
    }

    fn columns(&self) -> Vec<Column<'_>> {
        CSR_COLUMNS.to_vec()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        csr_cells(object, now)
    }

    fn fields(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }
}

fn set_conditions(object: &mut Value, conditions: Vec<Value>) {
    if !conditions.is_empty() {
        crate::edit::fill(object, "status", serde_json::json!({}));
        crate::edit::set(&mut object["status"], "conditions", conditions);
    } else if let Some(status) = crate::edit::value_at(object, "status") {
        crate::edit::remove(status, "conditions");
    }
}

/// Decisions are `approval`'s alone to make.
fn undecided(root: &At<'_>, old: &Value, errors: &mut FieldErrors) {
    for type_ in DECISIONS {
        let count = |conditions: &[Value]| conditions.iter().filter(|found| read::text(found, "type") == type_).count();
        let conditions = root.at("status.conditions");
        if count(read::list(root.value, "status.conditions")) > count(read::list(old, "status.conditions")) {
            let wrong = format!("updates may not add a condition of type {type_:?}");
            errors.push(FieldError::forbidden(&conditions.path, wrong));
        }
    }
}

/// The certificate, which is made once: PEM and nothing else.
fn certificate(certificate: &At<'_>, old: &str, errors: &mut FieldErrors) {
    if certificate.text() == old {
        return;
    }
    if !old.is_empty() {
        certificate.forbidden(errors, "updates may not modify existing certificate content");
    }
    let bytes = STANDARD.decode(certificate.text()).unwrap_or_default();
    if !bytes.is_empty()
        && let Err(wrong) = certificate_chain(&bytes)
    {
        errors.push(FieldError::invalid(&certificate.path, "<certificate data>", wrong));
    }
}

fn certificate_chain(bytes: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(bytes);
    let blocks = pem::blocks(&text);
    if let Some(other) = blocks.iter().find(|block| block.label != pem::CERTIFICATE) {
        return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", other.label));
    }
    if blocks.iter().any(|block| block.has_headers) {
        return Err("no PEM block headers are permitted".to_string());
    }
    for block in &blocks {
        x509_parser::parse_x509_certificate(&block.data).map_err(|error| error.to_string())?;
    }
    if blocks.is_empty() { Err("must contain at least one CERTIFICATE PEM block".to_string()) } else { Ok(()) }
}

fn request(request: &At<'_>, errors: &mut FieldErrors) {
    let text = STANDARD.decode(request.text()).unwrap_or_default();
    let wrong = match x509_parser::pem::parse_x509_pem(&text) {
        Ok((_, pem)) if pem.label != "CERTIFICATE REQUEST" => "PEM block type must be CERTIFICATE REQUEST".to_string(),
        Ok((_, pem)) => match X509CertificationRequest::from_der(&pem.contents) {
            Ok(_) => return,
            Err(error) => error.to_string(),
        },
        Err(_) => "PEM block type must be CERTIFICATE REQUEST".to_string(),
    };
    request.invalid(errors, wrong);
}
